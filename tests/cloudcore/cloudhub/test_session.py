"""A connection at work. Real: TLS, WebSocket, sockets on loopback; the edge and the controller are
test doubles. Where a session is ``bare``, its connection and its clock are doubles as well.

Whatever one node sends, the other one, which is connected as well, notices nothing.
"""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.handshake import Terms
from cloudcore.cloudhub.liveness import STALLED_AFTER_S
from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.reading import BYTES_AS_A_MESSAGE, MAX_MESSAGES_PER_S
from cloudcore.cloudhub.session import CLOSE_TIMEOUT_S
from cloudcore.cloudhub.writer import RESEND_AFTER_S, TURN_BYTES, WINDOWS
from common import capabilities, frames, wire
from common.beehive.message import NULL, OK, Message, new, raw, reply
from common.capabilities import ALL, Capabilities, Capability, render
from common.frames import Beat, BeatAnswer, Begin, Chunk, Credit, Deflated, Encoding
from common.names import UID, Operation, PeerProtocol
from tests.cloudcore.cloudhub.bare import Bare, as_message, kubeedge
from tests.cloudcore.cloudhub.stage import PATIENCE_S, Edge, Stage, staged, until

pytestmark = pytest.mark.both_loops

MIB = 1024 * 1024
OWN = "kube-node-lease/lease/n1"
ENVELOPE = b'{"header":{"msg_id":"i"},"route":{"operation":"query","resource":"r"},"content":%s}'


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


