"""The window on links of all kinds. Pure: link, peer and clock are simulated.

The sender always has more to say; what it writes stands in one queue before a link of some rate and
length, and is acknowledged when the peer has dealt with it.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.delivery.pace import (
    FIRST_BYTES,
    LEAST_BYTES,
    MOST_BYTES,
    QUEUE_S,
    RENEW_S,
    Pace,
)

KBIT, MBIT = 125, 125_000
"""Bytes a second."""

MESSAGE, CHUNK = 700, 4096


def steady(delay_s: float) -> Callable[[float], float]:
    return lambda _: delay_s


@dataclass
class Link:
    """A link, and a peer behind it."""

    rate: float
    """Bytes a second."""

    round_trip_s: Callable[[float], float]
    """Without what stands in the queue, at a time."""

    peer_s: Callable[[float], float] = field(default_factory=lambda: steady(0.0))
    """How long the peer takes to acknowledge, at a time."""


@dataclass
class Run:
    """What a link carried."""

    waits: list[tuple[float, float]] = field(default_factory=list)
    """When something was written, and for how long it stood in the queue."""

    landed: list[tuple[float, int]] = field(default_factory=list)
    pace: Pace = field(default_factory=Pace)

    def longest_wait_s(self, *, since_s: float) -> float:
        return max(wait for at, wait in self.waits if at >= since_s)

    def rate(self, *, since_s: float) -> float:
        last_s = self.landed[-1][0]
        return sum(size for at, size in self.landed if at >= since_s) / (last_s - since_s)


def carry(link: Link, size: int, seconds: float) -> Run:
    run = Run()
    now_s = free_s = 0.0
    acks: list[tuple[float, float]] = []
    while now_s < seconds:
        while run.pace.has_room(size):
            run.pace.launch(size)
            start_s = max(now_s, free_s)
            free_s = start_s + size / link.rate
            run.waits.append((now_s, start_s - now_s))
            delay_s = link.round_trip_s(now_s) + link.peer_s(now_s)
            heapq.heappush(acks, (free_s + delay_s, now_s))
        now_s, sent_s = heapq.heappop(acks)
        run.pace.land(size, sent_s, now_s)
        run.landed.append((now_s, size))
    return run


SLOW = Link(64 * KBIT, steady(0.05))
SLOW_AND_LONG = Link(64 * KBIT, steady(0.6))
LONG = Link(10 * MBIT, steady(0.5))
LONG_BOTH_WAYS = Link(10 * MBIT, steady(1.0))
USUAL = Link(MBIT, steady(0.3))
LAN = Link(1000 * MBIT, steady(0.0003))
SLOW_DISK = Link(10 * MBIT, steady(0.02), steady(0.2))
BUSY_DISK = Link(10 * MBIT, steady(0.02), lambda at: 0.6 if int(at) % 5 == 4 else 0.001)

each_size = pytest.mark.parametrize("size", [MESSAGE, CHUNK])


@each_size
@pytest.mark.parametrize(
    "link",
    [SLOW, SLOW_AND_LONG, LONG, LONG_BOTH_WAYS, USUAL, SLOW_DISK, BUSY_DISK],
    ids=["slow", "slow, long", "long", "long both ways", "usual", "slow disk", "busy disk"],
)
def test_no_queue_of_a_second_builds_up_and_the_link_is_used(link: Link, size: int) -> None:
    run = carry(link, size, 50.0)
    assert run.longest_wait_s(since_s=5.0) < 1.0
    assert run.rate(since_s=10.0) > 0.9 * link.rate


@each_size
def test_a_fast_link_is_full_within_a_tenth_of_a_second(size: int) -> None:
    run = carry(LAN, size, 0.4)
    assert run.rate(since_s=0.1) > 0.9 * LAN.rate
    assert run.longest_wait_s(since_s=0.0) < 0.1
    assert run.pace.window == MOST_BYTES


@each_size
def test_on_a_slow_link_about_a_second_stands_in_line_at_the_very_first(size: int) -> None:
    run = carry(SLOW, size, 50.0)
    assert run.longest_wait_s(since_s=0.0) <= FIRST_BYTES / SLOW.rate + 0.05
    assert run.pace.window < FIRST_BYTES + CHUNK


@each_size
def test_a_link_that_gets_longer_is_measured_again(size: int) -> None:
    changed_s = 20.0
    link = Link(10 * MBIT, lambda at: 0.05 if at < changed_s else 0.7)
    run = carry(link, size, changed_s + RENEW_S + 40)
    assert run.rate(since_s=changed_s + RENEW_S + 20) > 0.9 * link.rate


@each_size
def test_measuring_again_costs_little_and_makes_no_queue(size: int) -> None:
    run = carry(LONG, size, 2.2 * RENEW_S)
    assert run.rate(since_s=10.0) > 0.97 * LONG.rate
    assert run.longest_wait_s(since_s=5.0) < 1.0


@each_size
def test_a_queue_that_never_ends_is_not_taken_for_the_links_length(size: int) -> None:
    run = carry(SLOW_AND_LONG, size, 20 * RENEW_S)
    assert run.longest_wait_s(since_s=10 * RENEW_S) < 1.1


def test_a_link_that_gets_faster_is_used_soon() -> None:
    pace = carry(SLOW, CHUNK, 30.0).pace
    now_s, window = 30.0, pace.window
    for _ in range(20):
        now_s += 0.06
        while pace.has_room(CHUNK):
            pace.launch(CHUNK)
        while pace.in_flight:
            pace.land(CHUNK, now_s - 0.06, now_s)
    assert pace.window > 40 * window


def test_what_is_larger_than_the_window_is_written_alone() -> None:
    pace = Pace()
    assert pace.has_room(100 * MOST_BYTES)
    pace.launch(1)
    assert not pace.has_room(FIRST_BYTES)
    assert pace.has_room(FIRST_BYTES - 1)


def test_few_bytes_say_nothing_about_a_wider_window() -> None:
    pace = Pace()
    for second in range(100):
        pace.launch(MESSAGE)
        pace.land(MESSAGE, float(second), second + 0.05)
    assert pace.window == FIRST_BYTES


def test_few_bytes_that_come_late_say_that_it_is_too_wide() -> None:
    pace = Pace()
    pace._window = MOST_BYTES
    for seconds in (0.05, 5.0):
        pace.launch(MESSAGE)
        pace.land(MESSAGE, 0, seconds)
    assert pace.window < MOST_BYTES


def test_what_is_forgotten_is_not_under_way_and_says_nothing() -> None:
    pace = Pace()
    pace.launch(FIRST_BYTES)
    pace.forget(FIRST_BYTES)
    assert (pace.in_flight, pace.window) == (0, FIRST_BYTES)


def test_a_clock_that_stands_still_or_goes_back_is_borne() -> None:
    pace = Pace()
    for sent_s, now_s in ((5.0, 5.0), (5.0, 4.0), (4.0, 4.1)):
        pace.launch(FIRST_BYTES)
        pace.land(FIRST_BYTES, sent_s, now_s)
    assert pace.window == 2 * FIRST_BYTES


STEPS = st.lists(st.tuples(st.integers(1, 200_000), st.floats(0, 200), st.booleans()), max_size=60)


@given(STEPS)
def test_whatever_lands_the_window_keeps_its_bounds_and_the_books_are_right(
    steps: list[tuple[int, float, bool]],
) -> None:
    pace, now_s, under_way = Pace(), 0.0, []
    for size, seconds, is_lost in steps:
        if pace.has_room(size):
            pace.launch(size)
            under_way.append((size, now_s))
        now_s += seconds
        if under_way and is_lost:
            pace.forget(under_way.pop(0)[0])
        elif under_way:
            landed, sent_s = under_way.pop(0)
            pace.land(landed, sent_s, now_s)
        assert pace.in_flight == sum(size for size, _ in under_way)
        assert LEAST_BYTES <= pace.window <= MOST_BYTES
    for size, sent_s in under_way:
        pace.land(size, sent_s, now_s)
    assert pace.in_flight == 0
    assert pace.has_room(MOST_BYTES), "nothing is under way"


def test_the_queue_is_as_long_as_it_is_to_be() -> None:
    run = carry(USUAL, CHUNK, 50.0)
    waits = [wait for at, wait in run.waits if at > 10]
    assert sum(waits) / len(waits) == pytest.approx(QUEUE_S, abs=0.05)
