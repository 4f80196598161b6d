"""The connection to an engine: gRPC, HTTP/2 and sockets are real, the engine is a fake."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status
from h2.exceptions import NoAvailableStreamIDError

from common.errors import ConfigError
from edgecore.edged.runtime.cri import containerd_pb2 as containerd
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods
from edgecore.edged.runtime.cri.client import CriClient, socket_path
from edgecore.edged.runtime.cri.methods import Method
from edgecore.edged.runtime.cri.refusals import EngineError
from tests.edgecore.edged.runtime.cri.fakecri import BUSYBOX, FakeCri, fake_cri

VERSION = cri.VersionRequest()
SUBSCRIBE = containerd.SubscribeRequest()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeCri]:
    async with fake_cri(tmp_path) as engine:
        yield engine


@pytest.fixture
async def client(engine: FakeCri) -> AsyncIterator[CriClient]:
    client = CriClient(engine.endpoint)
    yield client
    client.close()


def test_an_endpoint_is_a_path() -> None:
    assert socket_path("unix:///run/crio/crio.sock") == "/run/crio/crio.sock"
    assert socket_path("/run/crio/crio.sock") == "/run/crio/crio.sock"
    for wrong in ("tcp://host:1", "run/crio.sock", "unix://run/crio.sock", ""):
        with pytest.raises(ConfigError, match="is not unix:///"):
            socket_path(wrong)


@pytest.mark.both_loops
async def test_calls_share_a_connection_and_do_not_wait_for_each_other(
    client: CriClient, engine: FakeCri
) -> None:
    engine.faults.hangs.add(methods.STATUS)
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(client.call(methods.STATUS, cri.StatusRequest()))
        assert (await client.call(methods.VERSION, VERSION)).runtime_name == "fakerd"
        slow.cancel()
    assert len(engine._transports) == 1


@pytest.mark.both_loops
async def test_a_connection_that_broke_is_made_anew(client: CriClient, engine: FakeCri) -> None:
    await client.call(methods.VERSION, VERSION)
    engine.faults.cuts_before.add(methods.VERSION)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        await client.call(methods.VERSION, VERSION)
    assert caught.value.reason == "RuntimeUnavailable"
    await client.call(methods.VERSION, VERSION)


async def test_who_lost_a_connection_is_not_taken_for_cancelled(
    client: CriClient, engine: FakeCri
) -> None:
    engine.faults.cuts_before.add(methods.VERSION)
    with pytest.raises(EngineError):
        await client.call(methods.VERSION, VERSION)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_no_socket_is_no_engine(tmp_path: Path) -> None:
    client = CriClient(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(EngineError, match="No such file") as caught:
        await client.call(methods.VERSION, VERSION)
    assert (caught.value.reason, caught.value.status) == (
        "RuntimeUnavailable",
        Status.UNAVAILABLE,
    )
    client.close()


async def test_a_connection_that_is_closed_at_once_is_no_engine(tmp_path: Path) -> None:
    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "s.sock")
    async with server:
        client = CriClient(f"{tmp_path}/s.sock")
        for _ in range(20):
            with pytest.raises(EngineError) as caught:
                await client.call(methods.VERSION, VERSION)
            assert caught.value.reason == "RuntimeUnavailable"
        client.close()


async def test_a_connection_that_is_used_up_is_made_anew(
    client: CriClient, engine: FakeCri, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.call(methods.VERSION, VERSION)
    with monkeypatch.context() as patch:
        patch.setattr(client, "_connection", used_up)
        with pytest.raises(EngineError, match="no number is left") as caught:
            await client.call(methods.VERSION, VERSION)
    assert caught.value.reason == "RuntimeUnavailable"
    await client.call(methods.VERSION, VERSION)
    assert len(engine._transports) == 2


def used_up() -> None:
    raise NoAvailableStreamIDError("no number is left for a stream")


async def test_a_refusal_has_the_engines_words(client: CriClient, engine: FakeCri) -> None:
    engine.faults.refusals[methods.RUN_SANDBOX] = (Status.UNKNOWN, "no address left")
    with pytest.raises(EngineError, match="no address left") as caught:
        await client.call(methods.RUN_SANDBOX, cri.RunPodSandboxRequest())
    assert (caught.value.reason, caught.value.status) == ("CreatePodSandboxError", Status.UNKNOWN)


async def test_a_call_has_a_deadline(client: CriClient, engine: FakeCri) -> None:
    engine.faults.hangs.add(methods.STOP_CONTAINER)
    with pytest.raises(EngineError, match=r"within 0\.05 s") as caught:
        await client.call(methods.STOP_CONTAINER, cri.StopContainerRequest(), 0.05)
    assert (caught.value.reason, caught.value.status) == (
        "KillContainerError",
        Status.DEADLINE_EXCEEDED,
    )


async def test_a_call_can_be_called_off(client: CriClient, engine: FakeCri) -> None:
    engine.faults.hangs.add(methods.PULL_IMAGE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.call(methods.PULL_IMAGE, cri.PullImageRequest())
    assert (await client.call(methods.VERSION, VERSION)).runtime_name == "fakerd"


async def test_an_answer_may_be_large(client: CriClient, engine: FakeCri) -> None:
    tags = [f"registry.example/{number}:{'v' * 1000}" for number in range(17_000)]
    engine.images[BUSYBOX].repo_tags.extend(tags)
    answer = await client.call(methods.LIST_IMAGES, cri.ListImagesRequest())
    assert answer.ByteSize() > 16 << 20
    assert list(answer.images[0].repo_tags) == [BUSYBOX, *tags]


async def test_an_answer_that_makes_no_sense_is_no_answer(client: CriClient) -> None:
    method = Method(methods.VERSION.path, cri.VersionRequest, cri.CreateContainerRequest, "X", 5)
    with pytest.raises(EngineError, match="DecodeError") as caught:
        await client.call(method, VERSION)
    assert caught.value.reason == "RuntimeUnavailable"


async def test_a_stream_is_followed_until_it_ends(client: CriClient, engine: FakeCri) -> None:
    seen: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            client.follow(methods.CONTAINERD_EVENTS, SUBSCRIBE, lambda m: seen.append(m.topic))
        )
        await engine.following.wait()
        engine.announce("a", "/one")
        engine.announce("a", "/two")
        engine.end_streams()
    assert seen == ["/one", "/two"]


async def test_a_stream_that_breaks_says_so(client: CriClient, engine: FakeCri) -> None:
    async def break_it() -> None:
        await engine.following.wait()
        engine.cut()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(break_it())
        with pytest.raises(EngineError, match="cannot be reached"):
            await client.follow(methods.CONTAINERD_EVENTS, SUBSCRIBE, print)


async def test_what_an_engine_does_not_know_is_said_to_be(client: CriClient) -> None:
    with pytest.raises(EngineError) as caught:
        await client.follow(methods.CONTAINER_EVENTS, cri.GetEventsRequest(), print)
    assert caught.value.status is Status.UNIMPLEMENTED


async def test_closing_ends_what_goes_on(client: CriClient, engine: FakeCri) -> None:
    async def close() -> None:
        await engine.following.wait()
        client.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(close())
        with pytest.raises(EngineError, match="cannot be reached"):
            await client.follow(methods.CONTAINERD_EVENTS, SUBSCRIBE, print)
    client.close()
