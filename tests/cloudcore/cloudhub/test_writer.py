"""What is written to a node, by a writer alone and in a session. The connection is a double, and so
is the clock; all else is real. What takes a ``stage`` has TLS, WebSocket and sockets on loopback.
"""

import random

import pytest
from prometheus_client import CollectorRegistry
from websockets.typing import Subprotocol

from cloudcore.cloudhub.liveness import STALLED_AFTER_S
from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING, Outstanding
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.writer import RESEND_AFTER_S, TURN_BYTES, WINDOWS, Writer
from cloudcore.metrics import CloudMetrics
from common import frames, wire
from common.beehive.message import NULL, Message, new, raw, reply
from common.capabilities import ALL
from common.errors import WireError
from common.frames import Beat, BeatAnswer, Begin, Chunk, Credit, Deflated
from common.names import UID, Operation, PeerProtocol
from tests.cloudcore.cloudhub.bare import MIB, NOISE, OWN, Bare, BareWire, kubeedge
from tests.cloudcore.cloudhub.stage import Stage


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


# --- in a session --------------------------------------------------------------------------------


@pytest.mark.both_loops
@pytest.mark.parametrize(
    ("offered", "window"),
    [([], WINDOWS[PeerProtocol.KUBEEDGE]), (["cloudedge.v1"], WINDOWS[PeerProtocol.CLOUDEDGE_V1])],
)
async def test_an_edge_has_no_more_to_acknowledge_than_its_kind_can_hold(
    stage: Stage, offered: list[str], window: int
) -> None:
    subprotocols = [Subprotocol(one) for one in offered] or None
    async with stage.edge("n1", subprotocols) as edge:
        stage.session("n1")._outbox.pace._window = 16 * MIB  # of a link that has proved fast
        for number in range(window + 1):
            await stage.controller.tell("n1", 1, uid=f"u{number}", name=f"c{number}")
        received = [await edge.receive() for _ in range(window)]
        assert await edge.is_served(), "an answer comes in between, but no further object"
        await edge.acknowledge(received[0])
        assert (await edge.receive()).resource == f"shop/configmap/c{window}"


@pytest.mark.both_loops
async def test_answers_do_not_wait_behind_objects(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        request = await edge.send(Operation.QUERY, OWN)
        forwarded = await stage.controller.next_of(Operation.QUERY)
        for number in range(2000):
            await stage.controller.tell("n1", 1, uid=f"u{number}", name=f"c{number}")
        await stage.controller.answer(forwarded, NULL)
        received = 0
        while (await edge.receive()).parent_id != request.msg_id:
            received += 1
        assert received <= WINDOWS[PeerProtocol.KUBEEDGE]


def test_the_answer_to_a_beat_passes_what_waits_for_the_link(bare: Bare) -> None:
    bare.wire.takes = 1
    for number in range(9):
        bare.offer(f"c{number}")
    bare.hear()
    bare.say(Beat(1, progresses=True))
    bare.wire.takes, bare.wire.is_writable = 1, True
    bare.session.writable()
    assert isinstance(bare.hear()[0], BeatAnswer)


def test_what_is_long_is_compressed_and_what_is_short_is_not(bare: Bare) -> None:
    short, long = bare.offer("short"), bare.offer("long", text="x" * 5000)
    request = bare.ask()
    bare.answer(request, "y" * 5000)
    kinds = [type(heard) for heard in bare.hear()]
    assert kinds == [Deflated, Message, Deflated]
    bare.acknowledge([short, long])
    assert bare.session.backlog == 0


def test_others_have_their_turn_before_much_is_encoded_for_one_node(bare: Bare) -> None:
    for _ in range(8):
        bare.answer(bare.ask(), "x" * TURN_BYTES)
    bare.session.flush()
    assert len(bare.wire.written) == 1
    assert len(bare.hear_messages()) == 8


def test_no_more_is_written_than_the_link_takes_and_the_rest_can_be_overtaken(bare: Bare) -> None:
    bare.session._outbox.pace._window = 16 * MIB
    bare.wire.takes = 100_000
    for number in range(200):
        bare.offer(f"c{number}", text=random.Random(number).randbytes(2000).hex())
    first = len(bare.hear())
    assert first < 100
    newest = bare.offer("c150", 2)
    bare.wire.takes, bare.wire.is_writable = None, True
    bare.session.writable()
    rest = bare.hear_messages()
    assert first + len(rest) == 200
    assert newest.msg_id in {message.msg_id for message in rest}


def test_much_is_written_in_pieces(bare: Bare) -> None:
    bare.session._outbox.pace._window = 16 * MIB
    for number in range(200):
        bare.offer(f"c{number}", text=random.Random(number).randbytes(2000).hex())
    bare.hear()
    assert 2 < bare.wire.flushes < 20


@pytest.mark.both_loops
async def test_a_content_that_was_cut_off_goes_on_in_the_next_connection(stage: Stage) -> None:
    async with stage.edge("n1", able=ALL) as edge:
        await stage.controller.tell("n1", 1, text=NOISE)
        begin = await edge.hear()
        assert isinstance(begin, frames.Begin)
        await edge.say(frames.Credit(begin.transfer, 0))
        first = await edge.hear()
        assert isinstance(first, frames.Chunk)
    await stage.controller.next_of(Operation.DISCONNECTED)
    async with stage.edge("n1", able=ALL) as edge:
        await stage.controller.tell("n1", 1, text=NOISE)
        again = await edge.hear()
        assert isinstance(again, frames.Begin)
        assert again.hash == begin.hash
        await edge.say(frames.Credit(again.transfer, len(first.data)))
        second = await edge.hear()
        assert isinstance(second, frames.Chunk)
        assert second.offset == len(first.data)


def test_a_large_object_comes_in_chunks_and_is_acknowledged_as_any(bare: Bare) -> None:
    told = bare.offer("large", 7, NOISE)
    message, between = bare.finish(bare.begun())
    assert (message.header, bytes(message.content)) == (told.header, bytes(told.content))
    assert (message.resource, between) == ("shop/configmap/large", [])
    assert bare.session.backlog == 1, "to be there is not to be durable"
    bare.acknowledge([message])
    assert bare.session.backlog == 0
    assert bare.session._outbox.pace.in_flight == 0
    bare.assert_nothing_is_lost()


def test_answers_and_what_is_small_pass_between_chunks(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, 0))
    rest = bare.take_in(bare.hear(), begin)
    small = bare.offer("small")
    request = bare.ask()
    bare.answer(request)
    rest += bare.take_in(bare.hear(), begin)
    assert len(bare.has) < begin.size
    assert [m.parent_id for m in rest] == [request.msg_id, ""]
    assert rest[1].msg_id == small.msg_id


