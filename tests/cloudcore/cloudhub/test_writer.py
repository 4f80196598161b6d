"""What is written to a node. The connection is a double; all else is real.

What a whole session writes, and when, stands in ``test_session``.
"""

import random

import pytest
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.liveness import STALLED_AFTER_S
from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING, Outstanding
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.writer import RESEND_AFTER_S, TURN_BYTES, Writer
from cloudcore.metrics import CloudMetrics
from common import frames, wire
from common.beehive.message import new, raw
from common.errors import WireError
from common.frames import Beat, BeatAnswer, Begin, Chunk
from common.names import UID, Operation
from tests.cloudcore.cloudhub.bare import BareWire

NOISE = random.Random(3).randbytes(24 * 1024).hex()


class Desk:
    """A writer, and what is around it."""

    def __init__(self) -> None:
        self.link, self.outstanding = BareWire(), Outstanding()
        self.shown = CollectorRegistry()
        self.has = 0  # bytes of a content in chunks
        self.writer = Writer(self.link, CloudMetrics(self.shown), self.outstanding)

    def offer(self, name: str, text: str = "") -> Parcel:
        content = raw({"metadata": {"uid": name}, "data": text})
        message = new(
            "edgecontroller", "resource", Operation.UPDATE, f"a/configmap/{name}", content
        )
        parcel = Parcel(message)
        self.writer.outbox.offer(UID(name), parcel)
        return parcel

    def answer(self, text: str = "") -> None:
        message = new("edgecontroller", "resource", Operation.RESPONSE, "a/configmap/x", raw(text))
        self.writer.outbox.reply(Parcel(message))
        self.outstanding.add_answer()

    def written(self, now_s: float = 0.0) -> list[str]:
        """Return the kinds of what is written now."""
        self.writer.write(now_s)
        written, self.link.written = self.link.written, []
        return [self._read(payload, is_text=is_text) for payload, is_text in written]

    def _read(self, payload: bytes, *, is_text: bool) -> str:
        if is_text:
            return wire.decode(payload).operation.value
        frame = frames.decode(payload)
        if isinstance(frame, Chunk):
            self.has += len(frame.data)
        return type(frame).__name__


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_answers_to_beats_come_first_then_replies_then_objects_then_chunks(desk: Desk) -> None:
    desk.offer("large", NOISE)
    assert desk.written() == [Begin.__name__]
    assert desk.writer.go_on(frames.Credit(1, 0), 0.0)
    desk.offer("small")
    desk.answer()
    desk.writer.beats.heard(Beat(1, progresses=True), 0.0, backlog=0)
    first, second, third, *chunks = desk.written()
    assert (first, second, third) == (BeatAnswer.__name__, "response", "update")
    assert set(chunks) == {Chunk.__name__}


def test_an_answer_gives_its_place_back_as_it_is_written(desk: Desk) -> None:
    for _ in range(MAX_OUTSTANDING):
        desk.answer()
    assert (desk.writer.answers, desk.outstanding.has_room()) == (MAX_OUTSTANDING, False)
    assert desk.written() == ["response"] * MAX_OUTSTANDING
    assert (desk.writer.answers, desk.outstanding.has_room()) == (0, True)


def test_an_answer_in_chunks_counts_until_the_edge_has_it(desk: Desk) -> None:
    desk.answer(NOISE)
    assert desk.written() == [Begin.__name__]
    assert (desk.writer.answers, desk.writer.is_waiting) == (1, True)
    while desk.writer.is_waiting:
        assert desk.writer.go_on(frames.Credit(1, desk.has), 0.0)
        desk.written()
    assert (desk.writer.answers, desk.writer.is_waiting) == (0, False)


def test_much_is_left_for_another_turn(desk: Desk) -> None:
    for _ in range(2):
        desk.answer("x" * TURN_BYTES)
    assert desk.writer.write(0.0)
    assert desk.writer.write(0.0)
    assert not desk.writer.write(0.0)


def test_what_is_not_acknowledged_is_due_again(desk: Desk) -> None:
    desk.offer("small")
    assert desk.written() == ["update"]
    assert not desk.writer.tend(RESEND_AFTER_S - 1)
    assert desk.writer.tend(RESEND_AFTER_S + 1)
    assert desk.written(RESEND_AFTER_S + 1) == ["update"]


def test_what_does_not_get_on_is_given_up(desk: Desk) -> None:
    desk.answer(NOISE)
    desk.written()
    assert desk.writer.tend(STALLED_AFTER_S)
    assert desk.writer.answers == 0
    dropped = desk.shown.get_sample_value(
        "cloudcore_messages_dropped_total", {"reason": "transfer_stalled"}
    )
    assert dropped == 1
    assert not desk.writer.go_on(frames.Credit(1, 0), STALLED_AFTER_S)


def test_a_credit_beyond_the_end_is_refused(desk: Desk) -> None:
    desk.offer("large", NOISE)
    desk.written()
    with pytest.raises(WireError):
        desk.writer.go_on(frames.Credit(1, 10**6), 0.0)


def test_all_bytes_are_counted(desk: Desk) -> None:
    desk.answer()
    desk.writer.write(0.0)
    assert desk.writer.written == sum(len(payload) for payload, _ in desk.link.written) > 0
