"""The WebSocket server: TLS with client certificates, the handshake's checks, nothing after them.

Source: KubeEdge cloud/pkg/cloudhub/servers/server.go (any path, no subprotocol, no compression).
"""

import asyncio
import logging
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from cloudcore.cloudhub import handshake
from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener
from cloudcore.cloudhub.connection import READ_BYTES, HubConnection, Receiver
from cloudcore.cloudhub.handshake import Handshake, Refusal, Terms
from cloudcore.cloudhub.places import origin_of
from common import wire
from common.metrics import MessageMetrics
from common.names import AUTHORITY_HEADER, REFUSAL_HEADER, NodeID, PeerProtocol
from common.subjects import node_of_certificate

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 10.0
_SUBPROTOCOLS: Final = (Subprotocol(PeerProtocol.CLOUDEDGE_V1),)
_MAX_DETAIL_CHARS: Final = 200


NodeOf = Callable[[Mapping[str, Any], Sequence[str]], NodeID | None]
"""Returns whose a certificate (``ssl.SSLSocket.getpeercert``) is; also gets what the client says it
is. None where it is nobody's."""


def node_named(certificate: Mapping[str, Any], said: Sequence[str]) -> NodeID | None:
    """Return the node that a certificate names; a ``NodeOf``."""
    del said
    return node_of_certificate(certificate)


class Admission(Struct, frozen=True):
    """What the handshake has to know of the rest of the hub."""

    is_connected: Callable[[NodeID], bool]
    has_room: Callable[[], bool]
    is_edge: Callable[[NodeID], bool]
    """Whether a node has the edge label, or has yet to register."""

    node_of: NodeOf
    """Returns whose a certificate is."""

    is_revoked: Callable[[NodeID, int], bool]
    """Whether the certificate of a node with that serial number counts no more."""

    signer_of: Callable[[Callable[[], bytes]], str | None]
    """Returns the fingerprint of the authority that has signed a certificate, which the argument
    returns as DER; None where it is none that is trusted."""

    hear: Callable[[NodeID, Sequence[str], Callable[[], bytes]], None]
    """Called for each edge of our own protocol that is let in: the fingerprints that it names as
    that of the newest authority it trusts, which should be one, and what returns its certificate
    as DER."""


