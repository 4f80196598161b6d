"""A WebSocket connection without tasks: bytes in, frames to the session; frames out, in one write.

The library's sans-IO protocol does the handshake and takes frames apart; a connection needs no task
of its own to read or write, which at thousands of connections is most of their memory. Frames of a
server are not masked (RFC 6455, section 5.1), so what is written to many nodes is the same bytes.

Source: https://websockets.readthedocs.io/en/stable/howto/sansio.html
"""

import asyncio
import struct
from http import HTTPStatus
from typing import Final, Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import CONNECTING, OPEN, Event
from websockets.server import ServerProtocol

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.handshake import Terms
from common import capabilities
from common.capabilities import NONE, Capabilities
from common.names import NodeID, PeerProtocol

READ_BYTES: Final = 64 * 1024
"""What is read at a time, of a buffer's size. Without a buffer, uvloop makes one of 256 KiB for
whatever it reads."""

WRITE_LIMIT_BYTES: Final = 16 * 1024
"""Unsent bytes above which nothing more is written: what waits elsewhere can still be overtaken."""

MAX_REQUEST_BYTES: Final = 16 * 1024
"""Of a request to open a connection, all of it: that of an edge has less than one KiB."""

_SMALL_BYTES: Final = 1024
"""Fragments have 4 KiB where Go's libraries make them."""

_FINAL: Final = 0x80
_MAX_SHORT: Final = 125
_MAX_MEDIUM: Final = 0xFFFF
_TWO_BYTES: Final = struct.Struct(">BBH")
_EIGHT_BYTES: Final = struct.Struct(">BBQ")
_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})


class Receiver(Protocol):
    """Whom a connection tells what happens to it. None of these may raise or wait."""

    def received(self, payload: bytes, *, is_text: bool) -> None:
        """Take a whole message."""

    def disturbed(self) -> None:
        """Take note of a frame that is no message and brings little: a ping, a small fragment."""

    def writable(self) -> None:
        """Take note that the connection takes bytes again."""

    def lost(self, close: Close | None) -> None:
        """Take note that it is gone; ``close`` is why the library has refused what came."""


class Door(Protocol):
    """Who decides about a connection until it is open; the server."""

    def begun(self, connection: "HubConnection") -> None:
        """Take note of a connection whose TLS is established."""

    def answer(self, connection: "HubConnection", request: Request) -> Response:
        """Return the response to a request; one of status 101 opens the connection."""

    def opened(self, connection: "HubConnection") -> Receiver:
        """Return who gets what comes from now on."""

    def failed(self, connection: "HubConnection", reason: str, detail: str) -> None:
        """Take note that there was no handshake."""

    def closed(self, connection: "HubConnection") -> None:
        """Take note that the connection is gone, whether or not it was ever open."""


