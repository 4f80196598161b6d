"""What tests of the hub share: a hub on loopback, an edge to connect to it, a controller behind it.

The edge is a test double on the WebSocket library's own client; it speaks as KubeEdge's does.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from cloudcore.cloudhub.acceptor import bind
from cloudcore.cloudhub.handshake import Terms
from cloudcore.cloudhub.hub import CloudHub, Gate, HubConfig
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.cloudhub.session import Session
from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.kube.views import ObjectKey
from cloudcore.metrics import CloudMetrics
from common import frames, issuing, pki, subjects, tls, wire
from common.beehive.context import MessageContext
from common.beehive.message import NULL, Message, new, raw, reply
from common.capabilities import HEADER, NONE, Capabilities, render
from common.errors import MailboxClosedError
from common.files import write_private
from common.names import UID, GroupName, ModuleName, NodeID, Operation, PeerProtocol
from common.podrefs import PodRefs

PATIENCE_S = 50.0  # on a machine that has much else to do
ENVELOPE = b'{"header":{"msg_id":"i"},"route":{"operation":"query","resource":"r"},"content":%s}'
"""A request, around its content."""
HOST = "127.0.0.1"
NODE_LIMIT = 4


async def until(what: Callable[[], bool]) -> None:
    """Return when ``what`` has come true, which nobody tells."""
    async with asyncio.timeout(PATIENCE_S):
        while not what():  # noqa: ASYNC110 - there is nobody to set an event
            await asyncio.sleep(0.002)


@dataclass
class Certificates:
    """An authority, and the files of those it knows."""

    folder: Path
    authority: issuing.Authority = field(
        default_factory=lambda: issuing.new_authority(datetime.now(UTC))
    )

    def server(self, verify: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
        key = pki.new_key()
        made = issuing.issue_server(self.authority, key, [HOST], datetime.now(UTC))
        files = self._write("server", made.public_bytes(Encoding.DER), key)
        context = tls.server_context(*files, client_ca_pem=self.authority.pem)
        context.verify_mode = verify
        return context

    def client(self, node: str, signer: issuing.Authority | None = None) -> ssl.SSLContext:
        key, name = pki.new_key(), NodeID(node)
        issued = issuing.issue_node(
            signer or self.authority, subjects.new_csr(key, name), name, datetime.now(UTC)
        )
        return tls.client_context(self.authority.pem, *self._write(node, issued.der, key))

    def _write(self, name: str, der: bytes, key: pki.Key) -> tuple[Path, Path]:
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        write_private(files[0], pki.cert_to_pem(der).encode())
        write_private(files[1], pki.key_to_pem(key))
        return files


@dataclass
class Controller:
    """The module behind the hub: it keeps what came, and answers when it is told to."""

    bus: MessageContext
    seen: list[Message] = field(default_factory=list)
    is_paused: bool = False

    async def run(self) -> None:
        with suppress(MailboxClosedError):
            while True:
                await until(lambda: not self.is_paused)
                self.seen.append(await self.bus.receive(ModuleName.EDGE_CONTROLLER))

    async def next(self, what: Callable[[Message], bool]) -> Message:
        await until(lambda: any(what(message) for message in self.seen))
        found = next(message for message in self.seen if what(message))
        self.seen.remove(found)
        return found

    async def next_of(self, operation: Operation) -> Message:
        return await self.next(lambda message: message.operation is operation)

    def requests(self) -> list[Message]:
        return [m for m in self.seen if m.resource.count("/") > 1]

    async def send(self, message: Message) -> None:
        await self.bus.send(ModuleName.CLOUD_HUB, message)

    async def answer(self, request: Message, content: msgspec.Raw) -> None:
        await self.send(reply(request, content, source="edgecontroller", group="resource"))

    async def tell(
        self, node: str, version: int, *, name: str = "web", uid: str = "u1", text: str = ""
    ) -> Message:
        """Send a version of a ConfigMap to ``node``."""
        metadata = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": str(version)}
        message = new(
            "edgecontroller",
            "resource",
            Operation.UPDATE,
            f"node/{node}/shop/configmap/{name}",
            raw({"kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}),
            resource_version=str(version),
        )
        await self.send(message)
        return message


@dataclass
class Edge:
    """A test double of an edge."""

    socket: ClientConnection

    async def send(
        self,
        operation: Operation,
        resource: str,
        content: msgspec.Raw = NULL,
        *,
        source: str = "edged",
        group: str = "meta",
    ) -> Message:
        message = new(source, group, operation, resource, content)
        await self.socket.send(wire.encode(message), text=True)
        return message

    async def receive(self) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            frame = await self.socket.recv()
        assert isinstance(frame, str)
        return wire.decode(frame)

    async def say(self, frame: frames.Frame) -> None:
        await self.socket.send(frames.encode(frame))

    async def hear(self) -> frames.Frame:
        """Return the next frame, which must be binary."""
        async with asyncio.timeout(PATIENCE_S):
            payload = await self.socket.recv()
        assert isinstance(payload, bytes)
        return frames.decode(payload)

    async def ask(
        self, operation: Operation, resource: str, content: msgspec.Raw = NULL
    ) -> Message:
        """Send a request and return what comes next, which must be its answer."""
        request = await self.send(operation, resource, content)
        answer = await self.receive()
        assert answer.parent_id == request.msg_id
        return answer

    async def acknowledge(self, message: Message) -> None:
        await self.socket.send(wire.encode(reply(message)), text=True)

    async def is_served(self) -> bool:
        """Whether the connection works: it is told that it may not do something."""
        answer = await self.ask(Operation.QUERY, "shop/secret/not-its-own")
        status = wire.status_of(answer.content)
        return status is not None and status.code == 403

    async def closed(self) -> tuple[int, str]:
        """Return code and reason of the close frame, once it has come."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return 1006, ""
            return closed.rcvd.code, closed.rcvd.reason


