"""Writing once a turn: a real loop; what is flushed is a double."""

import asyncio
from collections.abc import Callable

import pytest

from cloudcore.cloudhub.flusher import Flusher

pytestmark = pytest.mark.both_loops


class Flushed:
    """It counts, and does ``then`` when it is flushed."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.times = 0
        self._then = then

    def flush(self) -> None:
        self.times += 1
        self._then()


async def test_however_often_it_is_wanted_in_one_turn_it_is_written_once() -> None:
    flusher, one, other = Flusher(), Flushed(), Flushed()
    for _ in range(20):
        flusher.want(one)
        flusher.want(other)
    assert (one.times, other.times) == (0, 0), "not before the turn is over"
    await asyncio.sleep(0)
    assert (one.times, other.times) == (1, 1)
    await asyncio.sleep(0)
    assert (one.times, other.times) == (1, 1)
    flusher.want(one)
    await asyncio.sleep(0)
    assert (one.times, other.times) == (2, 1)


async def test_what_is_wanted_while_others_are_written_comes_in_the_next_turn() -> None:
    flusher = Flusher()

    def again() -> None:
        if one.times == 1:
            flusher.want(one)
            flusher.want(late)

    late, one = Flushed(), Flushed(again)
    flusher.want(one)
    await asyncio.sleep(0)
    assert (one.times, late.times) == (1, 0)
    await asyncio.sleep(0)
    assert (one.times, late.times) == (2, 1)
