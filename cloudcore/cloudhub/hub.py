"""CloudHub: the module that carries messages to the nodes and back.

Its loop takes what the controllers send and puts it into the outbox of the node that the resource
names; sessions, two tasks each, do the rest. Once a second all sessions are tended, so that no
connection needs timers of its own.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.connection import HubConnection
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.cloudhub.server import Admission, HubServer, OpenServer
from cloudcore.cloudhub.session import Session, SessionServices
from common import wire
from common.beehive.message import Message, new, raw
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

BATCH: Final = 256
_TEND_S: Final = 1.0
_FLUSH_S: Final = 5.0
"""How long sessions may take to write what they have when cloudcore stops."""


class _Metadata(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata


@dataclass(frozen=True, slots=True)
class Gate:
    """Who may connect, and from when on."""

    is_edge: Callable[[NodeID], bool]
    """Whether a node is an edge node, or has yet to register."""

    ready: Callable[[], Awaitable[object]]
    """Returns when it is known which pods are bound to whom. Nobody is let in before: an edge
    would be told that its own pods do not exist, and what they name is none of its business."""


class CloudHub:
    """Serve the nodes: sockets on one side, the bus on the other."""

    name, group = ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        context: ssl.SSLContext,
        services: SessionServices,
        registry: SessionRegistry,
        gate: Gate,
    ) -> None:
        """Serve connections that come in on ``sockets``.

        Args:
            sockets: listening and non-blocking; closed when the module ends.
            context: TLS with client certificates.
            services: what the sessions share.
            registry: which node has which session.
            gate: who may connect.
        """
        self._gate = gate
        self._services, self._registry = services, registry
        self._bus, self._metrics = services.context, services.metrics
        admission = Admission(
            is_connected=lambda node: registry.get(node) is not None,
            has_room=registry.has_room,
            is_edge=gate.is_edge,
        )
        self._parts = HubServer(
            sockets, context, admission, self._serve, self._metrics, services.max_message_bytes
        )
        # Messages of one object to many nodes come one after the other and share their content.
        self._last_content: msgspec.Raw | None = None
        self._last_uid = ""

    async def run(self) -> None:
        """Serve until the mailbox is closed and empty; then write what waits, and close."""
        server = self._parts.open()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(server), name="cloudhub server")
            tending = group.create_task(self._tend(), name="cloudhub tend")
            try:
                await self._dispatch_all()
            finally:
                # Where dispatching failed, the controller must not wait for room here while
                # sessions wait for room there, and this for the sessions.
                self._bus.close(self.name)
                server.close()
                for session in self._registry:
                    session.drain()
                try:
                    async with asyncio.timeout(_FLUSH_S):
                        await server.wait_closed()
                except TimeoutError:
                    for session in self._registry:
                        session.abort()
                    await server.wait_closed()
                tending.cancel()
                listening.cancel()

    async def _listen(self, server: OpenServer) -> None:
        try:
            await self._gate.ready()
            await server.run()
        finally:
            for one in self._parts.sockets:
                one.close()

    async def _dispatch_all(self) -> None:
        try:
            while True:
                for message in await self._bus.receive_batch(self.name, limit=BATCH):
                    self._dispatch(message)
                await asyncio.sleep(0)  # a full mailbox must not keep the writers from writing
        except MailboxClosedError:
            logger.debug("mailbox is closed and empty")

    def _dispatch(self, message: Message) -> None:
        """Put a message into the outbox of its node; it does not wait."""
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
            if not session.answer(message.about(site_form)):
                self._drop("late_reply", message, logging.DEBUG)
        elif _is_end_of(session, message.operation, site_form):
            session.end(closing.NODE_DELETED)
        else:
            session.offer(self._uid_of(message, site_form), message.about(site_form))

    def _uid_of(self, message: Message, site_form: str) -> UID:
        if message.content is not self._last_content:
            try:
                uid = wire.loads_as(message.content, _Object).metadata.uid
            except WireError:
                uid = ""
            self._last_content, self._last_uid = message.content, uid
        # Where there is no UID, the address is all there is to know an object by.
        return UID(self._last_uid or site_form)

    async def _serve(self, connection: HubConnection) -> None:
        """Serve one node from its accepted handshake to the end of the connection."""
        session = Session(connection, self._services)
        if self._registry.get(session.node) is None and not self._registry.has_room():
            session.end(closing.NODE_LIMIT)
            await session.run()
            return
        self._registry.add(session)
        logger.info(
            "node connected", extra={"node": session.node, "protocol": session.protocol.value}
        )
        try:
            await self._tell(Operation.CONNECTED, session)
            await session.run()
        finally:
            is_last = self._registry.remove(session)
            logger.info("node disconnected", extra={"node": session.node, "replaced": not is_last})
            if is_last:
                await self._tell(Operation.DISCONNECTED, session)

    async def _tell(self, operation: Operation, session: Session) -> None:
        """Tell the controller that a node has come or gone."""
        message = new(
            self.name,
            GroupName.RESOURCE,
            operation,
            f"node/{session.node}",
            raw({"protocol": session.protocol}),
        )
        try:
            await self._bus.send(self._services.send_module, message)
        except MailboxClosedError:  # it stops, and with it everybody who would want to know
            logger.debug("controller has stopped", extra={"node": session.node})

    async def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for session in self._registry:
                session.tend(loop.time())
            await asyncio.sleep(_TEND_S)

    def _drop(self, reason: str, message: Message, level: int) -> None:
        self._metrics.dropped.labels(reason).inc()
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
