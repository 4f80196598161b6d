"""Workers by key: order within a key, none between keys. Real asyncio, no IO."""

import asyncio
from collections import defaultdict

import pytest

from cloudcore.edgecontroller.workers import KeyedWorkers


@pytest.mark.both_loops
async def test_one_key_keeps_its_order_while_others_go_on() -> None:
    gate, done = asyncio.Event(), defaultdict[str, list[int]](list)
    fast_done = asyncio.Event()

    async def handle(item: tuple[str, int]) -> None:
        name, number = item
        if name == "slow" and number == 0:
            await gate.wait()
        done[name].append(number)
        if name == "fast" and number == 4:
            fast_done.set()

    async with asyncio.TaskGroup() as group:
        workers: KeyedWorkers[str, tuple[str, int]] = KeyedWorkers(group, handle)
        for number in range(5):
            workers.submit("slow", ("slow", number))
            workers.submit("fast", ("fast", number))
        await fast_done.wait()
        assert done == {"fast": [0, 1, 2, 3, 4]}
        assert len(workers) == 1
        gate.set()
    assert done["slow"] == [0, 1, 2, 3, 4]
    assert len(workers) == 0


async def test_a_key_is_served_again_after_its_worker_ended() -> None:
    done: list[int] = []
    handled = asyncio.Event()

    async def handle(item: int) -> None:
        done.append(item)
        handled.set()

    async with asyncio.TaskGroup() as group:
        workers: KeyedWorkers[str, int] = KeyedWorkers(group, handle)
        for number in range(3):
            handled.clear()
            workers.submit("key", number)
            await handled.wait()
    assert done == [0, 1, 2]
    assert len(workers) == 0