@dataclass
class Stage:
    """A hub at work."""

    bus: MessageContext
    controller: Controller
    registry: SessionRegistry
    metrics: CloudMetrics
    shown: CollectorRegistry
    certificates: Certificates
    locations: LocationCache
    port: int
    foreign: set[str]
    revoked: dict[str, bool]
    """By node, whether the certificate that is shown was revoked."""

    given_up: set[str]
    """Fingerprints of authorities that are not trusted any more."""

    hub: CloudHub
    heard: list[tuple[str, list[str], bytes]]
    """Node, authorities that it named, and certificate of each edge of our own that connected."""

    def session(self, node: str) -> Session:
        session = self.registry.get(NodeID(node))
        assert session is not None
        return session

    def refused(self, reason: str) -> float:
        return self._sample("cloudcore_refusals_total", {"reason": reason})

    def dropped(self, reason: str) -> float:
        return self._sample("cloudcore_messages_dropped_total", {"reason": reason})

    def counted(self, name: str) -> float:
        return self._sample(f"cloudcore_{name}", {})

    def _sample(self, name: str, labels: dict[str, str]) -> float:
        return self.shown.get_sample_value(name, labels) or 0.0

    def add_pod(self, node: str, name: str, **names: frozenset[str]) -> None:
        self.locations.set_node(NodeID(node), NodeLocation(UID(f"uid-{node}")))
        self.locations.set_pod(
            ObjectKey("shop", name), PodLocation(UID(f"uid-{name}"), NodeID(node), PodRefs(**names))
        )

    def connect(
        self,
        node: str,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: list[Subprotocol] | None = None,
        context: ssl.SSLContext | None = None,
        able: Capabilities = NONE,
    ) -> "connect":
        """Return a connection of ``node`` that is still to be opened."""
        given = {"node_id": node, "project_id": "p", "ConnectionUse": "msg"}
        if able:
            subprotocols = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)]
            given[HEADER] = render(able)
        return connect(
            f"wss://{HOST}:{self.port}/p/{node}/events",
            ssl=context or self.certificates.client(node),
            additional_headers=given if headers is None else headers,
            subprotocols=subprotocols,
            compression=None,
            ping_interval=None,
            max_size=None,
            proxy=None,
        )

    @asynccontextmanager
    async def edge(
        self,
        node: str,
        subprotocols: list[Subprotocol] | None = None,
        *,
        able: Capabilities = NONE,
    ) -> AsyncIterator[Edge]:
        """A connected edge, of which the controller has been told."""
        async with self.connect(node, subprotocols=subprotocols, able=able) as socket:
            await self.controller.next_of(Operation.CONNECTED)
            yield Edge(socket)


@asynccontextmanager
async def staged(
    folder: Path,
    *,
    keepalive_s: float = 30.0,
    max_message_bytes: int = wire.MAX_MESSAGE_BYTES,
    ready: asyncio.Event | None = None,
    capacity: int = 1024,
    terms: Terms | None = None,
) -> AsyncIterator[Stage]:
    """Run a hub until the context ends."""
    bus = MessageContext()
    bus.add_module(ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB)
    bus.add_module(ModuleName.EDGE_CONTROLLER, GroupName.EDGE_CONTROLLER, capacity=capacity)
    registry = CollectorRegistry()
    metrics = CloudMetrics(registry)
    controller = Controller(bus)
    sessions = SessionRegistry(NODE_LIMIT, registry)
    certificates, locations = Certificates(folder), LocationCache()
    sockets = bind([(HOST, 0)])
    foreign: set[str] = set()
    revoked: dict[str, bool] = {}
    given_up: set[str] = set()

    def signer_of(der: Callable[[], bytes]) -> str | None:
        authority = certificates.authority
        fingerprint = pki.fingerprint(authority.der)
        is_ours = pki.has_signed(authority.certificate, pki.load_certificate(der()))
        return fingerprint if is_ours and fingerprint not in given_up else None

    heard: list[tuple[str, list[str], bytes]] = []
    if ready is None:
        ready = asyncio.Event()
        ready.set()
    tls_context = certificates.server()
    hub = CloudHub(
        bus,
        ModuleName.EDGE_CONTROLLER,
        locations,
        sessions,
        Gate(
            lambda node: node not in foreign,
            ready.wait,
            lambda node, serial: serial > 0 and revoked.get(node, False),
            signer_of=signer_of,
            hear=lambda node, said, der: heard.append((node, list(said), der())),
        ),
        metrics=metrics,
        config=HubConfig(max_message_bytes, keepalive_s, terms or Terms()),
        door=(sockets, lambda: tls_context),
    )
    port: int = sockets[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        group.create_task(controller.run(), name="controller")
        running = group.create_task(hub.run(), name="hub")
        yield Stage(
            bus,
            controller,
            sessions,
            metrics,
            registry,
            certificates,
            locations,
            port,
            foreign,
            revoked,
            given_up,
            hub,
            heard,
        )
        controller.is_paused = False
        bus.close(ModuleName.CLOUD_HUB)
        await running
        bus.close(ModuleName.EDGE_CONTROLLER)
