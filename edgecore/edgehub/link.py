"""One WebSocket connection to the cloud: dialled, alive or not, and what its end was about.

The only module of edgecore that knows the WebSocket library; its errors become ``LinkLostError``.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.typing import Subprotocol

from common import capabilities
from common.capabilities import Capabilities
from common.errors import LinkError
from common.names import (
    AUTHORITY_HEADER,
    CLUSTER_HEADER,
    REFUSAL_HEADER,
    REVOKED,
    VERSION_HEADER,
    PeerProtocol,
)
from common.wire import MAX_MESSAGE_BYTES

UNACCEPTED: Final = 4401
"""Close code of our cloud: the certificate of this node counts no more."""

REPLACED: Final = 4409
"""Close code of our cloud: a newer connection of this node has taken this one's place."""

NORMAL: Final = 1000
"""Close code of an edge that stops."""

MALFORMED: Final = 1007
"""Close code for a peer that sends what is no message."""

NOT_OURS: Final = 4403
"""Close code of an edge that belongs to another cluster than the cloud."""

WRITE_S: Final = 60.0
"""A frame that has not left after this long, and what its bytes take, never will."""

SLOWEST_BYTES_PER_S: Final = 4096
"""Half of what a link of 64 kbit/s carries."""

WRITE_AHEAD_BYTES: Final = 4096
"""What may wait in this process, and again in the kernel, before a frame counts as written. Small,
so that on a slow link what is urgent does not stand behind what is long."""

_CLOSE_S: Final = 2.0
_MAX_REASON_CHARS: Final = 256
_MAX_UID_CHARS: Final = 64
_MAX_VERSION_CHARS: Final = 64
_MAX_FINGERPRINT_CHARS: Final = 64
_READ_AHEAD: Final = 1
"""Frames that may wait here before reading pauses, of ``MAX_MESSAGE_BYTES`` at most; small ones
come many at a time all the same."""


class LinkLostError(LinkError):
    """A connection could not be made, or is gone."""

    def __init__(self, reason: str, text: str, *, is_certificate: bool = False) -> None:
        """Say why.

        Args:
            reason: a word for a counter.
            text: for people; with the cloud's words where it gave some.
            is_certificate: whether one side did not accept the other's certificate.
        """
        super().__init__(text)
        self.reason, self.is_certificate = reason, is_certificate


class _Connection(ClientConnection):
    """A connection that remembers when bytes last came, frames complete or not.

    A large message on a slow link takes minutes; each part of it is a sign of life.
    """

    received_s = 0.0
    lost_by: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.received_s = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self.received_s = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost_by = exc  # the cloud's refusal of a certificate comes after TLS is established
        super().connection_lost(exc)


class Link:
    """An open connection."""

    def __init__(self, connection: _Connection, offered: Capabilities) -> None:
        """Wrap ``connection``, where ``offered`` was said; ``dial`` makes links."""
        self._connection, self._offered = connection, offered

    @property
    def protocol(self) -> PeerProtocol:
        """What the cloud agreed to speak."""
        return PeerProtocol(self._connection.subprotocol or PeerProtocol.KUBEEDGE)

    @property
    def capabilities(self) -> Capabilities:
        """What both ends can do; nothing where the cloud does not speak ``cloudedge.v1``."""
        return capabilities.agree(self._offered, self._said(capabilities.HEADER))

    @property
    def cluster(self) -> str:
        """UID of the cluster that the cloud says it belongs to; "" where it says none."""
        return ",".join(self._said(CLUSTER_HEADER))[:_MAX_UID_CHARS]

    @property
    def authority(self) -> str:
        """Fingerprint of the authority that the cloud signs by; "" where it says none."""
        return ",".join(self._said(AUTHORITY_HEADER))[:_MAX_FINGERPRINT_CHARS].lower()

    @property
    def version(self) -> str:
        """Version of the cloud; "" where it says none."""
        said = ",".join(self._said(VERSION_HEADER))[:_MAX_VERSION_CHARS]
        return said if said.isascii() and said.isprintable() else ""

    @property
    def certificate(self) -> bytes:
        """The cloud's certificate, DER; its dates have not been judged."""
        shown: bytes | None = self._connection.transport.get_extra_info("ssl_object").getpeercert(
            binary_form=True
        )
        assert shown is not None  # there is no connection without one
        return shown

    def _said(self, header: str) -> list[str]:
        """Return what a cloud that speaks ``cloudedge.v1`` has said in its response."""
        response = self._connection.response
        if self.protocol is PeerProtocol.KUBEEDGE or response is None:
            return []
        return response.headers.get_all(header)

    def idle_s(self) -> float:
        """Return for how many seconds no byte has come."""
        return self._connection.loop.time() - self._connection.received_s

    async def send_text(self, text: bytes) -> None:
        """Write one text frame, of UTF-8; return when it is on its way.

        Raises:
            LinkLostError: the connection is gone, or takes nothing.
        """
        await self._send(text, is_text=True)

    async def send_binary(self, payload: bytes) -> None:
        """Write one binary frame; return and raise as ``send_text``."""
        await self._send(payload, is_text=False)

    async def _send(self, payload: bytes, *, is_text: bool) -> None:
        try:
            async with asyncio.timeout(WRITE_S + len(payload) / SLOWEST_BYTES_PER_S):
                await self._connection.send(payload, text=is_text)
        except TimeoutError:
            text = f"the cloud has not taken {len(payload)} bytes for {WRITE_S:g} s and more"
            raise LinkLostError("stalled", text) from None
        except (WebSocketException, OSError) as error:
            raise _lost(error) from error

    async def receive(self) -> str | bytes:
        """Return the content of the next frame: text, or the bytes of a binary one.

        Raises:
            LinkLostError: the connection is gone.
        """
        try:
            return await self._connection.recv()
        except (WebSocketException, OSError) as error:
            raise _lost(error) from error

    async def ping(self, patience_s: float) -> None:
        """Ask for a sign of life; it shows in ``idle_s``.

        Raises:
            LinkLostError: the connection is gone.
        """
        try:
            async with asyncio.timeout(patience_s):
                await self._connection.ping()
        except TimeoutError:
            return  # it could not even be written: no sign of life will come
        except (WebSocketException, OSError) as error:
            raise _lost(error) from error

    async def close(self, code: int, reason: str) -> None:
        """End the connection and say why."""
        await _close(self._connection, code, reason)


