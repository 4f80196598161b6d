"""The module EdgeHub: a real cloud on loopback with TLS and WebSocket; MetaManager is the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from websockets.exceptions import ConnectionClosed

from common import capabilities
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, reply
from common.capabilities import Capability
from common.clock import Clock
from common.names import GroupName, ModuleName, Operation, PeerProtocol
from common.status import Status
from common.wire import decode, loads, status_of
from edgecore.app import enroll_in_thread
from edgecore.edgehub import client
from edgecore.edgehub.client import EdgeHub
from edgecore.edgehub.enrollconfig import EnrollConfig
from edgecore.edgehub.hubconfig import PROJECT_ID, HubConfig
from edgecore.edgehub.identity import Identity
from edgecore.edgehub.link import REPLACED, Link
from edgecore.edgehub.session import Session
from edgecore.edgehub.timekeeper import Timekeeper
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import HOST, Peer, TestCloud, answer, down, until
from tests.edgecore.edgehub.links import MadeUpMemory

HUB, META = ModuleName.EDGE_HUB, ModuleName.META_MANAGER


@dataclass
class Edge:
    """What runs of an edge: its hub."""

    context: MessageContext
    registry: CollectorRegistry
    clock: Clock
    hub: EdgeHub

    def total(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def state(self) -> dict[str, Any]:
        """Return the next state of the link, passing over what else arrives."""
        while True:
            message = await self.context.receive(META)
            if message.operation is Operation.CONNECT:
                return dict(loads(message.content))

    async def ask(self, resource: str = "default/podpatch/web") -> Message:
        return await self.context.send_sync(HUB, asked(resource), timeout_s=9)


def asked(resource: str) -> Message:
    return new(ModuleName.EDGED, "meta", Operation.PATCH, resource, raw("{}"))


def status(message: Message) -> Status:
    found = status_of(message.content)
    assert found is not None
    return found


class Script:
    """What the cloud does on each connection: the parts of a list, then nothing."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.heard: list[Message] = []
        self.raw: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        self.peers.append(peer)
        with contextlib.suppress(ConnectionClosed):
            async for frame in peer.connection:
                assert isinstance(frame, str), "a Go peer expects text frames"
                self.raw.append(frame)
                message = decode(frame)
                self.heard.append(message)
                await self.hear(peer, message)

    async def hear(self, peer: Peer, message: Message) -> None:
        """Do something about what an edge says."""

    def of(self, operation: Operation) -> list[Message]:
        return [message for message in self.heard if message.operation is operation]


class Answering(Script):
    async def hear(self, peer: Peer, message: Message) -> None:
        if message.operation is Operation.PATCH:
            await peer.send(answer(message, {"Object": {}, "Err": None}))


@contextlib.asynccontextmanager
async def edge(
    cloud: TestCloud, folder: Path, *, heartbeat_s: float = 15.0, answer_s: float = 10.0
) -> AsyncIterator[Edge]:
    context, registry, clock = MessageContext(), CollectorRegistry(), Clock()
    context.add_module(HUB, GroupName.HUB)
    context.add_module(META, GroupName.META)
    identity = Identity(
        EnrollConfig("n1", HOST, cloud.https_port, str(folder / "pki")),
        lambda: cloud.token,
        Timekeeper(MadeUpMemory(), clock),
        enroll_in_thread,
    )
    config = HubConfig("n1", HOST, cloud.websocket_port, heartbeat_s=heartbeat_s, answer_s=answer_s)
    hub = EdgeHub(context, config, identity, clock, EdgeMetrics(registry))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run())
        yield Edge(context, registry, clock, hub)
        context.close(HUB)
        await running