def test_what_is_large_comes_one_at_a_time(bare: Bare) -> None:
    told = [bare.offer(f"large-{number}", 1, NOISE + str(number)) for number in range(3)]
    begin = bare.begun()
    for number, expected in enumerate(told, 1):
        assert begin.transfer == number
        message, rest = bare.finish(begin)
        assert (message.msg_id, rest) == (expected.msg_id, [])
        if number < len(told):
            begin = bare.begun()
    bare.acknowledge(told)
    bare.assert_nothing_is_lost()


def test_chunks_go_on_when_what_was_before_them_has_arrived(bare: Bare) -> None:
    small = [bare.offer(f"small-{number}", text=NOISE[:3000]) for number in range(3)]
    bare.hear()
    bare.acknowledge(small[:1])
    large = bare.offer("large", 1, NOISE)
    heard = bare.hear()
    begin = next(one for one in heard if isinstance(one, Begin))
    bare.session._outbox.pace.launch(16 * MIB)  # so much is under way
    bare.say(Credit(begin.transfer, 0))
    assert bare.hear() == []
    bare.session._outbox.pace.forget(16 * MIB)
    bare.acknowledge(small[1:])
    assert any(isinstance(one, Chunk) for one in bare.hear())
    assert bare.session.backlog == 1, large.msg_id


def test_a_large_answer_comes_in_chunks_before_objects_that_are_large(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    request = bare.ask()
    bare.answer(request, NOISE)
    answer, _ = bare.finish(bare.begun())
    assert answer.parent_id == request.msg_id
    assert NOISE.encode() in bytes(answer.content)
    assert bare.begun().transfer == 2


def test_a_content_goes_on_where_an_earlier_connection_stopped(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, 0))
    bare.take_in(bare.hear(), begin)
    part = bare.has
    assert 0 < len(part) < begin.size
    bare.session.lost(None)

    again = Bare()
    told = again.offer("large", 1, NOISE)  # with another id, but of the same content
    message, _ = again.finish(again.begun(), has=part)
    assert message.msg_id == told.msg_id
    assert again.counted("sent_bytes") < bare.counted("sent_bytes") + begin.size - len(part)


