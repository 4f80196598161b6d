"""A connection at work. Real: TLS, WebSocket, sockets on loopback; the edge and the controller are
test doubles.

Whatever one node sends, the other one, which is connected as well, notices nothing.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import combinations
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from cloudcore.cloudhub.credit import MAX_OUTSTANDING
from cloudcore.cloudhub.handshake import Terms
from cloudcore.cloudhub.session import STALLED_AFTER_S, WINDOWS
from common import capabilities, frames, wire
from common.beehive.message import NULL, OK, Message, new, raw
from common.capabilities import ALL, Capabilities, Capability, render
from common.names import Operation, PeerProtocol
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
        for _ in range(40):
            await edge.send(Operation.QUERY, OWN)
            request = await stage.controller.next_of(Operation.QUERY)
            await stage.controller.answer(request, raw("x" * MIB))
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
            await until(lambda: not session._credit.has_room())
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
        await until(lambda: not session._is_reading)
        # It cannot be heard meanwhile, which is no fault of its own.
        session.tend(asyncio.get_running_loop().time() + 10)
        assert session._close is None
        stage.controller.is_paused = False
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)


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
        window = WINDOWS[PeerProtocol.KUBEEDGE]
        first = [await edge.receive() for _ in range(window + 1)]
        assert request.msg_id in {message.parent_id for message in first}


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
