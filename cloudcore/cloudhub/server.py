"""The WebSocket server: TLS with client certificates, the handshake's checks, nothing after them.

Source: KubeEdge cloud/pkg/cloudhub/servers/server.go (any path, no subprotocol, no compression).
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from websockets.asyncio.server import Server, ServerConnection
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from cloudcore.cloudhub import handshake
from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener
from cloudcore.cloudhub.connection import HubConnection
from cloudcore.cloudhub.handshake import Handshake, Refusal
from cloudcore.cloudhub.session import CLOSE_TIMEOUT_S
from common import wire
from common.metrics import MessageMetrics
from common.names import NodeID, PeerProtocol
from common.pki import node_of_certificate

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 10.0
_SUBPROTOCOLS: Final = (Subprotocol(PeerProtocol.CLOUDEDGE_V1),)
_MAX_DETAIL_CHARS: Final = 200
_MAX_QUEUED_FRAMES: Final = 4
_WRITE_LIMIT_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Admission:
    """What the handshake has to know of the rest of the hub."""

    is_connected: Callable[[NodeID], bool]
    has_room: Callable[[], bool]
    is_edge: Callable[[NodeID], bool]
    """Whether a node has the edge label, or has yet to register."""


@dataclass(frozen=True, slots=True)
class HubServer:
    """What a server of edges is made of; ``open`` makes one."""

    sockets: Sequence[socket.socket]
    context: ssl.SSLContext
    admission: Admission
    serve: Callable[[HubConnection], Awaitable[None]]
    """Called for each accepted connection; it is closed when this returns."""

    metrics: MessageMetrics
    max_message_bytes: int = wire.MAX_MESSAGE_BYTES
    limits: AcceptLimits = field(default_factory=AcceptLimits)

    def open(self) -> "OpenServer":
        """Return the server, which accepts once its ``run`` is running."""
        return OpenServer(self)


class OpenServer:
    """The server at work."""

    def __init__(self, parts: HubServer) -> None:
        self._parts = parts
        # The library's logger tells of every handshake that fails; so do our own lines.
        quiet = logging.getLogger(f"{__name__}.websockets")
        quiet.setLevel(logging.CRITICAL)
        self._logger = quiet
        self._acceptor = Acceptor(
            parts.sockets,
            Listener("websocket", parts.context, self._connection, self._open_connections),
            parts.limits,
            parts.metrics,
        )
        self._server = Server(self._acceptor_as_server, self._handle, quiet)

    async def run(self) -> None:
        """Serve until ``close``."""
        await self._server
        await self._acceptor.run()

    def close(self) -> None:
        """Accept no more connections; those that are open live on."""
        self._acceptor.close()

    async def wait_closed(self) -> None:
        """Return when every connection has ended."""
        while tasks := set(self._server.handler_tasks):
            await asyncio.wait(tasks)

    async def _acceptor_as_server(self) -> asyncio.Server:
        return cast("asyncio.Server", self._acceptor)

    def _open_connections(self) -> int:
        return len(self._server.handler_tasks)

    def _connection(self) -> HubConnection:
        protocol = ServerProtocol(
            subprotocols=_SUBPROTOCOLS,
            select_subprotocol=_select_subprotocol,
            max_size=self._parts.max_message_bytes,
            logger=self._logger,
        )
        return HubConnection(
            protocol,
            self._server,
            ping_interval=None,  # the edge speaks every few seconds, and the sweep listens
            close_timeout=CLOSE_TIMEOUT_S,
            max_queue=_MAX_QUEUED_FRAMES,
            write_limit=_WRITE_LIMIT_BYTES,
        )

    async def _handle(self, connection: ServerConnection) -> None:
        """Take a connection from its handshake to its end."""
        assert isinstance(connection, HubConnection)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await connection.handshake(self._check, server_header=None)
            if connection.protocol.state is OPEN:
                connection.forget_handshake()
                await self._parts.serve(connection)
            elif connection.protocol.handshake_exc is not None:
                detail = str(connection.protocol.handshake_exc)
                self._note(connection, "bad_request", detail[:_MAX_DETAIL_CHARS])
        except TimeoutError:
            self._note(connection, "handshake_timeout", f"no request within {OPEN_TIMEOUT_S:g} s")
        except Exception:
            # One connection's fault must not end the others'.
            logger.exception("connection failed", extra={"address": _address(connection)})
        finally:
            await self._finish(connection)

    async def _finish(self, connection: HubConnection) -> None:
        """Leave nothing of the connection behind; this is its task's last act."""
        try:
            if connection.protocol.state is OPEN:
                await connection.close()
        finally:
            connection.transport.abort()
            task = asyncio.current_task()
            assert task is not None
            self._server.handler_tasks.discard(task)

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        assert isinstance(connection, HubConnection)
        node = node_of_certificate(connection.transport.get_extra_info("peercert") or {})
        admission = self._parts.admission
        refusal = handshake.judge(
            Handshake(
                certificate_node=node,
                node_ids=request.headers.get_all(handshake.NODE_ID_HEADER),
                uses=request.headers.get_all(handshake.CONNECTION_USE_HEADER),
                is_connected=node is not None and admission.is_connected(node),
            ),
            is_edge=node is None or admission.is_edge(node),
            has_room=admission.has_room(),
        )
        if refusal is None:
            assert node is not None
            connection.node = node
            return None
        return self._refuse(connection, refusal)

    def _refuse(self, connection: HubConnection, refusal: Refusal) -> Response:
        self._note(connection, refusal.reason, refusal.text)
        return connection.respond(refusal.status, f"{refusal.text}\n")

    def _note(self, connection: HubConnection, reason: str, detail: str) -> None:
        self._parts.metrics.refused.labels(reason).inc()
        logger.warning(
            "connection refused",
            extra={"address": _address(connection), "reason": reason, "detail": detail},
        )


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    protocol = handshake.select_protocol(offered)
    return None if protocol is PeerProtocol.KUBEEDGE else Subprotocol(protocol)


def _address(connection: ServerConnection) -> str:
    peer = connection.remote_address
    return str(peer[0]) if peer else "?"