async def test_text_that_is_not_utf8_closes_the_connection(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        await edge.socket.send(b'{"\xff"}', text=True)
        assert (await edge.closed())[0] == 1007
        await until(lambda: stage.refused("malformed") == 1)
        assert await other.is_served()


async def test_a_message_has_a_largest_size_and_one_byte_more_closes_the_connection(
    tmp_path: Path,
) -> None:
    limit = 256 * 1024
    async with staged(tmp_path, max_message_bytes=limit) as stage, stage.edge("n2") as other:
        async with stage.edge("n1") as edge:
            filler = limit - len(ENVELOPE % b'""')
            largest = ENVELOPE % (b'"' + b"x" * filler + b'"')
            assert len(largest) == limit
            await edge.socket.send(largest, text=True)
            status = wire.status_of((await edge.receive()).content)
            assert status is not None, "it was read, and refused for what it says"
            await edge.socket.send(largest + b" ", text=True)
            assert (await edge.closed())[0] == 1009
        await until(lambda: stage.refused("too_large") == 1)
        assert await other.is_served()


async def test_a_message_of_33_mib_is_refused_before_it_is_read(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:

        async def send() -> None:
            with suppress(ConnectionClosed):  # it is cut while it still sends
                await edge.socket.send(b"x" * (33 * MIB), text=True)

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            assert (await edge.closed())[0] == 1009
        await until(lambda: stage.refused("too_large") == 1)
        assert stage.counted("received_bytes_total") < MIB
        assert await other.is_served()


async def test_a_newer_connection_of_a_node_takes_over(stage: Stage) -> None:
    async with stage.edge("n1") as older, stage.edge("n1") as newer:
        assert (await older.closed())[0] == 4409
        assert await newer.is_served()
        assert stage.refused("replaced") == 1
        # The node never was away, and is not told to be.
        assert [m for m in stage.controller.seen if m.operation is Operation.DISCONNECTED] == []
        assert stage.counted("connected_nodes") == 1


async def test_a_silent_node_is_given_up_and_one_that_says_anything_is_not(
    tmp_path: Path,
) -> None:
    async with (
        staged(tmp_path, keepalive_s=1.0) as stage,
        stage.edge("n1") as silent,
        stage.edge("n2") as alive,
    ):

        async def keep_alive() -> None:
            ping = raw("ping")
            while True:
                await alive.send(
                    Operation.KEEPALIVE, "node", ping, source="websocket", group="resource"
                )
                await asyncio.sleep(0.2)

        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(keep_alive())
            assert (await silent.closed())[0] == 4408
            keeping.cancel()
        assert stage.refused("silent") == 1
        assert await alive.is_served()


async def test_an_edge_that_takes_nothing_is_given_up(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        session = stage.session("n1")
        transport = edge.socket.transport
        transport.pause_reading()
        # The kernel would hold 32 MiB for it, where it is left to itself.
        plain: socket.socket = transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        # The transport below TLS takes one write whatever its size, and shows the next one only.
        for _ in range(2):
            await edge.send(Operation.QUERY, OWN)
        for _ in range(2):
            request = await stage.controller.next_of(Operation.QUERY)
            await stage.controller.answer(request, raw("x" * 8 * MIB))
        connection = session._wire
        await until(lambda: connection.unsent_bytes() > 0)
        now_s = asyncio.get_running_loop().time()

        def is_given_up() -> bool:
            """Look again a good while later, in which the edge has not been silent."""
            nonlocal now_s
            now_s += STALLED_AFTER_S + 1
            connection.last_received_s = now_s
            session.tend(now_s)
            return stage.refused("stalled") == 1

        await until(is_given_up)
        await stage.controller.next_of(Operation.DISCONNECTED)
        transport.resume_reading()
        assert (await edge.closed())[0] == 1006


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


# --- back-pressure --------------------------------------------------------------------------------


async def test_a_node_has_so_many_requests_under_way_and_not_one_more(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        for _ in range(MAX_OUTSTANDING + 1):
            await edge.send(Operation.QUERY, OWN)
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)
        assert await other.is_served()
        assert len(stage.controller.requests()) == MAX_OUTSTANDING
        first = await stage.controller.next_of(Operation.QUERY)
        await stage.controller.answer(first, NULL)
        assert (await edge.receive()).parent_id == first.msg_id
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)
        edge.socket.transport.abort()  # it is not read: a close frame would not be answered


async def test_whoever_takes_no_answers_gets_no_more_of_them(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        edge.socket.transport.pause_reading()
        large = raw("x" * MIB)
        asked = 0

        async def ask() -> None:
            nonlocal asked
            while True:
                await edge.send(Operation.QUERY, OWN)
                asked += 1

        async def answer() -> None:
            while True:
                request = await stage.controller.next_of(Operation.QUERY)
                await stage.controller.answer(request, large)

        session = stage.session("n1")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()), group.create_task(answer())]
            await until(lambda: not session._outstanding.has_room())
            assert len(session._outbox) <= MAX_OUTSTANDING
            assert await other.is_served()
            for task in tasks:
                task.cancel()
        edge.socket.transport.abort()  # a close frame would wait behind what it has asked


async def test_a_request_that_is_repeated_while_under_way_is_dropped(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        message = await edge.send(Operation.QUERY, OWN)
        await edge.socket.send(wire.encode(message), text=True)
        assert await edge.is_served()
        assert stage.dropped("duplicate") == 1
        assert len(stage.controller.requests()) == 1


async def test_a_controller_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    async with staged(tmp_path, capacity=1, keepalive_s=1.0) as stage, stage.edge("n1") as edge:
        stage.controller.is_paused = True
        for _ in range(MAX_OUTSTANDING):
            await edge.send(Operation.QUERY, OWN)
        session = stage.session("n1")
        await until(lambda: not session._reading.is_on)
        # It cannot be heard meanwhile, which is no fault of its own.
        session.tend(asyncio.get_running_loop().time() + 10)
        assert session._close is None
        stage.controller.is_paused = False
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)
        edge.socket.transport.abort()  # it is not read: a close frame would not be answered


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


async def test_an_answer_to_an_older_connection_is_dropped(stage: Stage) -> None:
    async with stage.edge("n1") as older:
        await older.send(Operation.QUERY, OWN)
        request = await stage.controller.next_of(Operation.QUERY)
    await stage.controller.next_of(Operation.DISCONNECTED)
    async with stage.edge("n1") as newer:
        await stage.controller.answer(request, NULL)
        await until(lambda: stage.dropped("late_reply") == 1)
        assert await newer.is_served()


def text_of(message: Message) -> bytes:
    return wire.encode(message)


async def test_fragments_as_go_sends_them_are_one_message(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        whole = text_of(new("edged", "meta", Operation.QUERY, OWN, raw("x" * 10_000))).decode()
        await edge.socket.send([whole[i : i + 4096] for i in range(0, len(whole), 4096)])
        async with asyncio.timeout(PATIENCE_S):
            request = await stage.controller.next_of(Operation.QUERY)
        assert len(bytes(request.content)) == 10_002


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


NOISE = random.Random(7).randbytes(32 * 1024).hex()
"""Goes in chunks: hex digits are half as long when compressed."""


def said(message: Message) -> dict[str, object]:
    return wire.loads_as(message.content, dict[str, object])


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


async def test_an_edge_that_floods_is_paused_and_its_neighbour_is_served(stage: Stage) -> None:
    async with stage.edge("n2", able=ALL) as other, stage.edge("n1", able=ALL) as edge:
        session = stage.session("n1")
        beat = frames.encode(frames.Beat(1, progresses=True))
        flood = (Frame(Opcode.BINARY, beat).serialize(mask=True) for _ in range(2500))
        edge.socket.transport.write(b"".join(flood))  # more than a second's share, at once
        await until(lambda: not session._reading.is_on)
        for number in range(20):
            await other.say(frames.Beat(number, progresses=True))
            assert isinstance(await other.hear(), frames.BeatAnswer)
        await until(lambda: session._reading.is_on)


async def test_what_only_the_cloud_says_closes_the_connection(stage: Stage) -> None:
    async with stage.edge("n2", able=ALL) as other, stage.edge("n1", able=ALL) as edge:
        await edge.say(frames.BeatAnswer(1, 0))
        assert (await edge.closed())[0] == 1007
        await other.say(frames.Beat(1, progresses=True))
        assert isinstance(await other.hear(), frames.BeatAnswer)


# --- on a connection that is none, with a clock that is moved by hand -----------------------------


@pytest.fixture
def bare() -> Bare:
    return Bare()


# --- acknowledgements -----------------------------------------------------------------------------


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


# --- beats ----------------------------------------------------------------------------------------


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


def test_the_controller_hears_of_the_connection_first_and_of_the_newest_beat_before_requests(
    bare: Bare,
) -> None:
    request = bare.ask()
    for number in range(5):
        bare.say(Beat(number, progresses=number < 4))
    told = bare.told()
    operations = [Operation.CONNECTED, Operation.KEEPALIVE, Operation.QUERY]
    assert [message.operation for message in told] == operations
    assert said(told[1])["progresses"] is False
    assert told[2].msg_id == request.msg_id


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


def test_the_answer_to_a_beat_passes_what_waits_for_the_link(bare: Bare) -> None:
    bare.wire.takes = 1
    for number in range(9):
        bare.offer(f"c{number}")
    bare.hear()
    bare.say(Beat(1, progresses=True))
    bare.wire.takes, bare.wire.is_writable = 1, True
    bare.session.writable()
    assert isinstance(bare.hear()[0], BeatAnswer)


def test_the_silence_of_an_edge_with_beats_is_seen_before_two_are_missing(bare: Bare) -> None:
    beat_s = 10.0
    bare.wire.last_received_s = 0.0
    while bare.wire.closed is None:
        bare.wait(1.0)
    assert bare.wire.closed[0] == 4408
    assert beat_s < bare.now_s < 2 * beat_s
    assert bare.refused("silent") == 1
    bare.wait(1.0)
    assert bare.wire.is_aborted, "nobody answers the close frame"


def test_a_byte_now_and_then_is_life_enough(bare: Bare) -> None:
    for _ in range(20):
        bare.wait(17.0)
        bare.wire.last_received_s = bare.now_s
    assert bare.wire.closed is None


def test_an_edge_without_beats_has_its_own_time() -> None:
    bare = kubeedge()
    bare.wait(29.0)
    assert bare.wire.closed is None
    bare.wait(2.0)
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 4408


def test_an_edge_that_is_not_read_is_not_silent_and_hears_that_the_cloud_lives(
    bare: Bare,
) -> None:
    bare.say(Beat(3, progresses=True))
    requests = [bare.ask() for _ in range(MAX_OUTSTANDING)]
    bare.hear()
    assert bare.wire.is_paused
    for _ in range(90):
        bare.wait(1.0)
        assert [type(heard) for heard in bare.hear()] == [BeatAnswer]
    assert bare.wire.closed is None
    assert bare.answer(requests[0])
    bare.hear()
    assert not bare.wire.is_paused
    bare.wait(1.0)
    assert bare.hear() == []


def test_an_edge_without_beats_hears_no_beats() -> None:
    bare = kubeedge()
    for _ in range(MAX_OUTSTANDING):
        bare.ask()
    bare.wait(20.0)
    bare.wait(20.0)
    assert (bare.hear(), bare.wire.closed) == ([], None)


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


# --- compressed -----------------------------------------------------------------------------------


def test_what_is_long_is_compressed_and_what_is_short_is_not(bare: Bare) -> None:
    short, long = bare.offer("short"), bare.offer("long", text="x" * 5000)
    request = bare.ask()
    bare.answer(request, "y" * 5000)
    kinds = [type(heard) for heard in bare.hear()]
    assert kinds == [Deflated, Message, Deflated]
    bare.acknowledge([short, long])
    assert bare.session.backlog == 0


def test_what_is_written_for_many_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = []
    really = frames.deflate

    def deflate(data: bytes) -> bytes:
        compressed.append(data)
        return really(data)

    monkeypatch.setattr(frames, "deflate", deflate)
    content = raw({"data": "x" * 5000})
    parcel = Parcel(new("edgecontroller", "resource", Operation.UPDATE, "a/b/c", content))
    for _ in range(20):
        bare = Bare()
        bare.session.offer(UID("u1"), parcel)
        assert [type(heard) for heard in bare.hear()] == [Deflated]
    assert len(compressed) == 1


# --- in chunks ------------------------------------------------------------------------------------


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


# --- flow -----------------------------------------------------------------------------------------


def test_a_node_that_floods_is_read_again_in_the_next_second(bare: Bare) -> None:
    ping = new("websocket", "resource", Operation.KEEPALIVE, "node", raw("ping"))
    for _ in range(MAX_MESSAGES_PER_S):
        assert not bare.wire.is_paused
        bare.say(ping)
    assert bare.wire.is_paused
    bare.wait(1.0)
    assert not bare.wire.is_paused
    bare.say(ping)
    assert not bare.wire.is_paused


def test_a_node_that_pings_all_the_time_floods_as_well(bare: Bare) -> None:
    for _ in range(MAX_MESSAGES_PER_S):
        assert not bare.wire.is_paused
        bare.session.disturbed()
    assert bare.wire.is_paused
    bare.wait(1.0)
    assert not bare.wire.is_paused


def test_a_node_that_asks_for_large_objects_floods_sooner(bare: Bare) -> None:
    content = "x" * 64 * BYTES_AS_A_MESSAGE
    answers = 0
    while not bare.wire.is_paused:
        bare.answer(bare.ask(), content)
        bare.hear()
        answers += 1
    assert answers == MAX_MESSAGES_PER_S // 65 + 1
    bare.wait(1.0)
    assert not bare.wire.is_paused


def test_others_have_their_turn_before_much_is_encoded_for_one_node(bare: Bare) -> None:
    for _ in range(8):
        bare.answer(bare.ask(), "x" * TURN_BYTES)
    bare.session.flush()
    assert len(bare.wire.written) == 1
    assert len(bare.hear_messages()) == 8


def test_what_is_left_for_another_turn_is_written_before_the_connection_ends(bare: Bare) -> None:
    for _ in range(3):
        bare.answer(bare.ask(), "x" * TURN_BYTES)
    bare.session.drain()
    bare.session.flush()
    assert bare.wire.closed is None
    assert len(bare.hear_messages()) == 3
    assert bare.wire.closed is not None


def test_whatever_has_come_already_is_taken_in_as_room_is_made_in_order_and_not_beyond(
    bare: Bare,
) -> None:
    requests = [bare.ask() for _ in range(MAX_OUTSTANDING)]
    assert bare.wire.is_paused
    more = [new("edged", "meta", Operation.QUERY, OWN) for _ in range(100)]
    bare.wire.backlog = [wire.encode(message) for message in more]
    for request in requests:
        bare.told()
        assert bare.answer(request)
        bare.hear()  # resumes, takes in, pauses: all as the answer is written
        assert len(bare.session._outstanding._requests) <= MAX_OUTSTANDING
    assert [wire.decode(text).msg_id for text in bare.wire.backlog] == [
        message.msg_id for message in more[MAX_OUTSTANDING:]
    ]
    assert bare.wire.is_paused
    bare.wait(1.0)
    assert bare.wire.is_paused, "time makes no room"


def test_an_answer_takes_room_until_it_is_written(bare: Bare) -> None:
    bare.wire.is_writable = False
    requests = [bare.ask() for _ in range(MAX_OUTSTANDING)]
    for request in requests:
        bare.answer(request)
    assert bare.wire.is_paused
    bare.wire.is_writable = True
    bare.session.writable()
    assert len(bare.hear()) == MAX_OUTSTANDING
    assert not bare.wire.is_paused, "at once, not in the next second"


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


# --- its end --------------------------------------------------------------------------------------


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


def test_an_edge_that_was_not_read_is_read_when_it_is_closed(bare: Bare) -> None:
    for _ in range(MAX_OUTSTANDING):
        bare.ask()
    bare.wire.backlog = [b"what was under way"]
    bare.told()
    assert bare.wire.is_paused
    bare.session.end(closing.NODE_DELETED)
    assert not bare.wire.is_paused, "its answer to the close frame has to be seen"
    assert (bare.wire.backlog, bare.told()) == ([], [])


def test_an_edge_that_does_not_answer_the_close_frame_is_cut(bare: Bare) -> None:
    bare.session.end(closing.NODE_DELETED)
    bare.wait(CLOSE_TIMEOUT_S - 1)
    assert not bare.wire.is_aborted
    bare.wait(2.0)
    assert bare.wire.is_aborted


@pytest.mark.parametrize("grows", [0, 127])
def test_an_edge_that_takes_nothing_is_cut_though_what_waits_for_it_grows(
    bare: Bare, grows: int
) -> None:
    bare.offer(text="x" * 500)
    bare.hear()
    bare.wire.unsent = 50_000
    while bare.wire.closed is None:
        bare.wire.last_received_s = bare.now_s
        bare.wire.unsent += grows  # answers to its pings, say
        bare.wait(1.0)
    assert bare.wire.closed[0] == 4413
    assert bare.wire.is_aborted, "the close frame stands behind all the rest"
    assert STALLED_AFTER_S < bare.now_s < STALLED_AFTER_S + 5


def test_an_edge_that_takes_a_little_all_the_time_is_not_stuck() -> None:
    bare = kubeedge()
    bare.offer(text=NOISE)
    bare.hear()
    bare.wire.unsent = 30_000
    for number in range(300):
        bare.wire.last_received_s = bare.now_s
        if number % 2:
            bare.wire.unsent -= 64
        bare.wait(1.0)
    assert bare.wire.closed is None


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


def test_the_end_names_the_connection_and_comes_after_what_was_said_before(bare: Bare) -> None:
    request = bare.ask()
    bare.say(Beat(1, progresses=True))
    bare.session.lost(None)
    hello, beat, asked, end = bare.told()
    assert (hello.operation, end.operation) == (Operation.CONNECTED, Operation.DISCONNECTED)
    assert asked.msg_id == request.msg_id
    assert said(end) == {"connection": hello.msg_id}
    assert said(beat)["connection"] == hello.msg_id == bare.session.connection_id
    assert Bare().session.connection_id != bare.session.connection_id
    assert bare.ended == 1


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