class _Protocol(ServerProtocol):
    """The library's default refuses a client that offers no subprotocol."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        protocol = handshake.select_protocol(subprotocols)
        return None if protocol is PeerProtocol.KUBEEDGE else Subprotocol(protocol)


class HubServer:
    """Opens connections for nodes. It is the ``Door`` of each of them."""

    def __init__(  # noqa: PLR0913 - its collaborators, each of another kind
        self,
        sockets: Sequence[socket.socket],
        context: Callable[[], ssl.SSLContext],
        admission: Admission,
        serve: Callable[[HubConnection], Receiver],
        metrics: MessageMetrics,
        *,
        terms: Terms | None = None,
        max_message_bytes: int = wire.MAX_MESSAGE_BYTES,
        limits: AcceptLimits | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            sockets: listening and non-blocking; closed by ``close``.
            context: returns TLS with client certificates, for the next connection.
            admission: who may connect.
            serve: called for each accepted connection; returns who gets what comes.
            metrics: where refusals are counted.
            terms: what is said to edges that speak our own protocol.
            max_message_bytes: of a message; above it the connection is closed.
            limits: what strangers may cost.
        """
        self._admission, self._serve, self._metrics = admission, serve, metrics
        self._terms, self._max_message_bytes = terms or Terms(), max_message_bytes
        # The library's logger tells of every handshake that fails; so do our own lines.
        self._logger = logging.getLogger(f"{__name__}.websockets")
        self._logger.setLevel(logging.CRITICAL)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._connections: dict[HubConnection, str] = {}  # and its origin
        self._origins: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._acceptor = Acceptor(
            sockets,
            Listener(
                "websocket",
                context,
                self._connection,
                lambda: len(self._connections),
                lambda origin: self._origins.get(origin, 0),
            ),
            limits or AcceptLimits(),
            metrics,
        )

    async def run(self) -> None:
        """Serve until ``close``."""
        await self._acceptor.run()

    def close(self) -> None:
        """Accept no more connections, nor those whose handshake is under way; the rest live on."""
        self._acceptor.close()

    def end_untrusted(self, trusted: Collection[str]) -> None:
        """Cut the connections whose certificate is by none of ``trusted``, by their fingerprints.

        Those whose certificate has not been looked at yet are: it is judged when it is looked at.
        """
        for connection in list(self._connections):
            if connection.issuer is not None and connection.issuer not in trusted:
                logger.warning(
                    "connection ended, its authority is not trusted any more",
                    extra={"address": connection.address, "issuer": connection.issuer},
                )
                connection.abort()

    async def wait_closed(self) -> None:
        """Return when every connection has ended; those that never opened are cut."""
        for connection in list(self._connections):
            connection.abort()
        await self._empty.wait()

    # --- the door of its connections -------------------------------------------------------------

    def begun(self, connection: HubConnection) -> None:
        """Remember a connection; see ``Door``."""
        origin = sys.intern(origin_of(connection.address))
        self._connections[connection] = origin
        self._origins[origin] += 1
        self._empty.clear()

    def answer(self, connection: HubConnection, request: Request) -> Response:
        """Judge a request; see ``Door``."""
        if not self._acceptor.is_serving():
            return self._refuse(connection, handshake.STOPPING)
        said = request.headers.get_all(handshake.NODE_ID_HEADER)
        node = self._admission.node_of(connection.certificate, said)
        serial = int(str(connection.certificate.get("serialNumber", "0")), 16)
        admission = self._admission
        issuer = admission.signer_of(connection.certificate_der)
        if issuer is None:
            return self._refuse(connection, handshake.UNTRUSTED)
        refusal = handshake.judge(
            Handshake(
                certificate_node=node,
                node_ids=said,
                uses=request.headers.get_all(handshake.CONNECTION_USE_HEADER),
                is_connected=node is not None and admission.is_connected(node),
                is_revoked=node is not None and admission.is_revoked(node, serial),
            ),
            is_edge=node is None or admission.is_edge(node),
            has_room=admission.has_room(),
        )
        if refusal is not None:
            return self._refuse(connection, refusal)
        assert node is not None
        connection.node, connection.serial = node, serial
        # One text for all of them, not one for each.
        connection.issuer = sys.intern(issuer)
        response = connection.accept(request, self._terms)
        if connection.peer_protocol is PeerProtocol.CLOUDEDGE_V1:
            newest = request.headers.get_all(AUTHORITY_HEADER)
            admission.hear(node, newest, connection.certificate_der)
        return response

    def opened(self, connection: HubConnection) -> Receiver:
        """Hand over a connection; see ``Door``."""
        return self._serve(connection)

    def failed(self, connection: HubConnection, reason: str, detail: str) -> None:
        """Note a connection that did not open; see ``Door``."""
        self._metrics.refused.inc(reason)
        logger.warning(
            "connection refused",
            extra={
                "address": connection.address,
                "reason": reason,
                "detail": detail[:_MAX_DETAIL_CHARS],
            },
        )

    def closed(self, connection: HubConnection) -> None:
        """Forget a connection; see ``Door``."""
        origin = self._connections.pop(connection)
        self._origins[origin] -= 1
        if not self._origins[origin]:
            del self._origins[origin]
        if not self._connections:
            self._empty.set()

    def _connection(self) -> HubConnection:
        protocol = _Protocol(
            subprotocols=_SUBPROTOCOLS, max_size=self._max_message_bytes, logger=self._logger
        )
        return HubConnection(protocol, self, self._buffer, open_timeout_s=OPEN_TIMEOUT_S)

    def _refuse(self, connection: HubConnection, refusal: Refusal) -> Response:
        self.failed(connection, refusal.reason, refusal.text)
        response = connection.reject(refusal.status, f"{refusal.text}\n")
        response.headers[REFUSAL_HEADER] = refusal.reason
        return response
