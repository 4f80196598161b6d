"""CloudHub: the module that carries messages to the nodes and back.

Its loop takes what the controllers send and puts it into the outbox of the node that the resource
names; another one takes what the nodes say, one message of each in turn. Once a second all sessions
are tended. So a connection needs neither tasks nor timers of its own.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.acceptor import AcceptLimits
from cloudcore.cloudhub.authorize import Locations
from cloudcore.cloudhub.connection import HubConnection
from cloudcore.cloudhub.flusher import Flusher
from cloudcore.cloudhub.handshake import Terms
from cloudcore.cloudhub.inbox import Inbox
from cloudcore.cloudhub.parcel import Bulks, Parcel
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.cloudhub.server import Admission, HubServer, NodeOf, node_named
from cloudcore.cloudhub.session import Session, SessionServices, Wire
from cloudcore.cloudhub.traffic import Traffic
from cloudcore.metrics import CloudMetrics
from common import wire
from common.beehive.context import MessageContext
from common.beehive.message import Header, Message
from common.errors import MailboxClosedError, ResourceError, WireError
from common.names import (
    CLUSTER_SCOPE,
    UID,
    GroupName,
    ModuleName,
    NodeID,
    Operation,
    PeerProtocol,
    ResourceType,
)
from common.resource import split_node

logger = logging.getLogger(__name__)

BATCH: Final = 1024
"""Messages that are taken from the bus at a time. A change that many nodes get is then written to
all of them before the first acknowledgement is read; it takes some 30 ms."""

_COMMANDS: Final = frozenset({Operation.DISCONNECTED, Operation.KEEPALIVE})
"""About a node as such: its resource is ``node/<id>``."""

_CONNECTIONS_PER_NODE: Final = 2
"""A node that comes back may have an old one that is not known to be dead yet."""

_TEND_S: Final = 1.0
_FLUSH_S: Final = 5.0
"""How long sessions may take to write what they have when cloudcore stops."""


class _Metadata(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Connection(msgspec.Struct):
    connection: str


def _never_revoked(node: NodeID, serial: int) -> bool:
    del node, serial
    return False


def _hear_nothing(node: NodeID, said: Sequence[str], der: Callable[[], bytes]) -> None:
    del node, said, der


def _tls_has_seen_to_it(der: Callable[[], bytes]) -> str:
    del der
    return ""


class Gate(Struct, frozen=True):
    """Who may connect, and from when on."""

    is_edge: Callable[[NodeID], bool]
    """Whether a node is an edge node, or has yet to register."""

    ready: Callable[[], Awaitable[object]]
    """Returns when it is known which pods are bound to whom, and who is revoked. Nobody is let in
    before: an edge would be told that its own pods do not exist, and what they name is none of its
    business."""

    is_revoked: Callable[[NodeID, int], bool] = _never_revoked
    """Whether the certificate of a node with that serial number counts no more."""

    signer_of: Callable[[Callable[[], bytes]], str | None] = _tls_has_seen_to_it
    """Returns who has signed a certificate; see ``Admission``."""

    hear: Callable[[NodeID, Sequence[str], Callable[[], bytes]], None] = _hear_nothing
    """Gets what edges say of the authorities that they trust; see ``Admission``."""

    node_of: NodeOf = node_named
    """Returns whose a certificate is."""


class HubConfig(Struct, frozen=True):
    """How much the hub bears, and what it says of itself."""

    max_message_bytes: int = wire.MAX_MESSAGE_BYTES
    keepalive_s: float = 30.0
    """Seconds of silence after which a connection is ended."""

    terms: Terms = field(default_factory=Terms)
    """With edges that speak our own protocol."""

    connections_per_address: int = 512
    """From one address, behind which may be many edges."""


class CloudHub:
    """Serve the nodes: sockets on one side, the bus on the other."""

    name, group = ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB

    def __init__(  # noqa: PLR0913 - its collaborators, each of another kind
        self,
        bus: MessageContext,
        send_module: ModuleName,
        locations: Locations,
        registry: SessionRegistry,
        gate: Gate,
        *,
        metrics: CloudMetrics,
        config: HubConfig | None = None,
        door: tuple[Sequence[socket.socket], Callable[[], ssl.SSLContext]] | None = None,
    ) -> None:
        """Make the module.

        Args:
            bus: where messages to the nodes come from.
            send_module: who gets what the nodes say.
            locations: for authorisation.
            registry: which node has which session.
            gate: who may connect.
            metrics: counts what happens.
            config: its limits.
            door: sockets that listen and do not block, closed when the module ends, and what
                returns TLS with client certificates; None where connections come by ``serve``.
        """
        self._bus, self._send_module, self._locations = bus, send_module, locations
        self._registry, self._gate, self._metrics = registry, gate, metrics
        self._config, self._door = config or HubConfig(), door
        self._inbox, self._bulks = Inbox(), Bulks()
        self._services: SessionServices | None = None
        self._server: HubServer | None = None
        # Messages of one object to many nodes come one after the other, with the same header.
        self._last_header: Header | None = None
        self._last_parcel: Parcel
        self._last_uid = UID("")

    async def run(self) -> None:
        """Serve until the mailbox is closed and empty; then write what waits, and close."""
        loop = asyncio.get_running_loop()
        self._services = SessionServices(
            self._locations,
            self._metrics,
            self._inbox,
            Flusher(),
            loop.time,
            self._config.max_message_bytes,
            self._config.keepalive_s,
        )
        async with asyncio.TaskGroup() as group:
            workers = [
                group.create_task(self._listen(), name="cloudhub server"),
                group.create_task(self._tend(), name="cloudhub tend"),
                group.create_task(self._pass_on(), name="cloudhub inbox"),
            ]
            try:
                await self._dispatch_all()
            finally:
                # Where dispatching failed, the controller must not wait for room here while
                # nodes wait for room there.
                self._bus.close(self.name)
                await self._end_sessions()
                for worker in workers:
                    worker.cancel()

    def serve(self, link: Wire) -> Session:
        """Take in a connection whose handshake was accepted; call while ``run`` runs."""
        assert self._services is not None, "used before it runs"
        session = Session(link, self._services, self._ended)
        if self._registry.get(session.node) is None and not self._registry.has_room():
            session.end(closing.NODE_LIMIT)
            return session
        self._registry.add(session)
        self._metrics.connects.inc(session.protocol.value)
        logger.info(
            "node connected",
            extra={
                "node": session.node,
                "protocol": session.protocol.value,
                "connection": session.connection_id,
            },
        )
        session.begin()
        return session

    def end_revoked(self, node: NodeID) -> None:
        """Close the connection of ``node`` at once if its certificate is revoked by now."""
        session = self._registry.get(node)
        if session is not None and self._gate.is_revoked(node, session.serial):
            session.end(closing.REVOKED)

    def end_untrusted(self, trusted: Collection[str]) -> None:
        """Cut the connections whose certificate is by none of ``trusted``, fingerprints."""
        if self._server is not None:
            self._server.end_untrusted(trusted)

    async def _listen(self) -> None:
        if self._door is None:
            return
        sockets, context = self._door
        try:
            await self._gate.ready()
            admission = Admission(
                is_connected=lambda node: self._registry.get(node) is not None,
                has_room=self._registry.has_room,
                is_edge=self._gate.is_edge,
                node_of=self._gate.node_of,
                is_revoked=self._gate.is_revoked,
                signer_of=self._gate.signer_of,
                hear=self._gate.hear,
            )
            self._server = HubServer(
                sockets,
                context,
                admission,
                self._serve_connection,
                self._metrics,
                terms=self._config.terms,
                max_message_bytes=self._config.max_message_bytes,
                limits=AcceptLimits(
                    connections=_CONNECTIONS_PER_NODE * self._registry.limit,
                    connections_per_address=self._config.connections_per_address,
                ),
            )
            await self._server.run()
        finally:
            for one in sockets:
                one.close()

    def _serve_connection(self, connection: HubConnection) -> Session:
        return self.serve(connection)

    async def _dispatch_all(self) -> None:
        try:
            while True:
                for message in await self._bus.receive_batch(self.name, limit=BATCH):
                    self._dispatch(message)
                await asyncio.sleep(0)  # a full mailbox must not keep sessions from writing
        except MailboxClosedError:
            logger.debug("mailbox is closed and empty")

    def _dispatch(self, message: Message) -> None:
        """Put a message into the outbox of its node; it does not wait."""
        if message.operation in _COMMANDS:
            self._carry_out(message)
            return
        try:
            node, site_form = split_node(message.resource)
        except ResourceError:
            self._drop("no_node", message, logging.ERROR)
            return
        session = self._registry.get(node)
        if session is None:
            # What the node lacks is found out when it connects.
            self._drop("not_connected", message, logging.DEBUG)
        elif message.operation is Operation.RESPONSE:
            if not session.answer(Parcel(message.about(site_form), self._bulks)):
                self._drop("late_reply", message, logging.DEBUG)
        elif message.operation is Operation.QUERY:
            session.ask(Parcel(message.about(site_form), self._bulks))
        elif _is_end_of(session, message.operation, site_form):
            session.end(closing.NODE_DELETED)
        else:
            self._offer(session, message, site_form)

    def _offer(self, session: Session, message: Message, site_form: str) -> None:
        if message.header is not self._last_header:
            self._last_header = message.header
            self._last_parcel = Parcel(message.about(site_form), self._bulks)
            self._last_uid = _uid_of(message, site_form)
        session.offer(self._last_uid, self._last_parcel)

    def _carry_out(self, command: Message) -> None:
        """Do what the controller wants of a connection."""
        session = self._registry.get(NodeID(command.resource.rpartition("/")[2]))
        if session is None:
            self._drop("not_connected", command, logging.DEBUG)
        elif command.operation is Operation.KEEPALIVE:
            session.want_digest()
        else:
            self._end_replaced(session, command)

    def _end_replaced(self, session: Session, command: Message) -> None:
        """End the connection that ``command`` names, if that is still the one of its node."""
        try:
            named = wire.loads_as(command.content, _Connection).connection
        except WireError:
            # The nodes are served all the same.
            self._drop("malformed", command, logging.ERROR)
            return
        if named == session.connection_id:
            session.end(closing.REPLACED)

    async def _pass_on(self) -> None:
        """Give the controller what the nodes say."""
        try:
            while True:
                message = await self._inbox.next()
                await self._bus.send(self._send_module, message)
        except MailboxClosedError:  # it stops, and so do we
            self._drain()

    def _ended(self, session: Session) -> None:
        is_last = self._registry.remove(session)
        self._metrics.disconnects.inc(session.ended_by)
        logger.info(
            "node disconnected",
            extra={
                "node": session.node,
                "connection": session.connection_id,
                "replaced": not is_last,
                "why": session.ended_by,
                "connected_s": round(asyncio.get_running_loop().time() - session.since_s, 1),
            },
        )

    def _drain(self) -> None:
        """Let nobody in; have those that are here get what waits for them."""
        if self._server is not None:
            self._server.close()
        for session in self._registry:
            session.drain()

    async def _end_sessions(self) -> None:
        """Close every connection once what waits is written, or after a while."""
        self._drain()
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._registry.wait_empty()
        except TimeoutError:
            for session in self._registry:
                session.abort()
            await self._registry.wait_empty()
        if self._server is not None:
            await self._server.wait_closed()

    async def _tend(self) -> None:
        clock = asyncio.get_running_loop().time
        traffic = Traffic(clock())
        while True:
            for session in self._registry:
                session.tend(clock())
                traffic.note(session.node, session.take_traffic())
            if traffic.roll(clock()):
                for quantile, size in traffic.per_day().items():
                    self._metrics.node_day_bytes.set(str(quantile), size)
            await asyncio.sleep(_TEND_S)

    def _drop(self, reason: str, message: Message, level: int) -> None:
        self._metrics.dropped.inc(reason)
        logger.log(
            level,
            "message dropped",
            extra={
                "reason": reason,
                "operation": message.operation,
                "resource": message.resource,
                "msg_id": message.msg_id,
            },
        )


def _uid_of(message: Message, site_form: str) -> UID:
    try:
        uid = wire.loads_as(message.content, _Object).metadata.uid
    except WireError:
        uid = ""
    # Where there is no UID, the address is all there is to know an object by.
    return UID(uid or site_form)


def _is_end_of(session: Session, operation: Operation, site_form: str) -> bool:
    """Whether the message says that the Node is gone, to an edge that may not be told so.

    Our own edges register again. KubeEdge's would forget their Node for good; its cloudcore ends
    their connection instead.
    """
    # Asked of every message: what most of them are not comes first.
    return (
        operation is Operation.DELETE
        and session.protocol is PeerProtocol.KUBEEDGE
        and site_form == f"{CLUSTER_SCOPE}/{ResourceType.NODE}/{session.node}"
    )
