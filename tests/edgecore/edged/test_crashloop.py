"""Pauses between restarts: pure, nothing faked."""

from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.crashloop import LONGEST_PAUSE_S, History, latest, observe
from edgecore.edged.runtime.base import ContainerState, ContainerStatus


def status(attempt: int, state: ContainerState, name: str = "c") -> ContainerStatus:
    return ContainerStatus(f"{name}{attempt}", name, attempt, state, sandbox_id="s")


def crash(history: History, attempt: int, start_s: float, ran_s: float) -> History:
    history = observe(history, [status(attempt, ContainerState.RUNNING)], start_s)
    return observe(history, [status(attempt, ContainerState.EXITED)], start_s + ran_s)


def test_pauses_double_from_ten_seconds_to_five_minutes() -> None:
    history: History = {}
    pauses, now_s = [], 0.0
    for attempt in range(9):
        history = crash(history, attempt, now_s, ran_s=1)
        pauses.append(history["c"].pause_s)
        assert history["c"].retry_at_s == now_s + 1 + pauses[-1]
        now_s = history["c"].retry_at_s
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_minutes_of_running_make_everything_good() -> None:
    history: History = {}
    for attempt in range(4):
        history = crash(history, attempt, attempt * 1000, ran_s=1)
    assert crash(history, 4, 10_000, ran_s=599)["c"].pause_s > 0
    assert crash(history, 4, 10_000, ran_s=600)["c"].pause_s == 0


def test_seeing_the_same_again_changes_nothing() -> None:
    history = crash({}, 0, 0, 1)
    assert observe(history, [status(0, ContainerState.EXITED)], 99) == history


def test_an_end_that_was_never_seen_running_counts_as_a_crash() -> None:
    history = observe({}, [status(0, ContainerState.EXITED)], 0)
    history = observe(history, [status(1, ContainerState.EXITED)], 5)
    assert history["c"].pause_s == 10


def test_only_the_newest_attempt_counts() -> None:
    both = [status(1, ContainerState.RUNNING), status(0, ContainerState.EXITED)]
    assert latest(both)["c"].attempt == 1
    assert not observe({}, both, 0)["c"].ended


@given(st.lists(st.floats(min_value=0, max_value=2000), max_size=30))
def test_no_pause_is_ever_longer_than_five_minutes(runs_s: list[float]) -> None:
    history: History = {}
    now_s = 0.0
    for attempt, ran_s in enumerate(runs_s):
        history = crash(history, attempt, now_s, ran_s)
        assert 0 <= history["c"].pause_s <= LONGEST_PAUSE_S
        now_s = history["c"].retry_at_s