def test_a_content_that_is_there_already_takes_no_chunk(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, begin.size))
    assert bare.hear() == []
    bare.offer("other", 1, NOISE + "x")
    assert bare.begun().transfer == 2


def test_a_content_that_came_out_wrong_is_sent_anew(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, 0))
    while len(bare.has) < begin.size - frames.CHUNK_BYTES:
        bare.take_in(bare.hear(), begin)
    message, _ = bare.finish(begin)  # says that it has nothing
    assert NOISE.encode() in bytes(message.content)
    assert bare.session._outbox.pace.in_flight == 0


@pytest.mark.parametrize("offset", [1, 2**32 - 1])
def test_a_credit_for_what_was_not_sent_closes_the_connection(bare: Bare, offset: int) -> None:
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, 0))
    bare.say(Credit(begin.transfer, offset))
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 1007


def test_a_credit_that_belongs_to_nothing_is_passed_over(bare: Bare) -> None:
    bare.say(Credit(1, 5))
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer + 1, 2**32 - 1))
    assert (bare.hear(), bare.wire.closed) == ([], None)


def test_an_edge_that_takes_long_is_not_sent_the_object_again_meanwhile(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, 0))
    while len(bare.has) < begin.size:
        bare.take_in(bare.hear(), begin)
        bare.wire.last_received_s = bare.now_s
        bare.wait(4.0)
    assert bare.now_s > 2 * RESEND_AFTER_S
    assert bare.hear() == [], "the edge has had no time to acknowledge"
    bare.wire.last_received_s = bare.now_s
    bare.wait(2 * RESEND_AFTER_S)
    assert bare.begun().transfer == 2


@pytest.mark.parametrize("repeats", [False, True], ids=["silent", "repeats its credit"])
def test_a_transfer_that_does_not_get_on_is_given_up_and_tried_again_after_others(
    bare: Bare, *, repeats: bool
) -> None:
    told = [bare.offer(f"large-{number}", 1, NOISE + str(number)) for number in range(2)]

    def stall(begin: Begin) -> None:
        bare.say(Credit(begin.transfer, 0))
        for _ in range(int(STALLED_AFTER_S)):
            bare.hear()
            bare.wire.last_received_s = bare.now_s
            if repeats:  # to say the same again is not to get on
                bare.say(Credit(begin.transfer, 0))
            bare.wait(1.0)

    stall(bare.begun())
    second = bare.begun()
    message, _ = bare.finish(second)
    assert message.msg_id == told[1].msg_id, "one that cannot be taken holds up no other"
    bare.acknowledge([message])
    bare.say(Credit(1, frames.CHUNK_BYTES))  # of the one that was given up
    bare.wire.last_received_s = bare.now_s
    bare.wait(2 * RESEND_AFTER_S)
    message, _ = bare.finish(bare.begun())
    assert message.msg_id == told[0].msg_id
    bare.acknowledge([message])
    assert bare.session._outbox.pace.in_flight == 0
    bare.assert_nothing_is_lost()


def test_an_answer_that_does_not_get_on_is_dropped_and_counted(bare: Bare) -> None:
    bare.answer(bare.ask(), NOISE)
    begin = bare.begun()
    bare.wire.last_received_s = STALLED_AFTER_S
    bare.wait(STALLED_AFTER_S)
    assert bare.dropped("transfer_stalled") == 1
    bare.say(Credit(begin.transfer, 0))
    assert bare.hear() == []
    bare.answer(bare.ask(), NOISE)
    assert bare.begun().transfer == 2


def test_a_newer_version_comes_after_the_one_that_is_being_sent(bare: Bare) -> None:
    old = bare.offer("large", 1, NOISE)
    begin = bare.begun()
    newer = bare.offer("large", 2, NOISE + "x")
    assert bare.hear() == []
    message, _ = bare.finish(begin)
    assert message.msg_id == old.msg_id
    assert bare.hear() == []
    bare.acknowledge([message])
    message, _ = bare.finish(bare.begun())
    assert message.msg_id == newer.msg_id
    bare.acknowledge([message])
    bare.assert_nothing_is_lost()


def test_an_edge_without_chunks_gets_a_large_content_in_one_frame() -> None:
    bare = kubeedge()
    told = bare.offer("large", 1, "x" * 5 * MIB)
    small = bare.offer("small")
    request = bare.ask()
    bare.answer(request)
    first, second = bare.hear_messages()
    assert (first.parent_id, second.msg_id) == (request.msg_id, told.msg_id)
    bare.say(reply(told))
    assert [m.msg_id for m in bare.hear_messages()] == [small.msg_id]
