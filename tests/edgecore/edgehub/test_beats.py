"""When to beat, and when a link is dead. Everything is real; there is nothing to fake."""

from hypothesis import given
from hypothesis import strategies as st

from common.frames import Beat, BeatAnswer
from edgecore.edgehub.beats import DIGEST_EVERY, MAX_UNANSWERED, Beats

PERIOD_S, ANSWER_S = 10.0, 8.0


def beats(now_s: float = 0.0, phase: float = 0.5) -> Beats:
    return Beats(now_s, period_s=PERIOD_S, answer_s=ANSWER_S, phase=phase)


def answer(number: int, *, wants_digest: bool = False) -> BeatAnswer:
    return BeatAnswer(number, 0, wants_digest)


def test_the_first_is_due_at_once_and_the_second_after_a_part_of_the_period() -> None:
    made = beats(100.0, phase=0.25)
    assert made.due_s == 100.0
    assert made.begin(100.0) == 1
    assert made.due_s == 102.5
    assert made.begin(102.5) == 2
    assert made.due_s == 112.5
    assert made.begin(113.0) == 3
    assert made.due_s == 122.5  # one that is late does not shift the others


def test_after_a_standstill_there_is_one_and_not_all_that_were_missed() -> None:
    made = beats()
    made.begin(0.0)
    made.begin(1000.0)
    assert made.due_s == 1000.0
    made.begin(1000.0)
    assert made.due_s == 1010.0


def test_one_in_five_minutes_carries_the_digest() -> None:
    made = beats()
    assert not made.wants_digest
    wanting = [
        number for _ in range(3 * DIGEST_EVERY) if (number := made.begin(0.0)) and wants(made)
    ]
    assert wanting == [DIGEST_EVERY, 2 * DIGEST_EVERY, 3 * DIGEST_EVERY]


def wants(made: Beats) -> bool:
    return made.wants_digest


def test_a_digest_that_the_cloud_wants_is_wanted_until_a_beat_carried_it() -> None:
    made = beats()
    made.written(Beat(made.begin(0.0), progresses=True), 0.0)
    made.answered(answer(1, wants_digest=True))
    number = made.begin(5.0)
    assert wants(made)
    made.written(Beat(number, progresses=False), 5.0)
    made.answered(answer(2))
    number = made.begin(15.0)
    assert wants(made)
    made.written(Beat(number, progresses=True, digest=7), 15.0)
    made.begin(25.0)
    assert not wants(made)


def test_an_answer_tells_when_the_beat_was_written_and_stands_for_earlier_ones() -> None:
    made = beats()
    made.written(Beat(made.begin(0.0), progresses=True), 0.5)
    made.written(Beat(made.begin(5.0), progresses=True), 5.5)
    made.written(Beat(made.begin(15.0), progresses=True), 15.5)
    assert made.answered(answer(2)) == 5.5
    assert made.answered(answer(1)) is None
    assert made.answered(answer(99)) is None
    assert made.answered(answer(3)) == 15.5
    assert made.answered(answer(3)) is None


def test_one_that_goes_out_after_the_answer_to_a_later_one_changes_nothing() -> None:
    made = beats()
    late = Beat(made.begin(0.0), progresses=True)
    made.begin(5.0)
    made.answered(answer(2))
    made.written(late, 6.0)
    assert made.answered(answer(1)) is None


def test_one_that_was_not_written_can_be_no_measure_of_time() -> None:
    made = beats()
    assert made.answered(answer(made.begin(0.0))) is None


def test_a_missing_answer_is_the_end_unless_bytes_come() -> None:
    made = beats()
    made.begin(0.0)
    assert made.patience_s(0.0, 0.0) == ANSWER_S
    assert made.patience_s(7.0, 7.0) == 1.0
    assert made.patience_s(8.0, 8.0) == 0.0
    assert made.patience_s(8.0, 3.0) == 5.0


def test_with_all_answered_there_is_patience_until_the_next_answer_is_due() -> None:
    made = beats()
    made.begin(0.0)
    made.answered(answer(1))
    assert made.patience_s(1.0, 1.0) == 5.0 + ANSWER_S - 1.0


def test_a_cloud_that_sends_and_never_answers_is_given_up() -> None:
    made = beats()
    for _ in range(MAX_UNANSWERED):
        made.begin(made.due_s)
    assert made.patience_s(made.due_s, 0.0) > 0
    made.begin(made.due_s)
    assert made.patience_s(made.due_s, 0.0) == 0


@given(st.floats(0, 0.999), st.floats(0, 300), st.floats(0, 2))
def test_silence_is_noticed_in_less_than_two_periods_whenever_it_begins(
    phase: float, silent_from_s: float, late_s: float
) -> None:
    made = beats(phase=phase)
    now_s = 0.0
    while True:
        idle_s = max(0.0, now_s - silent_from_s)
        left_s = made.patience_s(now_s, idle_s)
        if left_s <= 1e-9:  # what a clock that counts in nanoseconds would call nothing
            break
        at_s = min(now_s + left_s, made.due_s + late_s)
        if at_s >= made.due_s:
            number = made.begin(at_s)
            if at_s < silent_from_s:
                made.answered(answer(number))
        now_s = at_s
    assert silent_from_s <= now_s < silent_from_s + 2 * PERIOD_S
