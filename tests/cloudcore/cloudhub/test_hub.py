"""The hub between the bus and the nodes. Real: TLS, WebSocket, sockets on loopback; the edges and
the controller are test doubles, in one test the connections as well.
"""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.acceptor import AcceptLimits, bind
from cloudcore.cloudhub.hub import CloudHub, Gate
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.metrics import CloudMetrics
from common import frames, issuing, pki, wire
from common.beehive.context import MessageContext
from common.beehive.message import NULL, Message, new, raw
from common.beehive.module import run_modules
from common.capabilities import ALL
from common.errors import MailboxClosedError
from common.names import GroupName, ModuleName, NodeID, Operation, PeerProtocol
from tests.cloudcore.cloudhub.bare import OWN, BareWire
from tests.cloudcore.cloudhub.stage import (
    HOST,
    PATIENCE_S,
    Certificates,
    Edge,
    Stage,
    staged,
    until,
)

pytestmark = pytest.mark.both_loops


def to_node(
    resource: str, content: msgspec.Raw, operation: Operation = Operation.UPDATE
) -> Message:
    return new("edgecontroller", "resource", operation, resource, content, resource_version="1")


async def test_each_node_gets_what_its_name_is_on_and_nothing_else(stage: Stage) -> None:
    async with stage.edge("n1") as first, stage.edge("n2") as second:
        content = raw({"metadata": {"uid": "u1"}, "data": {}})
        for node in ("n1", "n2", "n3"):
            await stage.controller.send(to_node(f"node/{node}/shop/configmap/web", content))
        for edge in (first, second):
            received = await edge.receive()
            assert received.resource == "shop/configmap/web"
            assert bytes(received.content) == bytes(content)
        assert stage.dropped("not_connected") == 1
        assert await first.is_served()
        assert await second.is_served()


