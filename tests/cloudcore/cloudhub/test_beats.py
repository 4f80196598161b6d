"""What an edge says with its beats, and what it is answered. Pure: nothing is faked."""

from cloudcore.cloudhub.beats import LEAST_DIGEST_S, Beats
from common import frames
from common.frames import Beat, BeatAnswer


def answer(beats: Beats, now_ms: int = 0) -> BeatAnswer | None:
    payload = beats.answer(now_ms)
    if payload is None:
        return None
    frame = frames.decode(payload)
    assert isinstance(frame, BeatAnswer)
    return frame


def test_each_beat_is_answered_once_with_its_number_and_the_clouds_clock() -> None:
    beats = Beats()
    assert answer(beats) is None
    for number in (1, 2):
        beats.heard(Beat(number, progresses=True), 0.0, backlog=0)
        assert answer(beats, 1_700_000_000_123) == BeatAnswer(number, 1_700_000_000_123)
        assert answer(beats) is None


def test_beats_that_came_together_have_one_answer() -> None:
    beats = Beats()
    for number in (1, 2, 3):
        beats.heard(Beat(number, progresses=True), 0.0, backlog=0)
    assert answer(beats) == BeatAnswer(3, 0)
    assert answer(beats) is None


def test_a_digest_is_asked_for_once() -> None:
    beats = Beats()
    beats.want_digest()
    for number in (1, 2):
        beats.heard(Beat(number, progresses=True), 0.0, backlog=0)
        assert answer(beats) == BeatAnswer(number, 0, wants_digest=number == 1)


def test_an_edge_that_is_not_read_hears_its_last_answer_again() -> None:
    beats = Beats()
    beats.heard(Beat(7, progresses=True), 0.0, backlog=0)
    answer(beats, 1)
    beats.remind()
    assert answer(beats, 2) == BeatAnswer(7, 2)
    assert answer(beats) is None


def test_the_controller_is_told_what_a_beat_says() -> None:
    beats = Beats()
    assert beats.take("c1") is None
    beats.heard(Beat(1, progresses=True, digest=0xAB), 0.0, backlog=3)
    assert beats.take("c1") == {
        "connection": "c1",
        "progresses": True,
        "digest": "00000000000000ab",
        "is_quiet": False,
        "backlog": 3,
    }
    assert beats.take("c1") is None


def test_beats_that_the_controller_has_not_taken_are_one() -> None:
    beats = Beats()
    beats.heard(Beat(1, progresses=True), 0.0, backlog=3)
    beats.heard(Beat(2, progresses=False), 0.0, backlog=0)
    said = beats.take("c1")
    assert said is not None
    assert (said["progresses"], said["digest"], said["is_quiet"]) == (False, None, True)
    assert beats.take("c1") is None


def test_a_digest_outlives_the_next_beat_and_so_does_what_was_under_way_then() -> None:
    beats = Beats()
    beats.heard(Beat(1, progresses=True, digest=5), 0.0, backlog=3)
    beats.heard(Beat(2, progresses=False), 0.0, backlog=0)
    said = beats.take("c1")
    assert said is not None
    assert (said["progresses"], said["digest"], said["is_quiet"]) == (False, f"{5:016x}", False)
    assert said["backlog"] == 0, "as it is now, whatever the digest knows of"


def test_a_newer_digest_takes_the_place_of_an_older_one() -> None:
    beats = Beats()
    beats.heard(Beat(1, progresses=True, digest=5), 0.0, backlog=3)
    beats.heard(Beat(2, progresses=True, digest=6), LEAST_DIGEST_S, backlog=0)
    said = beats.take("c1")
    assert said is not None
    assert (said["digest"], said["is_quiet"]) == (f"{6:016x}", True)


def test_an_edge_that_says_digests_all_the_time_has_no_more_of_them_compared() -> None:
    beats, passed_on = Beats(), 0
    for number in range(1, 1001):
        beats.heard(Beat(number, progresses=True, digest=number), number / 1000, backlog=0)
        said = beats.take("c1")
        assert said is not None, "that it lives counts nevertheless"
        passed_on += said["digest"] is not None
    assert passed_on == 1 / LEAST_DIGEST_S
