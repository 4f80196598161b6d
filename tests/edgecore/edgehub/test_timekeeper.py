"""The last time known, over restarts. The store is made up, and so is the clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from common.clock import Clock, rfc3339
from common.errors import StoreError
from edgecore.edgehub import timekeeper as under_test
from edgecore.edgehub.timekeeper import SAVE_EVERY_S, TIME_STATE, Timekeeper
from tests.edgecore.edged.bus import START
from tests.edgecore.edgehub.links import MadeUpMemory


class Hands(Clock):
    """A clock whose durations the test makes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def told(self, ahead_s: float = 0.0) -> None:
        """Have the cloud tell a time that is so far from this machine's."""
        remote_ms = self.now_ms() - int(self.offset_s * 1000) + int(ahead_s * 1000)
        self.learn(remote_ms, self.seconds, self.seconds)


@asynccontextmanager
async def started(memory: MadeUpMemory, clock: Clock) -> AsyncIterator[Timekeeper]:
    keeper = Timekeeper(memory, clock)
    async with keeper.kept():
        yield keeper


async def test_what_was_known_is_known_at_the_next_start_and_grows() -> None:
    clock = Hands()
    async with started(MadeUpMemory(time=rfc3339(START)), clock):
        assert clock.known() == START
        clock.seconds += 60
        assert clock.known() == START + timedelta(seconds=60)
        assert clock.now() >= START + timedelta(seconds=60)


async def test_where_nothing_was_known_nothing_is() -> None:
    memory, clock = MadeUpMemory(), Hands()
    async with started(memory, clock) as keeper:
        assert clock.known() is None
        await keeper.look()
    assert memory.writes == []


async def test_it_is_kept_every_quarter_of_an_hour_and_at_the_end() -> None:
    memory, clock = MadeUpMemory(), Hands()
    async with started(memory, clock) as keeper:
        clock.told()
        for _ in range(5):
            await keeper.look()
            clock.seconds += SAVE_EVERY_S / 4
        assert len(memory.writes) == 2
    assert len(memory.writes) == 3
    known = clock.known()
    assert known is not None
    assert memory.held[TIME_STATE] == rfc3339(known)


async def test_a_store_that_fails_is_no_reason_to_end(caplog: pytest.LogCaptureFixture) -> None:
    memory, clock = MadeUpMemory(), Hands()
    memory.fault = StoreError("disk I/O error")
    async with started(memory, clock) as keeper:
        assert "the last time known cannot be read" in caplog.text
        clock.told()
        await keeper.look()
        assert "the time cannot be stored" in caplog.text


async def test_a_store_with_something_else_in_it_is_passed_over() -> None:
    clock = Hands()
    async with started(MadeUpMemory(time="yesterday"), clock):
        assert clock.known() is None


async def test_a_store_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MadeUpMemory):
        async def set_state(self, key: str, value: str) -> None:
            del key, value
            await asyncio.Event().wait()

    monkeypatch.setattr(under_test, "_LAST_WORDS_S", 0.01)
    clock = Hands()
    async with started(Hanging(), clock):
        clock.told()


async def test_it_is_read_once_and_what_was_learned_since_wins() -> None:
    memory, clock = MadeUpMemory(time=rfc3339(START)), Hands()
    keeper = Timekeeper(memory, clock)
    clock.told(ahead_s=86400.0)
    learned = clock.known()
    await keeper.recall()
    memory.fault = StoreError("it is not read again")
    await keeper.recall()
    assert clock.known() == learned


async def test_a_clock_that_is_off_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    memory, clock = MadeUpMemory(), Hands()
    async with started(memory, clock) as keeper:
        clock.told(ahead_s=-2 * 365.25 * 86400)
        await keeper.look()
        await keeper.look()
    assert caplog.text.count("this machine's clock is 2.0 years ahead") == 1
