"""Waits that are cut short. Real: the event loop's timeouts."""

import asyncio

import pytest

from edgecore.edged.patience import Patience


async def wait_for(patience: Patience, event: asyncio.Event, seconds: float | None) -> None:
    async with patience.lasting(seconds):
        await event.wait()


async def test_what_comes_in_time_is_had() -> None:
    patience, event = Patience(), asyncio.Event()
    event.set()
    await wait_for(patience, event, None)
    await wait_for(patience, event, 60)


async def test_it_ends_by_itself_or_when_somebody_is_in_a_hurry() -> None:
    patience, event = Patience(), asyncio.Event()
    with pytest.raises(TimeoutError):
        await wait_for(patience, event, 0)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(be_let_go(patience, event))
        await asyncio.sleep(0)
        while not waiting.done():  # to hurry again does no harm
            patience.hurry()
            await asyncio.sleep(0)


async def be_let_go(patience: Patience, event: asyncio.Event) -> None:
    with pytest.raises(TimeoutError):
        await wait_for(patience, event, None)


async def test_nobody_who_waits_later_is_hurried() -> None:
    patience, event = Patience(), asyncio.Event()
    patience.hurry()
    event.set()
    await wait_for(patience, event, 60)
    patience.hurry()
    await wait_for(patience, event, 60)
