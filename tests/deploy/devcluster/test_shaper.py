"""When packets arrive over a line with a rate, a delay and a short queue. Nothing is faked."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.devcluster.shaper import Line, Shaper

SLOW = Line(bits_per_s=64_000)


def test_a_perfect_line_takes_no_time() -> None:
    shaper = Shaper(Line())
    assert [shaper.arrival_s(1500, 5.0) for _ in range(100)] == [5.0] * 100


def test_a_long_line_delays_every_packet_alike() -> None:
    shaper = Shaper(Line(delay_s=0.25))
    assert [shaper.arrival_s(size, 5.0) for size in (40, 1500)] == [5.25, 5.25]


def test_a_slow_line_takes_one_packet_after_the_other() -> None:
    shaper = Shaper(Line(delay_s=1.0, bits_per_s=8000))
    assert [shaper.arrival_s(1000, 5.0) for _ in range(3)] == [7.0, 8.0, 9.0]
    assert shaper.arrival_s(1000, 20.0) == 22.0  # it does not save up what it did not use


def test_a_packet_that_finds_the_queue_full_is_lost_and_costs_nothing() -> None:
    shaper = Shaper(SLOW)
    sent = [shaper.arrival_s(1000, 0.0) for _ in range(20)]
    fit = int(SLOW.queue_bytes // 1000)
    assert sent[fit:] == [None] * (20 - fit)
    assert shaper.arrival_s(1000, 1.0) == pytest.approx(1.125)


packets = st.lists(st.tuples(st.integers(0, 500), st.integers(20, 1500)), max_size=12)
"""Milliseconds since the one before, and bytes."""


@given(packets)
def test_packets_keep_their_order_and_the_rate_is_never_exceeded(
    sent: list[tuple[int, int]],
) -> None:
    shaper, now_s = Shaper(SLOW), 0.0
    arrived: list[tuple[float, int]] = []
    for pause_ms, size in sent:
        now_s += pause_ms / 1000
        arrival_s = shaper.arrival_s(size, now_s)
        if arrival_s is not None:
            arrived.append((arrival_s, size))
    for (before_s, _), (after_s, size) in itertools.pairwise(arrived):
        assert after_s - before_s >= size * 8 / SLOW.bits_per_s - 1e-9
