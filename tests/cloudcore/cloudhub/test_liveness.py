"""When a connection counts as dead. Pure: nothing is faked."""

from cloudcore.cloudhub.liveness import BEATS_SILENCE_S, STALLED_AFTER_S, Progress, silence_s
from common.capabilities import ALL, NONE


def test_an_edge_with_beats_may_be_silent_for_less_than_two_of_them() -> None:
    assert silence_s(ALL, 30.0) == BEATS_SILENCE_S < 20.0
    assert silence_s(ALL, 5.0) == 5.0
    assert silence_s(NONE, 30.0) == 30.0


def test_a_connection_that_takes_nothing_of_what_waits_is_stalled() -> None:
    progress = Progress(0.0)
    assert not progress.is_stalled(1000, 400, 10.0)
    assert not progress.is_stalled(1000, 400, 10.0 + STALLED_AFTER_S)
    assert progress.is_stalled(1000, 400, 10.5 + STALLED_AFTER_S)


def test_what_is_written_in_addition_is_no_progress() -> None:
    progress = Progress(0.0)
    assert progress.is_stalled(5000, 5000, STALLED_AFTER_S + 1)


def test_a_byte_that_is_taken_is_progress() -> None:
    progress = Progress(0.0)
    assert not progress.is_stalled(5000, 4999, STALLED_AFTER_S + 1)
    assert not progress.is_stalled(6000, 5998, 2 * STALLED_AFTER_S)


def test_a_connection_for_which_nothing_waits_is_not_stalled() -> None:
    progress = Progress(0.0)
    assert not progress.is_stalled(0, 0, 10 * STALLED_AFTER_S)
    assert not progress.is_stalled(100, 100, 11 * STALLED_AFTER_S), "counted from when it was idle"
