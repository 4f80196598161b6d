"""A connection at work. Real: TLS, WebSocket, sockets on loopback; the edge and the controller are
test doubles. Where a session is ``bare``, its connection and its clock are doubles as well.

Whatever one node sends, the other one, which is connected as well, notices nothing. What a part of
a session does in it (``writer``, ``reading``, ``beats`` and so on) stands in that part's tests.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from websockets.typing import Subprotocol

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.handshake import Terms
from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.session import CLOSE_TIMEOUT_S
from cloudcore.cloudhub.writer import TURN_BYTES
from common import capabilities, frames, wire
from common.beehive.message import OK, Message, new, raw, reply
from common.capabilities import ALL, Capabilities, Capability, render
from common.frames import Beat, BeatAnswer, Begin, Chunk, Credit, Deflated, Encoding
from common.names import Operation, PeerProtocol
from tests.cloudcore.cloudhub.bare import MIB, NOISE, OWN, Bare, as_message, kubeedge, said
from tests.cloudcore.cloudhub.stage import ENVELOPE, Edge, Stage, staged, until

pytestmark = pytest.mark.both_loops


async def test_a_request_goes_to_the_controller_and_its_answer_comes_back(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        sent = await edge.send(Operation.QUERY, OWN)
        request = await stage.controller.next_of(Operation.QUERY)
        assert request.resource == f"node/n1/{OWN}"
        assert (request.header, request.content) == (sent.header, sent.content)
        await stage.controller.answer(request, raw({"Object": None}))
        answer = await edge.receive()
        assert (answer.parent_id, answer.resource) == (sent.msg_id, OWN)
        assert (answer.route.source, answer.route.group) == ("edgecontroller", "resource")
        assert bytes(answer.content) == b'{"Object":null}'


async def test_the_clusters_authority_is_asked_for_under_the_nodes_name(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        sent = await edge.send(Operation.QUERY, "k8s/ca.crt")
        request = await stage.controller.next_of(Operation.QUERY)
        assert request.resource == "node/n1/k8s/ca.crt"
        await stage.controller.answer(request, raw("PEM"))
        answer = await edge.receive()
        assert (answer.parent_id, answer.resource) == (sent.msg_id, "k8s/ca.crt")


# --- what closes the connection -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "code", "counted_as"),
    [
        ("", 1007, "malformed"),
        ("{", 1007, "malformed"),
        ("[]", 1007, "malformed"),
        ('{"header":{"msg_id":1},"route":{"operation":"query"}}', 1007, "malformed"),
        ('{"header":{"msg_id":""},"route":{"operation":"query"}}', 1007, "malformed"),
        ((ENVELOPE % (b"[" * 10_000 + b"]" * 10_000)).decode(), 1007, "malformed"),
        (ENVELOPE % b"null", 1003, "binary_frame"),
    ],
)
async def test_what_is_no_message_closes_the_connection_with_the_reason(
    stage: Stage, frame: str | bytes, code: int, counted_as: str
) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        await edge.socket.send(frame)
        closed, reason = await edge.closed()
        assert (closed, bool(reason)) == (code, True)
        assert stage.refused(counted_as) == 1
        assert (await stage.controller.next_of(Operation.DISCONNECTED)).resource == "node/n1"
        assert await other.is_served()
        assert stage.controller.requests() == []


async def test_a_stop_writes_what_waits_and_then_says_that_it_goes(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        socket = await stage.connect("n1")
        edge = Edge(socket)
        await stage.controller.next_of(Operation.CONNECTED)
        told = [await stage.controller.tell("n1", 1, uid=f"u{i}", name=f"c{i}") for i in range(9)]
    received = [await edge.receive() for _ in told]
    assert [m.msg_id for m in received] == [m.msg_id for m in told]
    assert (await edge.closed())[0] == 1001


# --- what is answered -----------------------------------------------------------------------------


async def test_an_unknown_operation_is_answered_and_the_connection_lives(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        text = '{"header":{"msg_id":"id-1"},"route":{"operation":"explode","resource":"a/pod/b"}}'
        await edge.socket.send(text)
        answer = await edge.receive()
        status = wire.status_of(answer.content)
        assert answer.parent_id == "id-1"
        assert status is not None
        assert status.code == 405
        assert stage.refused("unknown_operation") == 1
        assert await edge.is_served()


async def test_an_object_of_another_node_is_refused_and_the_connection_lives(
    stage: Stage,
) -> None:
    stage.add_pod("n2", "theirs", secrets=frozenset({"db"}))
    async with stage.edge("n1") as edge:
        for operation, resource in (
            (Operation.QUERY, "shop/secret/db"),
            (Operation.DELETE, "shop/pod/theirs"),
            (Operation.QUERY, "null/node/n2"),
        ):
            status = wire.status_of((await edge.ask(operation, resource)).content)
            assert status is not None
            assert status.code == 403
        answer = await edge.ask(Operation.PATCH, "shop/podpatch/theirs", raw("{}"))
        wrapped = wire.loads_as(answer.content, wire.ObjectResponse)
        assert wrapped.Err is not None
        assert wrapped.Err.ErrStatus.code == 403
        assert stage.refused("Forbidden") == 4
        assert stage.controller.requests() == []


async def test_the_device_twin_of_kubeedge_is_kept_quiet(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        asked = await edge.send(
            Operation.GET, "membership/detail", raw("{}"), source="twin", group="resource"
        )
        answer = await edge.receive()
        assert (answer.route.group, answer.parent_id) == ("twin", asked.msg_id)


async def test_what_belongs_to_modules_that_are_not_there_is_dropped_and_counted(
    stage: Stage,
) -> None:
    async with stage.edge("n1") as edge:
        await edge.send(Operation.UPLOAD, "topic", raw("x"), source="bus", group="user")
        await edge.send(Operation.ERROR, "shop/pod/web", raw("disk full"))
        assert await edge.is_served()
        assert stage.dropped("unserved") == 1
        assert stage.dropped("edge_error") == 1
        assert stage.controller.requests() == []


async def test_an_event_is_passed_on_and_its_answer_is_not(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        event = {
            "metadata": {"name": "n1.1a", "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": "n1"},
        }
        for _ in range(2 * MAX_OUTSTANDING):  # each place is given back
            await edge.send(Operation.INSERT, "default/event/n1.1a", raw(event))
            request = await stage.controller.next_of(Operation.INSERT)
            await stage.controller.answer(request, OK)
        await edge.send(Operation.INSERT, "default/event/n2.1a", raw(event))  # refused, unanswered
        assert await edge.is_served()
        assert stage.refused("Forbidden") == 2


# --- objects --------------------------------------------------------------------------------------


async def test_an_object_is_sent_and_its_acknowledgement_counted(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        told = await stage.controller.tell("n1", 7)
        received = await edge.receive()
        assert received.resource == "shop/configmap/web"
        assert received.header.resourceversion == "7"
        assert (received.msg_id, bytes(received.content)) == (told.msg_id, bytes(told.content))
        await edge.acknowledge(received)
        await edge.acknowledge(received)  # again: it is known already, and no harm
        await until(lambda: stage.counted("messages_acknowledged_total") == 1)
        assert await edge.is_served()


async def test_the_newest_version_is_what_the_edge_gets_in_the_end(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        for version in range(1, 101):
            await stage.controller.tell("n1", version)
        versions: list[int] = []
        while not versions or versions[-1] != 100:
            received = await edge.receive()
            versions.append(int(received.header.resourceversion))
            await edge.acknowledge(received)
        assert versions == sorted(versions)
        assert stage.counted("messages_superseded_total") == 100 - len(versions)


async def test_what_is_not_acknowledged_is_sent_again(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        await stage.controller.tell("n1", 1)
        first = await edge.receive()
        session = stage.session("n1")
        # The deadline is brought forward instead of waited for.
        for entry in session._outbox._in_flight.values():
            entry.deadline_s = 0.0
        session.tend(asyncio.get_running_loop().time())
        assert (await edge.receive()).msg_id == first.msg_id


# --- peers of other versions: each set of capabilities that two sides can agree on ----------------

SUBSETS = [
    frozenset(words) for number in range(len(ALL) + 1) for words in combinations(Capability, number)
]


@asynccontextmanager
async def agreed(
    folder: Path, able: Capabilities, lacking: str
) -> AsyncIterator[tuple[Stage, Edge]]:
    """A connection for which ``able`` holds, since the side that is ``lacking`` can do no more."""
    terms = Terms(able) if lacking == "cloudcore" else Terms()
    async with staged(folder, terms=terms) as stage:
        offered = able if lacking == "edge" else ALL
        own = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)]
        async with stage.edge("n1", own, able=offered) as edge:
            assert edge.socket.response is not None
            said = edge.socket.response.headers.get(capabilities.HEADER)
            assert said == (render(able) or None)
            yield stage, edge


async def acknowledge(stage: Stage, edge: Edge, able: Capabilities, message: Message) -> None:
    before = stage.counted("messages_acknowledged_total")
    if Capability.ACKS in able:
        content = raw({"acked": [message.msg_id]})
        await edge.send(Operation.RESPONSE, "", content, group="resource")
    else:
        await edge.acknowledge(message)
    await until(lambda: stage.counted("messages_acknowledged_total") == before + 1)


@pytest.mark.parametrize("lacking", ["edge", "cloudcore"])
@pytest.mark.parametrize("able", SUBSETS, ids=lambda able: "+".join(sorted(able)) or "none")
async def test_an_edge_is_spoken_to_in_what_both_sides_can_do_and_in_nothing_else(
    tmp_path: Path, able: Capabilities, lacking: str
) -> None:
    async with agreed(tmp_path, able, lacking) as (stage, edge):
        if Capability.BEATS in able:
            await edge.say(frames.Beat(1, progresses=True))
            assert isinstance(await edge.hear(), frames.BeatAnswer)
        else:
            await edge.send(Operation.KEEPALIVE, "node", raw("ping"), group="resource")

        await stage.controller.tell("n1", 1, name="small", uid="u1")
        await acknowledge(stage, edge, able, await edge.receive())

        told = await stage.controller.tell("n1", 1, name="medium", uid="u2", text="x" * 4096)
        if Capability.DEFLATE in able:
            heard = await edge.hear()
            assert isinstance(heard, frames.Deflated)
            message = wire.decode(frames.inflate(heard.data, max_bytes=MIB))
        else:
            message = await edge.receive()
        assert message.content == told.content
        await acknowledge(stage, edge, able, message)

        noise = random.Random(1).randbytes(32 * 1024).hex()
        await stage.controller.tell("n1", 1, name="large", uid="u3", text=noise)
        if Capability.CHUNKS in able:
            assert isinstance(await edge.hear(), frames.Begin)
        elif Capability.DEFLATE in able:
            assert isinstance(await edge.hear(), frames.Deflated)
        else:
            assert noise.encode() in bytes((await edge.receive()).content)


# --- what our own edges can do, over a real connection --------------------------------------------


async def test_our_own_edge_is_served_in_beats_batches_and_chunks(stage: Stage) -> None:
    async with stage.edge("n1", able=ALL) as edge:
        await edge.say(frames.Beat(1, progresses=True, digest=5))
        assert isinstance(answer := await edge.hear(), frames.BeatAnswer)
        assert (answer.number, answer.wants_digest) == (1, False)
        beat = said(await stage.controller.next_of(Operation.KEEPALIVE))
        assert beat["connection"] == stage.session("n1").connection_id
        assert (beat["digest"], beat["is_quiet"]) == (f"{5:016x}", True)

        told = await stage.controller.tell("n1", 1, text=NOISE)
        begin = await edge.hear()
        assert isinstance(begin, frames.Begin)
        content = b""
        await edge.say(frames.Credit(begin.transfer, 0))
        await stage.controller.tell("n1", 1, name="small", uid="u2")
        small: list[Message] = []
        while len(content) < begin.size:
            payload = await edge.socket.recv()
            if isinstance(payload, str):
                small.append(wire.decode(payload))
                continue
            chunk = frames.decode(payload)
            assert isinstance(chunk, frames.Chunk)
            assert chunk.offset == len(content)
            content += chunk.data
            await edge.say(frames.Credit(begin.transfer, len(content)))
        assert [m.resource for m in small] == ["shop/configmap/small"], "it passes between chunks"
        assert frames.inflate(content, max_bytes=MIB) == bytes(told.content)

        acked = raw({"acked": [wire.decode(begin.envelope).msg_id, small[0].msg_id]})
        await edge.send(Operation.RESPONSE, "", acked, group="resource")
        await until(lambda: stage.counted("messages_acknowledged_total") == 2)


async def test_what_only_the_cloud_says_closes_the_connection(stage: Stage) -> None:
    async with stage.edge("n2", able=ALL) as other, stage.edge("n1", able=ALL) as edge:
        await edge.say(frames.BeatAnswer(1, 0))
        assert (await edge.closed())[0] == 1007
        await other.say(frames.Beat(1, progresses=True))
        assert isinstance(await other.hear(), frames.BeatAnswer)


# --- on a connection that is none, with a clock that is moved by hand -----------------------------


def test_one_message_acknowledges_many(bare: Bare) -> None:
    told = [bare.offer(f"c{number}") for number in range(9)]
    assert [m.msg_id for m in bare.hear_messages()] == [m.msg_id for m in told]
    bare.acknowledge([*told[:5], "never-sent", told[0], ""])
    assert bare.counted("messages_acknowledged") == 5
    assert bare.session.backlog == 4
    bare.acknowledge([])
    bare.acknowledge(told[5:])
    assert bare.session.backlog == 0
    bare.assert_nothing_is_lost()


def test_an_edge_that_can_acknowledge_many_may_acknowledge_one(bare: Bare) -> None:
    told = bare.offer()
    bare.hear()
    bare.say(reply(told))
    assert bare.session.backlog == 0


def test_an_edge_that_cannot_acknowledges_one_at_a_time() -> None:
    bare = kubeedge()
    told = [bare.offer(f"c{number}") for number in range(2)]
    bare.hear()
    bare.acknowledge(told)
    assert bare.session.backlog == 2
    bare.say(reply(told[1]))
    assert bare.session.backlog == 1


def test_acknowledgements_that_are_none_close_the_connection(bare: Bare) -> None:
    bare.say(new("metamanager", "resource", Operation.RESPONSE, "", raw({"acked": [1]})))
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 1007


def test_an_acknowledgement_makes_room_for_what_waits(bare: Bare) -> None:
    told = [bare.offer(f"c{number}", text="x" * 700) for number in range(300)]
    received: list[Message] = []
    while heard := bare.hear_messages():
        received += heard
        bare.acknowledge(heard)
    assert [m.msg_id for m in received] == [m.msg_id for m in told]
    bare.assert_nothing_is_lost()


# --- binary frames --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        BeatAnswer(1, 0),
        Begin(1, Encoding.RAW, 1, 1, b"h" * 16, b"{}"),
        Chunk(1, 0, b"x"),
        Deflated(b"x"),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_an_edge_may_not_say_what_only_the_cloud_says(bare: Bare, frame: frames.Frame) -> None:
    bare.say(frame)
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 1007
    assert bare.refused("malformed") == 1


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x02", b"\x02\x01", b"\x06abc", b"\x40abcd"])
def test_what_is_no_frame_closes_the_connection(bare: Bare, payload: bytes) -> None:
    bare.session.received(payload, is_text=False)
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 1007


def test_binary_frames_are_nothing_to_an_edge_that_has_agreed_on_none() -> None:
    bare = kubeedge()
    bare.say(Beat(1, progresses=True))
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 1003
    assert bare.hear() == []


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=8))
def test_whatever_bytes_come_the_session_bears_them(said: list[tuple[bytes, bool]]) -> None:
    bare = Bare()
    bare.offer("large", text=NOISE)
    bare.hear()
    for payload, is_text in said:
        if bare.wire.closed is None:
            bare.session.received(payload, is_text=is_text)
    bare.hear()
    bare.session.lost(None)
    bare.assert_nothing_is_lost()


# --- its end --------------------------------------------------------------------------------------


def test_what_is_left_for_another_turn_is_written_before_the_connection_ends(bare: Bare) -> None:
    for _ in range(3):
        bare.answer(bare.ask(), "x" * TURN_BYTES)
    bare.session.drain()
    bare.session.flush()
    assert bare.wire.closed is None
    assert len(bare.hear_messages()) == 3
    assert bare.wire.closed is not None


def test_the_first_reason_to_close_counts(bare: Bare) -> None:
    bare.session.end(closing.NODE_DELETED)
    bare.session.end(closing.STALLED)
    assert bare.wire.closed == (closing.NODE_DELETED.code, closing.NODE_DELETED.text)
    assert bare.refused("stalled") == 0


def test_nothing_is_written_or_taken_in_while_the_connection_closes(bare: Bare) -> None:
    bare.told()
    request = bare.ask()
    bare.session.end(closing.NODE_DELETED)
    bare.offer()
    bare.answer(request)
    bare.ask()
    bare.say(Beat(1, progresses=True))
    bare.session.received(b"nonsense", is_text=True)
    bare.session.ask(Parcel(request))
    bare.session.writable()
    bare.session.drain()
    assert bare.hear() == []
    assert [m.msg_id for m in bare.told()] == [request.msg_id]


def test_an_edge_that_does_not_answer_the_close_frame_is_cut(bare: Bare) -> None:
    bare.session.end(closing.NODE_DELETED)
    bare.wait(CLOSE_TIMEOUT_S - 1)
    assert not bare.wire.is_aborted
    bare.wait(2.0)
    assert bare.wire.is_aborted


def test_a_stop_takes_in_no_more_and_writes_what_is_there(bare: Bare) -> None:
    bare.told()
    bare.wire.is_writable = False
    told = bare.offer()
    bare.session.drain()
    bare.ask()
    assert (bare.hear(), bare.wire.closed) == ([], None)
    bare.wire.is_writable = True
    bare.session.writable()
    assert [m.msg_id for m in bare.hear_messages()] == [told.msg_id]
    assert bare.wire.closed == (1001, closing.GOING_AWAY.text)
    assert bare.told() == []


def test_a_stop_does_not_wait_for_a_content_in_chunks(bare: Bare) -> None:
    bare.offer("large", 1, NOISE)
    bare.say(Credit(bare.begun().transfer, 0))
    bare.session.drain()
    bare.hear()
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 1001


@pytest.mark.parametrize("close", [closing.REPLACED, closing.NODE_LIMIT])
def test_the_controller_hears_nothing_of_ends_that_do_not_concern_it(
    bare: Bare, close: Close
) -> None:
    bare.told()
    bare.session.end(close)
    bare.session.lost(None)
    assert bare.told() == []
    assert (bare.ended, bare.refused(close.counted_as)) == (1, 1)


def test_what_the_library_has_refused_is_counted_once(bare: Bare) -> None:
    bare.session.lost(closing.too_large("33 MiB"))
    assert bare.refused("too_large") == 1
    other = Bare()
    other.session.end(closing.NODE_DELETED)
    other.session.lost(closing.malformed("its answer"))
    assert other.refused("malformed") == 0


def test_what_was_not_delivered_when_it_ends_is_counted(bare: Bare) -> None:
    request, large = bare.ask(), bare.ask()
    for number in range(5):
        bare.offer(f"c{number}")
    bare.hear()
    bare.answer(large, NOISE)
    begin = bare.begun()
    bare.say(Credit(begin.transfer, 0))
    bare.wire.is_writable = False
    bare.offer("c0", 2)
    bare.answer(request)
    bare.session.lost(None)
    assert bare.dropped("disconnected") == 6
    assert bare.dropped("unsent_answer") == 2
    bare.assert_nothing_is_lost()


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
TEXTS = st.sampled_from(["", "x" * 2000, NOISE[:20_000], NOISE[:25_000]])


class SessionMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing that was offered is lost unseen (P8)."""

    def __init__(self) -> None:
        super().__init__()
        self.bare = Bare()
        self.received: list[str] = []
        self.begin: Begin | None = None

    def hear(self) -> None:
        for heard in self.bare.hear():
            if isinstance(heard, Begin):
                self.begin, self.bare.has = heard, b""
                self.bare.say(Credit(heard.transfer, 0))
            elif isinstance(heard, Chunk):
                assert self.begin is not None
                assert heard.transfer == self.begin.transfer
                self.bare.has += heard.data
                self.bare.say(Credit(heard.transfer, len(self.bare.has)))
                if len(self.bare.has) == self.begin.size:
                    self.received.append(wire.decode(self.begin.envelope).msg_id)
            elif isinstance(heard, Message | Deflated):
                self.received.append(as_message(heard).msg_id)

    @rule(name=NAMES, version=st.integers(1, 9), text=TEXTS)
    def offer(self, name: str, version: int, text: str) -> None:
        self.bare.offer(name, version, text)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.bare.offer(name, gone=True)

    @rule(text=TEXTS)
    def ask(self, text: str) -> None:
        if not self.bare.wire.is_paused:
            self.bare.answer(self.bare.ask(), text)

    @rule()
    def listen(self) -> None:
        self.hear()

    @rule(number=st.integers(0, 2**32 - 1))
    def beat(self, number: int) -> None:
        self.bare.say(Beat(number, progresses=True))

    @rule(count=st.integers(0, 5))
    def acknowledge(self, count: int) -> None:
        acked, self.received = self.received[:count], self.received[count:]
        self.bare.acknowledge(acked)

    @rule()
    def acknowledgements_get_lost(self) -> None:
        self.received.clear()

    @rule(is_writable=st.booleans())
    def link(self, *, is_writable: bool) -> None:
        self.bare.wire.is_writable = is_writable
        if is_writable:
            self.bare.session.writable()

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.bare.wire.last_received_s = self.bare.now_s + seconds
        self.bare.wait(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        self.bare.assert_nothing_is_lost()
        assert self.bare.session._outbox.pace.in_flight >= 0
        assert self.bare.wire.closed is None

    def teardown(self) -> None:
        """Over a link that works all of it comes, or the connection ends and that is counted."""
        bare = self.bare
        bare.wire.is_writable = True
        for _ in range(60):
            self.wait(30)
            while bare.flusher.wanted:
                self.hear()
            bare.acknowledge(self.received)
            self.received.clear()
        assert bare.session.backlog == 0
        assert bare.session._outbox.pace.in_flight == 0
        bare.offer("last")
        bare.session.lost(None)
        assert bare.dropped("disconnected") == 1
        bare.assert_nothing_is_lost()


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