@asynccontextmanager
async def dial(
    uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
) -> AsyncIterator[Link]:
    """Open a connection, and close it at the end of the context.

    Args:
        uri: ``wss://…``.
        headers: for the upgrade request.
        tls: with the node's certificate and the cloud's authority.
        handshake_s: seconds until TCP, TLS and the upgrade must be done.

    Raises:
        LinkLostError: it cannot be made; the text has the cloud's words.
    """
    made: list[_Connection] = []

    class Made(_Connection):
        """Known here also when the handshake fails."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    try:
        await connect(
            uri,
            additional_headers=headers,
            user_agent_header=None,
            subprotocols=[Subprotocol(PeerProtocol.CLOUDEDGE_V1)],
            compression=None,
            ssl=tls,
            proxy=None,
            open_timeout=handshake_s,
            close_timeout=_CLOSE_S,
            ping_interval=None,  # see Link.ping
            max_size=MAX_MESSAGE_BYTES,
            max_queue=_READ_AHEAD,
            write_limit=WRITE_AHEAD_BYTES,
            create_connection=Made,
        )
    except (WebSocketException, OSError, EOFError) as error:
        refusals = [connection.lost_by for connection in made]
        by_tls = next((e for e in refusals if isinstance(e, ssl.SSLError)), None)
        raise _lost(by_tls or error) from error
    connection = made[-1]
    plain: socket.socket = connection.transport.get_extra_info("socket")
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, WRITE_AHEAD_BYTES)
    try:
        yield Link(connection, capabilities.parse(headers.get(capabilities.HEADER)))
    finally:
        await _close(connection)
        connection.transport.abort()  # a half-open socket would linger until TCP gives up


async def _close(connection: _Connection, code: int = NORMAL, reason: str = "") -> None:
    """Say goodbye to whoever listens: a peer that takes nothing any more is not waited for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await connection.close(code, reason)


def _refused(response: Response) -> LinkLostError:
    body = (response.body or b"").decode(errors="replace").strip()
    text = f"refused: {response.status_code} {body or response.reason_phrase}"[:_MAX_REASON_CHARS]
    if REVOKED in response.headers.get_all(REFUSAL_HEADER):
        return LinkLostError(REVOKED, text, is_certificate=True)
    return LinkLostError("refused", text)


def _closed(code: int, reason: str) -> LinkLostError:
    text = f"closed by the cloud: {code} {reason}".rstrip()[:_MAX_REASON_CHARS]
    if code == UNACCEPTED:
        return LinkLostError(REVOKED, text, is_certificate=True)
    return LinkLostError("replaced" if code == REPLACED else "closed", text)


def _lost(error: Exception) -> LinkLostError:
    """Return what ``error`` means, with the words of the other side where there are some."""
    match error:
        case InvalidStatus():
            return _refused(error.response)
        case InvalidMessage():
            # What Python's servers do to a client whose certificate they refuse: they just go.
            text = "the cloud went away before it said anything; it may refuse our certificate"
            return LinkLostError("handshake", text, is_certificate=True)
        case InvalidHandshake():
            return LinkLostError("handshake", f"handshake failed: {error}"[:_MAX_REASON_CHARS])
        case ConnectionClosed() if error.rcvd is not None:
            return _closed(error.rcvd.code, error.rcvd.reason)
        case TimeoutError():
            return LinkLostError("timeout", "the cloud did not answer in time")
    return _broken(error)


def _broken(error: Exception) -> LinkLostError:
    """Return what ``error`` means, of which the other side has not said anything."""
    if _is_too_big(error):
        return LinkLostError("too_large", f"the cloud sent more than {MAX_MESSAGE_BYTES} bytes")
    cause = error.__cause__ if isinstance(error, ConnectionClosed) else error
    if isinstance(cause, UnicodeDecodeError):
        return LinkLostError("malformed", "the cloud sent text that is not UTF-8")
    if isinstance(cause, ssl.SSLCertVerificationError):
        text = f"the cloud's certificate is not accepted: {cause.verify_message}"
        return LinkLostError("certificate", text[:_MAX_REASON_CHARS], is_certificate=True)
    if isinstance(cause, ssl.SSLError):
        text = f"TLS failed: {cause.reason or cause}"
        is_certificate = "CERTIFICATE" in str(cause.reason)
        return LinkLostError("tls", text[:_MAX_REASON_CHARS], is_certificate=is_certificate)
    found = cause or error
    text = (isinstance(found, OSError) and found.strerror) or str(found)
    return LinkLostError("broken", text[:_MAX_REASON_CHARS] or "broken")


def _is_too_big(error: Exception) -> bool:
    if not isinstance(error, ConnectionClosed) or error.sent is None:
        return False
    return error.sent.code == CloseCode.MESSAGE_TOO_BIG
