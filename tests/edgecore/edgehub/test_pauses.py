"""Pauses between attempts; the clock is the test's."""

from edgecore.edgehub.pauses import RETRY, Pauses
from tests.edgecore.edged.bus import HandClock


def test_pauses_grow_up_to_a_bound_and_become_short_again() -> None:
    clock = HandClock()
    pauses = Pauses(clock)
    assert not pauses.is_pausing()
    lengths = []
    for _ in range(8):
        lengths.append(pauses.begin())
        assert pauses.is_pausing()
        clock.seconds += lengths[-1]
        assert not pauses.is_pausing()
    assert lengths[0] <= RETRY.first_s < max(lengths) <= RETRY.cap_s
    pauses.begin()
    pauses.reset()
    assert not pauses.is_pausing()
    assert pauses.begin() <= RETRY.first_s
