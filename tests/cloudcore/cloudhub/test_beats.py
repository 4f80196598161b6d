"""What an edge says with its beats, and what it is answered. Pure: nothing is faked.

Sessions are ``bare``: their connection and their clock are doubles.
"""

import time

from cloudcore.cloudhub.beats import LEAST_DIGEST_S, Beats
from common import frames
from common.frames import Beat, BeatAnswer
from common.names import Operation
from tests.cloudcore.cloudhub.bare import Bare, said


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


# --- in a session --------------------------------------------------------------------------------


def test_a_beat_is_answered_at_once_with_the_clouds_clock_and_told_to_the_controller(
    bare: Bare,
) -> None:
    (hello,) = bare.told()
    before_ms = time.time_ns() // 1_000_000
    bare.say(Beat(7, progresses=True, digest=0xABC))
    (answer,) = bare.hear()
    assert isinstance(answer, BeatAnswer)
    assert before_ms <= answer.time_ms <= time.time_ns() // 1_000_000
    assert (answer.number, answer.wants_digest) == (7, False)
    (told,) = bare.told()
    assert (told.operation, told.resource) == (Operation.KEEPALIVE, "node/n1")
    assert said(told) == {
        "connection": hello.msg_id,
        "progresses": True,
        "digest": "0000000000000abc",
        "is_quiet": True,
        "backlog": 0,
    }


def test_an_edge_is_quiet_when_nothing_is_under_way_to_it_as_its_beat_comes(bare: Bare) -> None:
    bare.told()
    message = bare.offer()
    bare.say(Beat(1, progresses=True, digest=1))
    bare.hear()
    bare.acknowledge([message])  # after the digest was made, which knows nothing of it
    told = said(bare.told()[0])
    assert (told["is_quiet"], told["backlog"]) == (False, 1)
    bare.say(Beat(2, progresses=True, digest=2))
    assert said(bare.told()[0])["is_quiet"] is True


def test_a_digest_is_asked_for_with_the_next_answer(bare: Bare) -> None:
    bare.session.want_digest()
    for number in (1, 2):
        bare.say(Beat(number, progresses=True))
        assert isinstance(answer := bare.hear()[0], BeatAnswer)
        assert answer.wants_digest is (number == 1)


def test_answers_to_beats_do_not_pile_up_before_an_edge_that_takes_nothing(bare: Bare) -> None:
    bare.wire.is_writable = False
    for number in range(1000):
        bare.say(Beat(number, progresses=True))
        assert bare.hear() == []
    bare.wire.is_writable = True
    bare.session.writable()
    assert [heard.number for heard in bare.hear() if isinstance(heard, BeatAnswer)] == [999]