async def test_objects_without_a_uid_are_told_apart_by_their_address(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        skeleton = raw({"metadata": {"name": "x"}})
        for number in range(3):
            await stage.controller.send(
                to_node(f"node/n1/shop/pod/p{number}", skeleton, Operation.DELETE)
            )
        await stage.controller.send(to_node("node/n1/shop/pod/p3", raw(None), Operation.DELETE))
        received = [(await edge.receive()).resource for _ in range(4)]
        assert received == [f"shop/pod/p{number}" for number in range(4)]


async def test_a_message_for_no_node_is_dropped_and_counted(stage: Stage) -> None:
    await stage.controller.send(to_node("shop/configmap/web", raw({})))
    await until(lambda: stage.dropped("no_node") == 1)


async def test_a_node_that_does_not_read_delays_no_other(stage: Stage) -> None:
    async with stage.edge("n1") as stuck, stage.edge("n2") as lively:
        stuck.socket.transport.pause_reading()
        large = "x" * 1024 * 1024
        for number in range(30):
            await stage.controller.tell("n1", 1, uid=f"u{number}", text=large)
        last = await stage.controller.tell("n2", 1)
        assert (await lively.receive()).msg_id == last.msg_id
        assert await lively.is_served()
        stuck.socket.transport.abort()


async def test_handshakes_of_silent_strangers_do_not_delay_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = partial(AcceptLimits, handshake_timeout_s=1000.0)
    monkeypatch.setattr("cloudcore.cloudhub.hub.AcceptLimits", limits)
    async with asyncio.timeout(PATIENCE_S):  # less than a handshake may take
        async with staged(tmp_path) as stage:
            _, writer = await asyncio.open_connection(HOST, stage.port)
            async with stage.edge("n1") as edge:
                assert await edge.is_served()
        writer.close()


async def test_who_has_a_certificate_by_an_authority_that_is_given_up_is_cut_off(
    stage: Stage,
) -> None:
    trusted = [pki.fingerprint(stage.certificates.authority.der)]
    async with stage.edge("n1") as edge:
        stage.hub.end_untrusted(trusted)
        assert await edge.is_served()
        stage.hub.end_untrusted([pki.fingerprint(issuing.next_authority(datetime.now(UTC)).der)])
        assert await edge.closed() == (1006, "")
        await until(lambda: stage.registry.get(NodeID("n1")) is None)


async def test_a_node_that_is_revoked_loses_its_connection_at_once_and_others_do_not(
    stage: Stage,
) -> None:
    async with stage.edge("n1") as first, stage.edge("n2") as second:
        stage.hub.end_revoked(NodeID("n1"))
        assert await first.is_served()
        stage.revoked["n1"] = True
        for node in ("n1", "n2", "n3"):
            stage.hub.end_revoked(NodeID(node))
        # What it said just before it heard of it counts no more.
        request = await first.send(Operation.QUERY, "shop/secret/any")
        code, text = await first.closed()
        assert (code, "token" in text) == (4401, True)
        assert (await stage.controller.next_of(Operation.DISCONNECTED)).resource == "node/n1"
        assert all(one.msg_id != request.msg_id for one in stage.controller.seen)
        assert stage.refused("revoked") == 1
        assert await second.is_served()


class BusyController:
    """It says more than fits into the hub's mailbox, and only then looks into its own."""

    name, group = ModuleName.EDGE_CONTROLLER, GroupName.EDGE_CONTROLLER

    def __init__(self, bus: MessageContext) -> None:
        self._bus = bus
        self.may_speak = asyncio.Event()

    async def run(self) -> None:
        await self.may_speak.wait()
        with suppress(MailboxClosedError):
            while True:
                await self._bus.send(ModuleName.CLOUD_HUB, to_node("node/n1/a/pod/b", raw({})))
        with suppress(MailboxClosedError):
            while True:
                await self._bus.receive(self.name)


async def test_a_hub_that_fails_takes_the_daemon_down_though_everybody_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(CloudHub, "_dispatch", fail)
    bus, shown, certificates = MessageContext(), CollectorRegistry(), Certificates(tmp_path)
    metrics, registry = CloudMetrics(shown), SessionRegistry(4, CollectorRegistry())
    sockets, ready = bind([(HOST, 0)]), asyncio.Event()
    ready.set()
    hub = CloudHub(
        bus,
        ModuleName.EDGE_CONTROLLER,
        LocationCache(),
        registry,
        Gate(lambda _: True, ready.wait),
        metrics=metrics,
        door=(sockets, certificates.server),
    )
    controller = BusyController(bus)
    port: int = sockets[0].getsockname()[1]

    async def ask() -> None:
        async with connect(
            f"wss://{HOST}:{port}/p/n1/events",
            ssl=certificates.client("n1"),
            additional_headers={"node_id": "n1", "ConnectionUse": "msg"},
            proxy=None,
        ) as socket:
            edge = Edge(socket)
            for _ in range(5):  # CONNECTED has filled the controller's mailbox of one
                await edge.send(Operation.QUERY, "null/node/n1")
            await until(lambda: bus.pending()[ModuleName.EDGE_CONTROLLER] == 1)
            controller.may_speak.set()
            await edge.closed()

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            group.create_task(
                run_modules(bus, (controller, hub), asyncio.Event(), grace_s=5, capacity=1)
            )

    with pytest.raises(ExceptionGroup) as failed:
        await run()
    assert failed.group_contains(LookupError)


async def test_the_end_of_its_node_is_told_to_our_own_edge_and_ends_kubeedges_connection(
    stage: Stage,
) -> None:
    content = raw({"metadata": {"name": "x", "uid": "u1"}})
    async with (
        stage.edge("ours", [Subprotocol(PeerProtocol.CLOUDEDGE_V1)]) as ours,
        stage.edge("theirs") as theirs,
    ):
        for node in ("ours", "theirs"):
            gone = to_node(f"node/{node}/null/node/{node}", content, Operation.DELETE)
            await stage.controller.send(gone)
        assert (await ours.receive()).operation is Operation.DELETE
        assert (await theirs.closed())[0] == closing.NODE_DELETED.code


async def test_what_is_told_to_many_nodes_is_parsed_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    really = wire.loads_as

    def loads_as(data: msgspec.Raw, kind: type) -> object:
        parsed.append(data)
        return really(data, kind)

    content = raw({"metadata": {"uid": "u1"}})
    async with stage.edge("n1") as first, stage.edge("n2") as second:
        with monkeypatch.context() as patched:
            patched.setattr("cloudcore.cloudhub.hub.wire.loads_as", loads_as)
            message = to_node("node/n1/shop/configmap/web", content)
            for node in ("n1", "n2"):
                await stage.controller.send(message.about(f"node/{node}/shop/configmap/web"))
            assert await first.receive() == await second.receive()
    assert parsed.count(content) == 1


async def test_a_large_content_that_nodes_are_told_one_by_one_is_compressed_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed = []
    really = frames.deflate_joinable

    def deflate(data: bytes) -> bytes:
        compressed.append(data)
        return really(data)

    monkeypatch.setattr(frames, "deflate_joinable", deflate)
    text = random.Random(7).randbytes(32 * 1024).hex()
    async with stage.edge("n1", able=ALL) as first, stage.edge("n2", able=ALL) as second:
        for node, edge in (("n1", first), ("n2", second)):
            await stage.controller.tell(node, 1, text=text)
            assert isinstance(await edge.hear(), frames.Begin)
    assert len(compressed) == 1


async def test_what_is_refused_is_logged_without_what_it_said(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "c2VjcmV0LXZhbHVl"
    async with stage.edge("n1") as edge:
        await edge.ask(Operation.UPDATE, "shop/secret/db", raw({"data": {"password": secret}}))
        await edge.socket.send(f'{{"header": "{secret}", "password": "{secret}"}}')
        assert (await edge.closed())[0] == 1007
    assert "message refused" in caplog.text
    assert "connection closed" in caplog.text
    records = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert not any(secret in record for record in records)


# --- what the controller wants of a connection ----------------------------------------------------


def command(operation: Operation, node: str, content: object = None) -> Message:
    return new("edgecontroller", "resource", operation, f"node/{node}", raw(content))


def connection_of(message: Message) -> str:
    return wire.loads_as(message.content, dict[str, str])["connection"]


async def test_a_connection_that_another_replica_has_taken_over_is_ended_and_no_other(
    stage: Stage,
) -> None:
    async with stage.edge("n1", able=ALL) as edge, stage.edge("n2", able=ALL) as other:
        current = stage.session("n1").connection_id
        for node, connection in (("n1", "an-older-one"), ("n2", current), ("n3", current)):
            about = {"connection": connection}
            await stage.controller.send(command(Operation.DISCONNECTED, node, about))
        await until(lambda: stage.dropped("not_connected") == 1)
        assert await edge.is_served()
        about = {"connection": current}
        await stage.controller.send(command(Operation.DISCONNECTED, "n1", about))
        assert (await edge.closed())[0] == closing.REPLACED.code
        await until(lambda: len(stage.registry) == 1)
        assert await other.is_served()
    end = await stage.controller.next_of(Operation.DISCONNECTED)
    assert end.resource == "node/n2", "of the other one the controller knows"
    assert stage.refused("replaced") == 1


@pytest.mark.parametrize("content", [None, {}, {"connection": 1}, ["x"]])
async def test_a_command_that_makes_no_sense_is_dropped_and_ends_nothing(
    stage: Stage, content: object
) -> None:
    async with stage.edge("n1", able=ALL) as edge:
        await stage.controller.send(command(Operation.DISCONNECTED, "n1", content))
        await until(lambda: stage.dropped("malformed") == 1)
        assert await edge.is_served()
        about = {"connection": stage.session("n1").connection_id}
        await stage.controller.send(command(Operation.DISCONNECTED, "n1", about))
        assert (await edge.closed())[0] == closing.REPLACED.code


async def test_a_digest_that_the_controller_wants_is_asked_for_with_the_next_answer(
    stage: Stage,
) -> None:
    async with stage.edge("n1", able=ALL) as edge:
        await stage.controller.send(command(Operation.KEEPALIVE, "n1"))
        await stage.controller.tell("n3", 1)  # follows it through the hub
        await until(lambda: stage.dropped("not_connected") == 1)
        for number in (1, 2):
            await edge.say(frames.Beat(number, progresses=True))
            answer = await edge.hear()
            assert isinstance(answer, frames.BeatAnswer)
            assert answer.wants_digest is (number == 1)


async def test_a_question_of_the_controller_passes_objects_and_needs_no_acknowledgement(
    stage: Stage,
) -> None:
    async with stage.edge("n1", able=ALL) as edge:
        for number in range(50):
            await stage.controller.tell("n1", 1, uid=f"u{number}", name=f"c{number}")
        question = command(Operation.QUERY, "n1/null/inventory/n1")
        await stage.controller.send(question)
        while (heard := await edge.receive()).operation is not Operation.QUERY:
            pass  # what was written before, and is not acknowledged
        assert (heard.msg_id, heard.resource) == (question.msg_id, "null/inventory/n1")
        assert stage.session("n1").backlog == 50
        edge.socket.transport.abort()  # a close frame would wait behind what was not read


async def test_the_end_of_a_connection_names_it_and_that_of_a_replaced_one_is_not_told(
    stage: Stage,
) -> None:
    async with stage.connect("n1", able=ALL) as older:
        first = await stage.controller.next_of(Operation.CONNECTED)
        async with stage.connect("n1", able=ALL):
            second = await stage.controller.next_of(Operation.CONNECTED)
            assert (await Edge(older).closed())[0] == closing.REPLACED.code
            assert stage.session("n1").connection_id == second.msg_id != first.msg_id
    end = await stage.controller.next_of(Operation.DISCONNECTED)
    assert connection_of(end) == second.msg_id
    assert [m for m in stage.controller.seen if m.operation is Operation.DISCONNECTED] == []


async def test_of_a_connection_that_came_in_too_late_the_controller_hears_nothing() -> None:
    bus, shown = MessageContext(), CollectorRegistry()
    bus.add_module(ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB)
    bus.add_module(ModuleName.EDGE_CONTROLLER, GroupName.EDGE_CONTROLLER)
    ready = asyncio.Event()
    hub = CloudHub(
        bus,
        ModuleName.EDGE_CONTROLLER,
        LocationCache(),
        SessionRegistry(1, shown),
        Gate(lambda _: True, ready.wait),
        metrics=CloudMetrics(shown),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(hub.run(), name="hub")
        await asyncio.sleep(0)
        last_place, late = BareWire(node=NodeID("n1")), BareWire(node=NodeID("n2"))
        sessions = [hub.serve(last_place), hub.serve(late)]
        assert (last_place.closed, late.closed) == (None, (4429, closing.NODE_LIMIT.text))
        for session in reversed(sessions):
            session.lost(None)
        async with asyncio.timeout(PATIENCE_S):
            heard = [await bus.receive(ModuleName.EDGE_CONTROLLER) for _ in range(2)]
        assert {message.resource for message in heard} == {"node/n1"}
        assert bus.pending()[ModuleName.EDGE_CONTROLLER] == 0
        bus.close(ModuleName.CLOUD_HUB)
    assert shown.get_sample_value("cloudcore_refusals_total", {"reason": "node_limit"}) == 1


async def test_whatever_becomes_of_it_each_state_that_was_offered_is_accounted_for(
    stage: Stage,
) -> None:
    noise = random.Random(7).randbytes(20_000).hex()
    async with stage.edge("n1", able=ALL) as own, stage.edge("n2") as theirs:
        for version in range(1, 6):
            for node in ("n1", "n2"):
                for number in range(10):
                    uid, text = f"u{number}", noise if number == 9 else ""
                    await stage.controller.tell(node, version, name=uid, uid=uid, text=text)
        for _ in range(6):
            await theirs.acknowledge(await theirs.receive())
        acked = [(await own.receive()).msg_id for _ in range(4)]
        content = raw({"acked": acked})
        await own.send(Operation.RESPONSE, "", content, group="resource")
        await until(lambda: stage.counted("messages_acknowledged_total") == 10)
        await until(lambda: stage.counted("messages_offered_total") == 100)
        held = sum(stage.session(node).backlog for node in ("n1", "n2"))
        assert accounted_for(stage) + held == 100
        own.socket.transport.abort()
        theirs.socket.transport.abort()
        await until(lambda: len(stage.registry) == 0)
    assert accounted_for(stage) == 100


def accounted_for(stage: Stage) -> float:
    return (
        stage.counted("messages_acknowledged_total")
        + stage.counted("messages_superseded_total")
        + stage.dropped("disconnected")
    )


async def test_a_newer_connection_of_a_node_takes_over(stage: Stage) -> None:
    async with stage.edge("n1") as older, stage.edge("n1") as newer:
        assert (await older.closed())[0] == 4409
        assert await newer.is_served()
        assert stage.refused("replaced") == 1
        # The node never was away, and is not told to be.
        assert [m for m in stage.controller.seen if m.operation is Operation.DISCONNECTED] == []
        assert stage.counted("connected_nodes") == 1


async def test_an_answer_to_an_older_connection_is_dropped(stage: Stage) -> None:
    async with stage.edge("n1") as older:
        await older.send(Operation.QUERY, OWN)
        request = await stage.controller.next_of(Operation.QUERY)
    await stage.controller.next_of(Operation.DISCONNECTED)
    async with stage.edge("n1") as newer:
        await stage.controller.answer(request, NULL)
        await until(lambda: stage.dropped("late_reply") == 1)
        assert await newer.is_served()
