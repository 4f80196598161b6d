"""The modules of an EdgeSite's link on a real bus; the controller and MetaManager are the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.beehive.message import Message, raw
from common.names import PROGRESS_RESOURCE, ModuleName, Operation
from edgesite import modules
from edgesite.modules import DIGEST_EVERY, Downlink, Uplink
from tests.edgesite.site import Bench, content_of, request, told

QUICK_S = 0.01


@asynccontextmanager
async def running(bench: Bench, beat_s: float = QUICK_S) -> AsyncIterator[None]:
    bench.may_connect.set()
    uplink = Uplink(bench.bus, bench.link, bench.presence, bench.edge, beat_s)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(uplink.run())
        tasks.create_task(Downlink(bench.bus, bench.link).run())
        yield
        bench.bus.close(ModuleName.META_MANAGER)
        bench.bus.close(ModuleName.EDGE_HUB)
        bench.bus.close(ModuleName.CLOUD_HUB)


async def question(bench: Bench) -> Message:
    """Return the next question whether the edge does its work."""
    while (message := await bench.at_edge()).resource != PROGRESS_RESOURCE:
        pass
    return message


async def beat(bench: Bench) -> dict[str, object]:
    """Return what the controller is told next of the node's life."""
    while (message := await bench.at_controller()).operation is not Operation.KEEPALIVE:
        pass
    told: dict[str, object] = content_of(message)
    return told


async def sign(bench: Bench, asked: Message, digest: str | None = None) -> None:
    said = raw({"asked": asked.msg_id, "digest": digest})
    answer = request(Operation.KEEPALIVE, PROGRESS_RESOURCE)
    await bench.bus.send(ModuleName.EDGE_HUB, _with(answer, said))


def _with(message: Message, content: object) -> Message:
    return Message(message.header, message.route, content)  # type: ignore[arg-type] # raw


async def test_each_sign_of_the_edge_is_a_beat_for_the_controller() -> None:
    bench = Bench()
    async with running(bench):
        for _ in range(2):
            await sign(bench, await question(bench))
            told = await beat(bench)
            assert (told["progresses"], told["digest"]) == (True, None)


async def test_a_digest_is_said_in_a_rhythm_and_whenever_it_is_asked_for() -> None:
    bench = Bench()
    async with running(bench):
        wanted = []
        for _ in range(DIGEST_EVERY):
            asked = await question(bench)
            wanted.append(content_of(asked)["digest"])
            await sign(bench, asked, "0" * 16 if wanted[-1] else None)
        assert wanted == [False] * (DIGEST_EVERY - 1) + [True]
        await bench.bus.send(ModuleName.CLOUD_HUB, _ask_digest())
        number = 1
        while not content_of(asked := await question(bench))["digest"]:
            number += 1
            await sign(bench, asked)
        assert number < DIGEST_EVERY


def _ask_digest() -> Message:
    return told(Operation.KEEPALIVE, "node/site-1")


async def test_an_edge_that_says_nothing_makes_no_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modules, "SIGN_S", 0.05)
    bench = Bench()
    async with running(bench):
        late = await question(bench)
        assert (await beat(bench))["progresses"] is False
        await sign(bench, late)
        await question(bench)
        assert (await beat(bench))["progresses"] is False
    assert bench.edge.beats_without_progress.value >= 2


async def test_messages_go_both_ways_each_in_its_order() -> None:
    bench = Bench()
    async with running(bench, beat_s=60.0):
        await question(bench)
        await bench.at_controller()
        ups = [request(Operation.QUERY, "default/configmap/greeting") for _ in range(3)]
        for message in ups:
            await bench.bus.send(ModuleName.EDGE_HUB, message)
        assert [await bench.at_controller() for _ in ups] == ups
        downs = [told(Operation.UPDATE, f"default/configmap/c{number}") for number in range(3)]
        for message in downs:
            await bench.bus.send(ModuleName.CLOUD_HUB, message)
        assert [await bench.at_edge() for _ in downs] == downs


async def test_the_way_up_does_not_wait_for_a_metamanager_that_waits_for_it() -> None:
    """With room for one message each, objects go down while MetaManager has much to say."""
    bench = Bench(capacity=1)
    async with running(bench, beat_s=60.0):
        await question(bench)
        await bench.at_controller()
        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                down = told(Operation.UPDATE, f"default/configmap/c{number}")
                tasks.create_task(bench.bus.send(ModuleName.CLOUD_HUB, down))
            for _ in range(8):  # nothing of what goes down is taken meanwhile
                acked = request(Operation.RESPONSE, "", {"acked": []})
                await bench.bus.send(ModuleName.EDGE_HUB, acked)
            for _ in range(8):
                await bench.at_edge()


async def test_what_was_accepted_is_still_handed_on_when_the_modules_stop() -> None:
    bench = Bench()
    down = told(Operation.UPDATE, "default/configmap/greeting")
    async with running(bench, beat_s=60.0):
        await question(bench)
        await bench.bus.send(ModuleName.CLOUD_HUB, down)
        assert await bench.at_edge() is down
        up = request(Operation.QUERY, "default/configmap/greeting")
        await bench.bus.send(ModuleName.EDGE_HUB, up)
    messages = await bench.bus.receive_batch(ModuleName.EDGE_CONTROLLER, limit=9)
    assert up in messages
