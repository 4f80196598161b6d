"""Waking one task: real tasks on a real loop."""

import asyncio

import pytest

from cloudcore.cloudhub.waker import Waker


async def test_a_sleeper_wakes_once_for_any_number_of_calls() -> None:
    waker, woken = Waker(), []

    async def sleep() -> None:
        for number in range(2):
            await waker.wait()
            woken.append(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep())
        await asyncio.sleep(0)
        waker.wake()
        waker.wake()
        await asyncio.sleep(0)
        assert woken == [0]
        waker.wake()


async def test_what_came_before_is_not_remembered() -> None:
    waker = Waker()
    waker.wake()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await waker.wait()


async def test_a_sleeper_that_was_cancelled_leaves_the_place_to_the_next() -> None:
    waker = Waker()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(waker.wait())
        await asyncio.sleep(0)
        first.cancel()
        waker.wake()
        await asyncio.sleep(0)
        second = group.create_task(waker.wait())
        await asyncio.sleep(0)
        waker.wake()
    assert second.done()