class HubConnection(asyncio.BufferedProtocol):
    """What its slots without an underscore tell of the peer is set by the handshake."""

    # An attribute that is new to an object which uvloop has looked at makes CPython give it a
    # dictionary with names of its own, 1.5 KiB: so these are slots.
    __slots__ = (
        "_backlog",
        "_buffer",
        "_door",
        "_is_paused",
        "_is_text",
        "_loop",
        "_open_timeout_s",
        "_out",
        "_parts",
        "_pong",
        "_protocol",
        "_receiver",
        "_request_bytes",
        "_timer",
        "_transport",
        "capabilities",
        "is_writable",
        "issuer",
        "last_received_s",
        "node",
        "peer_protocol",
        "serial",
    )

    node: NodeID
    peer_protocol: PeerProtocol
    serial: int
    issuer: str | None
    _transport: asyncio.Transport

    def __init__(
        self, protocol: ServerProtocol, door: Door, buffer: memoryview, *, open_timeout_s: float
    ) -> None:
        """Make a connection.

        Args:
            protocol: takes frames apart.
            door: decides.
            buffer: what is read goes here first; connections of one event loop share it.
            open_timeout_s: seconds that the request may take to come.
        """
        self._protocol, self._door, self._open_timeout_s = protocol, door, open_timeout_s
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._timer: asyncio.TimerHandle | None = None  # while there was no request
        self._request_bytes = 0  # that have come of it
        self._out: list[bytes] = []
        self._parts = bytearray()  # of a message that comes in fragments, however many
        self._is_text = False  # whether that is text
        self._pong = b""  # that waits for a peer which takes nothing
        self._backlog: list[Event] = []  # that came while reading was paused
        self._is_paused = False
        self.issuer = None  # until the certificate has been looked at
        self.capabilities: Capabilities = NONE
        self.is_writable = True
        self.last_received_s = self._loop.time()
        """Monotonic seconds; any byte counts, so that a slow link is not a dead one."""

    # --- for the session -------------------------------------------------------------------------

    def send(self, payload: bytes, *, is_text: bool) -> None:
        """Prepare one frame; ``flush`` writes all that are prepared."""
        self._out.append(_frame_head(len(payload), is_text=is_text))
        self._out.append(payload)

    def flush(self) -> None:
        """Write what was prepared; nothing, where the peer has begun to close."""
        if self._out and self._protocol.state is OPEN:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self, code: int, reason: str) -> None:
        """Begin to close; the peer's answer ends the connection, or ``abort`` does."""
        self.flush()
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
            self._settle()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._transport.abort()

    def unsent_bytes(self) -> int:
        """Return how many written bytes TLS has not passed on; see ``acceptor`` for the rest."""
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Take nothing in, and let the peer feel it, until ``resume_reading``."""
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on where ``pause_reading`` has stopped."""
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
            self._deliver()

    # --- for the handshake -----------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The peer's address."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if peer else "?"

    @property
    def certificate(self) -> dict[str, object]:
        """What the client has shown; empty for nothing, and once the connection is open."""
        return self._transport.get_extra_info("peercert") or {}

    def certificate_der(self) -> bytes:
        """Return what ``certificate`` is the summary of, while the handshake lasts."""
        der: bytes = self._transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return der

    def accept(self, request: Request, terms: Terms) -> Response:
        """Return the response that opens the connection, if ``request`` is as it should be.

        With peers of our own protocol, ``terms`` are agreed on.
        """
        response = self._protocol.accept(request)
        self.peer_protocol = PeerProtocol(self._protocol.subprotocol or PeerProtocol.KUBEEDGE)
        if self.peer_protocol is PeerProtocol.CLOUDEDGE_V1:
            offered = request.headers.get_all(capabilities.HEADER)
            self.capabilities = capabilities.agree(terms.capabilities, offered)
            for name, value in terms.headers(self.capabilities):
                response.headers[name] = value
        return response

    def reject(self, status: HTTPStatus, text: str) -> Response:
        """Return the response that does not."""
        return self._protocol.reject(status, text)

    # --- for the event loop ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's is one in all but its ancestors.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT_BYTES)
        self._timer = self._loop.call_later(self._open_timeout_s, self._give_up)
        self._door.begun(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - more is read next
        """Return where what comes is to be put."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes apart."""
        data = bytes(self._buffer[:nbytes])
        self.last_received_s = self._loop.time()
        if self._timer is not None and self._is_too_much(nbytes):
            return
        self._protocol.receive_data(data)
        self._settle()

    def eof_received(self) -> None:
        """Take note that the peer sends no more; the transport then closes by itself."""
        self._protocol.receive_eof()
        self._settle()

    def pause_writing(self) -> None:
        """Take note that the peer or the link is slow."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """Go on writing."""
        self.is_writable = True
        pong, self._pong = self._pong, b""
        if pong and self._protocol.state is OPEN:
            self._transport.write(pong)
        if self._receiver is not None:
            self._receiver.writable()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why matters to nobody
        """Tell everybody, and let go of everything."""
        self._stop_timer()
        self._door.closed(self)
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(self._refused())
        self._backlog.clear()
        self._parts.clear()

    # --- inside ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Write what the protocol wants to say, and pass on what it has understood."""
        for data in self._protocol.data_to_send():
            if not data:  # its sign for the end
                self._transport.close()
            elif self.is_writable or self._protocol.state is not OPEN:
                self._transport.write(data)
            else:
                # While it is open, it writes pongs only, of which the newest stands for the others
                # (RFC 6455, section 5.5.3): a peer that takes none cannot make them pile up.
                self._pong = data
        if self._timer is not None and self._protocol.handshake_exc is not None:
            self._fail()
        events = self._protocol.events_received()
        if events:
            self._backlog += events
            self._deliver()

    def _deliver(self) -> None:
        taken = 0
        while taken < len(self._backlog) and not self._is_paused:
            event = self._backlog[taken]
            taken += 1
            if isinstance(event, Frame):
                self._take(event)
            elif isinstance(event, Request):
                self._shake_hands(event)
        del self._backlog[:taken]

    def _take(self, frame: Frame) -> None:
        if self._receiver is None:
            return
        if frame.opcode not in _DATA:
            self._receiver.disturbed()
            return
        data = bytes(frame.data)
        if frame.opcode is not Opcode.CONT and frame.fin:
            self._receiver.received(data, is_text=frame.opcode is Opcode.TEXT)
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT  # the protocol has seen to the order
        self._parts += data
        if frame.fin:
            whole = bytes(self._parts)
            self._parts = bytearray()
            self._receiver.received(whole, is_text=self._is_text)
        elif len(data) < _SMALL_BYTES:
            self._receiver.disturbed()

    def _shake_hands(self, request: Request) -> None:
        self._protocol.send_response(self._door.answer(self, request))
        if self._protocol.state is OPEN:
            self._stop_timer()
            self._forget_handshake(request)
            self._receiver = self._door.opened(self)
        self._settle()

    def _is_too_much(self, nbytes: int) -> bool:
        """Count bytes of a request; end the connection, and say so, where they are too many.

        The library bounds each line and their number: that makes a MiB.
        """
        self._request_bytes += nbytes
        if self._request_bytes <= MAX_REQUEST_BYTES:
            return False
        self._stop_timer()
        detail = f"a request of more than {MAX_REQUEST_BYTES} bytes"
        self._door.failed(self, "request_too_large", detail)
        self._transport.abort()
        return True

    def _fail(self) -> None:
        """Note that what came is no request of a WebSocket client."""
        self._stop_timer()
        self._door.failed(self, "bad_request", str(self._protocol.handshake_exc))

    def _forget_handshake(self, request: Request) -> None:
        """Let go of what only the handshake needs, for as long as the node is connected: 7 KiB.

        The protocol keeps the request itself.
        """
        request.headers.clear()
        certificate = self._transport.get_extra_info("peercert")  # the transport's own dictionary
        if certificate is not None:
            certificate.clear()

    def _give_up(self) -> None:
        self._timer = None
        if self._protocol.state is CONNECTING:
            detail = f"no request within {self._open_timeout_s:g} s"
            self._door.failed(self, "handshake_timeout", detail)
        self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refused(self) -> Close | None:
        """Return what the library has closed the connection for; None where it has not."""
        protocol = self._protocol
        if protocol.parser_exc is None or protocol.close_sent is None:
            return None
        return closing.by_library(protocol.close_sent.code, protocol.close_sent.reason)


def _frame_head(size: int, *, is_text: bool) -> bytes:
    """Return what stands before a payload. Source: RFC 6455, section 5.2."""
    first = _FINAL | (Opcode.TEXT if is_text else Opcode.BINARY)
    if size <= _MAX_SHORT:
        return bytes((first, size))
    if size <= _MAX_MEDIUM:
        return _TWO_BYTES.pack(first, 126, size)
    return _EIGHT_BYTES.pack(first, 127, size)
