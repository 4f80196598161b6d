"""Hearing of ends: gRPC and sockets are real, the engine is a fake; pauses are short or endless.

The last tests are on a real containerd, and skipped where containers cannot run.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import RuntimeServiceError
from common.names import UID
from deploy.devcluster.containerd import ContainerEngine
from edgecore.edged.runtime.base import ContainerState
from edgecore.edged.runtime.cri import changes, events, methods
from edgecore.edged.runtime.cri.events import Pace, PodEvents
from edgecore.edged.runtime.cri.methods import Method
from edgecore.edged.runtime.cri.runtime import CriRuntime
from edgecore.edged.runtime.spec import Mount
from tests.edgecore.edged.runtime.cri.engines import FOREVER, Pod, remove_all, runtime_on
from tests.edgecore.edged.runtime.cri.fakecri import FakeCri, fake_cri

# Nothing is found by looking again: what is told was announced, or found at the start.
ANNOUNCED = Pace(gather_s=0.0, confirm_s=1000.0, safety_s=1000.0, poll_s=1000.0)
AWAY = Pace(gather_s=0.0, confirm_s=1000.0, safety_s=1000.0, poll_s=0.01)
LOOKING = Pace(gather_s=0.0, confirm_s=0.01, safety_s=0.01, poll_s=0.01)


class Watch:
    """A fake engine, a runtime on it and the pods that are told of."""

    def __init__(self, engine: FakeCri, runtime: CriRuntime, told: AsyncIterator[UID]) -> None:
        self.engine, self.runtime, self.told = engine, runtime, told

    async def next(self) -> UID:
        return await anext(self.told)


@asynccontextmanager
async def watching(
    folder: Path, pace: Pace, source: Method[Any, Any] | None = methods.CONTAINERD_EVENTS
) -> AsyncIterator[Watch]:
    async with fake_cri(folder, source) as engine, runtime_on(engine.endpoint) as runtime:
        pods = PodEvents(runtime._client, runtime._looks, pace).pods()
        async with aclosing(pods):  # type: ignore[type-var] # a generator, of which it says less
            yield Watch(engine, runtime, pods)


both_sources = pytest.mark.parametrize(
    "source", [methods.CONTAINERD_EVENTS, methods.CONTAINER_EVENTS], ids=["containerd", "cri"]
)


@both_sources
async def test_an_announced_end_is_told(tmp_path: Path, source: Method[Any, Any]) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED, source) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        assert await watch.next() == pod.uid  # it is new
        await watch.engine.following.wait()
        watch.engine.end(container_id, 3)
        assert await watch.next() == pod.uid
        assert (await pod.status(watch.runtime)).state is ContainerState.EXITED


async def test_an_end_that_the_engine_announces_too_early_is_told_when_it_shows(
    tmp_path: Path,
) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        await watch.engine.following.wait()
        watch.engine.calls.clear()
        watch.engine.announce(container_id)
        async with asyncio.TaskGroup() as tasks:
            told = tasks.create_task(watch.next())
            await watch.engine.called(methods.LIST_CONTAINERS, 3)
            assert not told.done()
            watch.engine.is_announcing = False
            watch.engine.end(container_id, 3)
        assert told.result() == pod.uid


async def test_an_end_that_never_shows_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_SETTLE_TRIES", 2)
    pod, other = Pod(tmp_path), Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        first = await pod.run(watch.runtime, *FOREVER)
        second = await other.run(watch.runtime, *FOREVER)
        assert {await watch.next(), await watch.next()} == {pod.uid, other.uid}
        await watch.engine.following.wait()
        watch.engine.announce(first)
        watch.engine.end(second, 0)
        assert await watch.next() == other.uid


async def test_the_end_of_a_command_beside_a_container_causes_no_look(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        await watch.engine.following.wait()
        watch.engine.calls.clear()
        for _ in range(100):
            watch.engine.announce(container_id, process="a-probe")
        watch.engine.end(container_id, 0)
        await watch.next()
        assert watch.engine.count(methods.LIST_CONTAINERS) <= 2


async def test_want_of_memory_is_told_though_the_end_was_told_already(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        await watch.engine.following.wait()
        watch.engine.end(container_id, 137)
        await watch.next()
        assert (await pod.status(watch.runtime)).reason == "Error"
        watch.engine.containers[container_id].status.reason = "OOMKilled"
        watch.engine.announce("another", changes.OOM)
        watch.engine.announce(container_id, changes.OOM)
        assert await watch.next() == pod.uid
        assert (await pod.status(watch.runtime)).reason == "OOMKilled"


async def test_without_events_lists_are_compared(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    pace = Pace(gather_s=0.0, confirm_s=0.01, safety_s=1000.0, poll_s=0.01)
    async with watching(tmp_path, pace, None) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        watch.engine.end(container_id, 0)
        assert await watch.next() == pod.uid


async def test_a_stream_that_the_engine_ends_is_no_source(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    pace = Pace(gather_s=0.0, confirm_s=0.01, safety_s=1000.0, poll_s=0.01)
    async with watching(tmp_path, pace, methods.CONTAINER_EVENTS) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        await watch.engine.following.wait()
        watch.engine.is_announcing = False
        watch.engine.end_streams()
        watch.engine.end(container_id, 0)
        assert await watch.next() == pod.uid


async def test_what_no_event_told_is_found_by_the_regular_look(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, LOOKING) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        watch.engine.is_announcing = False
        watch.engine.end(container_id, 0)
        assert await watch.next() == pod.uid


async def test_what_happened_while_nobody_listened_is_told_on_the_next_connection(
    tmp_path: Path,
) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        await watch.engine.following.wait()
        watch.engine.is_announcing = False
        watch.engine.end(container_id, 0)
        watch.engine.cut()
        assert await watch.next() == pod.uid
        assert (await pod.status(watch.runtime)).state is ContainerState.EXITED


class Log(logging.Handler):
    """Sets an event when something is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.messages = asyncio.Event(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.said.set()


async def test_every_pod_is_told_of_when_the_engine_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pod, log = Pod(tmp_path), Log()
    events.logger.addHandler(log)
    async with watching(tmp_path, AWAY) as watch:
        await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        await watch.engine.following.wait()
        await watch.engine.stop()
        async with asyncio.TaskGroup() as tasks:
            told = tasks.create_task(watch.next())
            await log.said.wait()
            await watch.engine.start()
        assert told.result() == pod.uid
    events.logger.removeHandler(log)
    assert log.messages == ["the container runtime is away", "the container runtime is back"]


async def test_many_changes_of_a_pod_are_told_once(tmp_path: Path) -> None:
    pod, last = Pod(tmp_path), Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        container_id = await pod.run(watch.runtime, *FOREVER)
        final = await last.run(watch.runtime, *FOREVER)
        assert {await watch.next(), await watch.next()} == {pod.uid, last.uid}
        await watch.engine.following.wait()
        for _ in range(50):
            watch.engine.end(container_id, 0)
        watch.engine.end(final, 0)
        told = [await watch.next(), await watch.next()]
        assert sorted(told) == sorted([pod.uid, last.uid])


async def test_a_reader_may_leave_at_any_time(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with watching(tmp_path, ANNOUNCED) as watch:
        await pod.run(watch.runtime, *FOREVER)
        await watch.next()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await watch.next()


@asynccontextmanager
async def watching_containerd(
    engine: ContainerEngine,
) -> AsyncIterator[tuple[CriRuntime, AsyncIterator[UID]]]:
    async with runtime_on(engine.endpoint) as runtime:
        pods = PodEvents(runtime._client, runtime._looks, AWAY).pods()
        async with aclosing(pods):  # type: ignore[type-var] # a generator, of which it says less
            yield runtime, pods
        await remove_all(runtime)


async def test_containerd_announces_ends(container_engine: ContainerEngine, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with watching_containerd(container_engine) as (runtime, told):
        container_id = await pod.run(runtime, *FOREVER)
        assert await anext(told) == pod.uid
        await runtime.exec_sync(container_id, ["true"], 10)
        await runtime.stop_container(container_id, 0)
        assert await anext(told) == pod.uid
        assert (await pod.status(runtime)).state is ContainerState.EXITED


async def test_an_end_while_containerd_was_away_is_told_when_it_is_back(
    container_engine: ContainerEngine, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    (tmp_path / "life").mkdir()
    life = Mount("", tmp_path / "life", "/life")
    script = "until [ -e /life/over ]; do sleep 0.05; done; exit 5"
    async with watching_containerd(container_engine) as (runtime, told):
        await runtime.run_sandbox(pod.sandbox())
        config = replace(pod.container("sh", "-c", script), mounts=(life,))
        await runtime.start_container(await runtime.create_container(pod.uid, config))
        assert await anext(told) == pod.uid
        container_engine.kill()
        with pytest.raises(RuntimeServiceError) as caught:
            await runtime.pod(pod.uid)
        assert caught.value.reason == "RuntimeUnavailable"
        (tmp_path / "life" / "over").touch()
        await container_engine.start()
        while (await pod.status(runtime)).state is not ContainerState.EXITED:
            assert await anext(told) == pod.uid
        assert (await pod.status(runtime)).exit_code == 5