@pytest.mark.both_loops
async def test_it_enrols_connects_as_kubeedge_does_and_says_so(
    cloud: TestCloud, tmp_path: Path
) -> None:
    script = Script()
    async with cloud.listening(script), edge(cloud, tmp_path) as one:
        said = {"state": "cloud_connected", "protocol": "kubeedge", "capabilities": []}
        assert await one.state() == said
        await until(lambda: bool(script.heard))
        keepalive = script.heard[0]
        assert keepalive.operation is Operation.KEEPALIVE
        assert (keepalive.route.source, keepalive.route.group) == ("websocket", "resource")
        assert (keepalive.resource, loads(keepalive.content)) == ("node", "ping")
        request = cloud.requests[0]
        assert request.path == f"/{PROJECT_ID}/n1/events"
        assert request.headers["project_id"] == PROJECT_ID
        assert request.headers["node_id"] == "n1"
        assert request.headers["ConnectionUse"] == "msg"
        assert one.total("edgecore_connected") == 1
        told = one.hub.tell()
        assert (told["connected"], told["failure"], told["waiting"]) == (True, None, 0)
        assert told["cloud"] == f"{HOST}:{cloud.websocket_port}"
    assert one.total("edgecore_connected") == 0


async def test_a_hub_without_a_link_tells_since_when_and_why(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with edge(cloud, tmp_path) as one:  # nobody listens there
        await until(lambda: one.hub.tell()["failure"] is not None)
        told = one.hub.tell()
        assert told["connected"] is False
        assert told["since"] is not None


async def test_what_was_agreed_on_is_told_to_metamanager(cloud: TestCloud, tmp_path: Path) -> None:
    cloud.protocol = PeerProtocol.CLOUDEDGE_V1
    async with cloud.listening(Script()):
        async with edge(cloud, tmp_path) as one:
            state = await one.state()
            assert (state["protocol"], state["capabilities"]) == ("cloudedge.v1", [])
        cloud.capabilities = frozenset({Capability.DEFLATE, Capability.ACKS})
        async with edge(cloud, tmp_path) as one:
            assert (await one.state())["capabilities"] == ["acks", "deflate"]
    assert cloud.requests[0].headers[capabilities.HEADER] == capabilities.render(capabilities.ALL)


async def test_a_request_gets_its_answer_and_is_marked_sync_only_here(
    cloud: TestCloud, tmp_path: Path
) -> None:
    script = Answering()
    async with cloud.listening(script), edge(cloud, tmp_path) as one:
        await one.state()
        answered = await one.ask()
        assert loads(answered.content) == {"Object": {}, "Err": None}
    assert '"sync"' not in "".join(script.raw)


async def test_the_clouds_clock_is_learned_from_answers(cloud: TestCloud, tmp_path: Path) -> None:
    class Ahead(Script):
        async def hear(self, peer: Peer, message: Message) -> None:
            if message.operation is Operation.PATCH:
                made = answer(message, {})
                frame = raw(made)
                value = loads(frame)
                value["header"]["timestamp"] += 86_400_000
                await peer.connection.send(bytes(raw(value)), text=True)

    script = Ahead()
    async with cloud.listening(script), edge(cloud, tmp_path) as one:
        await one.state()
        await one.ask()
        assert 86_390 < one.clock.offset_s < 86_410
        await one.context.send(HUB, reply(down(Operation.UPDATE, "default/pod/web", {})))
        await until(lambda: bool(script.of(Operation.RESPONSE)))
        (patch,), (ack,) = script.of(Operation.PATCH), script.of(Operation.RESPONSE)
        assert ack.header.timestamp - patch.header.timestamp > 86_390_000


async def test_what_the_cloud_sends_goes_to_metamanager_in_order(
    cloud: TestCloud, tmp_path: Path
) -> None:
    class Sending(Script):
        async def __call__(self, peer: Peer) -> None:
            for number in range(300):
                await peer.send(down(Operation.UPDATE, f"default/pod/p{number}", {}))
            await super().__call__(peer)

    async with cloud.listening(Sending()), edge(cloud, tmp_path) as one:
        await one.state()
        names = [(await one.context.receive(META)).resource for _ in range(300)]
        assert names == [f"default/pod/p{number}" for number in range(300)]


async def test_without_a_link_requests_are_refused_at_once(
    cloud: TestCloud, tmp_path: Path
) -> None:
    cloud.websocket_port = cloud.https_port = 1
    async with edge(cloud, tmp_path) as one:
        refused = await one.ask()
        assert status(refused).code == 503
        assert refused.route.source == HUB
        assert one.total("edgecore_refusals_total", reason="not_connected") == 1
        await one.context.send(HUB, reply(down(Operation.UPDATE, "default/pod/web", {})))
        await until(
            lambda: one.total("edgecore_messages_dropped_total", reason="not_connected") == 1
        )


async def test_what_was_asked_is_refused_when_the_link_breaks_and_the_link_returns(
    cloud: TestCloud, tmp_path: Path
) -> None:
    class Cutting(Script):
        async def hear(self, peer: Peer, message: Message) -> None:
            if message.operation is Operation.PATCH:
                peer.connection.transport.abort()

    async with cloud.listening(Cutting()), edge(cloud, tmp_path) as one:
        await one.state()
        assert status(await one.ask()).code == 503
        assert (await one.state())["state"] == "cloud_disconnected"
        assert (await one.state())["state"] == "cloud_connected"
        assert one.total("edgecore_connections_total") == 2


async def test_a_silent_link_is_given_up_and_made_again(cloud: TestCloud, tmp_path: Path) -> None:
    class Frozen(Script):
        async def __call__(self, peer: Peer) -> None:
            self.peers.append(peer)
            peer.connection.transport.pause_reading()  # neither message nor pong will come
            await peer.connection.wait_closed()

    script = Frozen()
    async with (
        cloud.listening(script),
        edge(cloud, tmp_path, heartbeat_s=0.05, answer_s=0.05) as one,
    ):
        await until(lambda: len(script.peers) == 2)
        assert one.total("edgecore_connection_failures_total", reason="silent") == 1


async def test_an_idle_link_whose_cloud_answers_pings_stays(
    cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings = 0
    ping = Link.ping

    async def counting(link: Link, patience_s: float) -> None:
        nonlocal pings
        pings += 1
        await ping(link, patience_s)

    monkeypatch.setattr(Link, "ping", counting)
    script = Script()
    async with (
        cloud.listening(script),
        edge(cloud, tmp_path, heartbeat_s=0.02, answer_s=50.0) as one,
    ):
        await until(lambda: pings >= 1 and len(script.of(Operation.KEEPALIVE)) >= 5)
        assert one.total("edgecore_connections_total") == 1


async def test_an_unknown_operation_is_counted_and_ignored(
    cloud: TestCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Strange(Script):
        async def __call__(self, peer: Peer) -> None:
            strange = loads(raw(down(Operation.UPDATE, "default/pod/web", {})))
            strange["route"]["operation"] = "createvolume"
            await peer.connection.send(bytes(raw(strange)), text=True)
            await peer.send(down(Operation.UPDATE, "default/pod/web", {}))
            await super().__call__(peer)

    async with cloud.listening(Strange()), edge(cloud, tmp_path) as one:
        await one.state()
        assert (await one.context.receive(META)).resource == "default/pod/web"
        assert one.total("edgecore_refusals_total", reason="unknown_operation") == 1
    assert "unknown operation" in caplog.text


@pytest.mark.parametrize(
    "frame", ["{", "[]", '"x"', '{"header":{}}', "[" * 10_000, b"\xff\xfe\x00", b""]
)
async def test_what_is_no_message_ends_the_connection(
    cloud: TestCloud, tmp_path: Path, frame: str | bytes
) -> None:
    class Broken(Script):
        async def __call__(self, peer: Peer) -> None:
            if not self.peers:
                await peer.connection.send(frame)
            await super().__call__(peer)

    script = Broken()
    async with cloud.listening(script), edge(cloud, tmp_path) as one:
        await until(lambda: len(script.peers) == 2)
        assert one.total("edgecore_refusals_total", reason="malformed") == 1
        assert script.peers[0].connection.close_code == 1007


async def test_a_reply_that_nobody_waits_for_is_counted(cloud: TestCloud, tmp_path: Path) -> None:
    class Late(Script):
        async def __call__(self, peer: Peer) -> None:
            await peer.send(down(Operation.RESPONSE, "default/pod/web", "OK", parent="long ago"))
            await super().__call__(peer)

    async with cloud.listening(Late()), edge(cloud, tmp_path) as one:
        await until(lambda: one.total("edgecore_messages_dropped_total", reason="late_reply") == 1)


async def test_a_message_for_another_group_is_counted(cloud: TestCloud, tmp_path: Path) -> None:
    class Twin(Script):
        async def __call__(self, peer: Peer) -> None:
            twin = new("devicecontroller", "twin", Operation.UPDATE, "membership", raw({}))
            await peer.send(twin)
            await super().__call__(peer)

    async with cloud.listening(Twin()), edge(cloud, tmp_path) as one:
        await until(
            lambda: one.total("edgecore_messages_dropped_total", reason="unknown_group") == 1
        )


async def test_an_edge_whose_place_was_taken_says_so(
    cloud: TestCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Replacing(Script):
        async def __call__(self, peer: Peer) -> None:
            self.peers.append(peer)
            if len(self.peers) == 1:
                await peer.connection.close(REPLACED, "a newer connection of n1")
            else:
                await peer.connection.wait_closed()

    script = Replacing()
    async with cloud.listening(script), edge(cloud, tmp_path):
        await until(lambda: len(script.peers) == 2)
    assert f"{REPLACED} a newer connection of n1" in str(
        [getattr(record, "error", "") for record in caplog.records]
    )


async def test_a_certificate_that_is_refused_is_replaced_where_there_is_a_token(
    cloud: TestCloud, tmp_path: Path
) -> None:
    script = Script()
    async with cloud.listening(script):
        async with edge(cloud, tmp_path) as one:
            await one.state()
        (tmp_path / "pki" / "n1.pem").write_text("damaged")
        async with edge(cloud, tmp_path) as one:
            await one.state()
    assert cloud.enrolments == ["n1", "n1"]


async def test_what_was_accepted_is_written_before_the_end(
    cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_FLUSH_S", 50.0)  # a busy machine writes all of it too
    script = Script()
    async with cloud.listening(script):
        async with edge(cloud, tmp_path) as one:
            await one.state()
            for number in range(200):
                await one.context.send(
                    HUB, reply(down(Operation.UPDATE, f"default/pod/{number}", {}))
                )
        await until(lambda: len(script.of(Operation.RESPONSE)) == 200)


async def test_the_bus_closing_before_the_hub_stops_it_quietly(
    cloud: TestCloud, tmp_path: Path
) -> None:
    class Sending(Script):
        async def __call__(self, peer: Peer) -> None:
            self.peers.append(peer)
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await peer.send(down(Operation.UPDATE, "default/pod/web", {}))

    async with cloud.listening(Sending()), edge(cloud, tmp_path) as one:
        await one.state()
        one.context.close(META)
        await until(lambda: one.total("edgecore_connection_failures_total", reason="shutdown") >= 1)


async def test_a_link_that_is_lost_while_the_hub_stops_is_not_made_again(
    cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ending, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def watch(*_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await ended.wait()

    monkeypatch.setattr(Session, "_watch", watch)
    script = Script()
    async with cloud.listening(script), edge(cloud, tmp_path) as one:
        await one.state()
        await begun.wait()
        one.context.close(META)
        await script.peers[0].send(down(Operation.UPDATE, "default/pod/web", {}))
        await ending.wait()
        one.context.close(HUB)
        [link] = [task for task in asyncio.all_tasks() if task.get_name() == "link"]
        await until(lambda: link.cancelling() > 0)
        ended.set()
    assert len(script.peers) == 1
