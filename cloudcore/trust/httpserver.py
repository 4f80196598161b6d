"""An HTTPS server that strangers may talk to: whatever a request has of something has a bound.

What is no request at all never reaches the application. It is counted and told of in one line: the
library would log what came, in which may be a token, and where it has failed.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener
from cloudcore.cloudhub.places import origin_of
from common.metrics import MessageMetrics

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES: Final = 8 * 1024
"""Of one header, and of the request line."""

MAX_HEADERS: Final = 64

RECEIVE_BYTES: Final = 16 * 1024
"""What the kernel keeps of a connection until it is read, about: it comes in one piece, and as much
memory is touched. Requests are small."""

KEEPALIVE_TIMEOUT_S: Final = 5.0

LIMITS: Final = AcceptLimits(
    handshakes=16,
    handshakes_per_address=8,
    connections=256,
    connections_per_address=64,
    lifetime_s=60.0,
)
"""An edge has at most two short exchanges in a year, and a minute for each."""

_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_TIMEOUT_S,
    "max_line_size": MAX_HEADER_BYTES,
    "max_field_size": MAX_HEADER_BYTES,
    "max_headers": MAX_HEADERS,
    "auto_decompress": False,  # what is asked for here is small: who compresses means harm
}


_THEIRS: Final = (
    web.RequestPayloadError,  # raised to whoever reads a body that is damaged
    HttpProcessingError,
    ConnectionError,  # or does not come
    UnicodeEncodeError,  # by an answer of the library that quotes what is no text
)


class Handler(web.RequestHandler):
    """A connection."""

    __slots__ = ("_metrics",)

    def __init__(self, server: web.Server, metrics: MessageMetrics) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **_OPTIONS)
        self._metrics = metrics

    def data_received(self, data: bytes) -> None:
        """Take in ``data``, and let go of it where it cannot be read.

        The library keeps the error, the error the frame that it was raised through, and that frame
        the error and ``data``: it would all stay until Python looks for cycles.
        """
        super().data_received(data)
        for message, _ in self._messages:
            if not isinstance(message, RawRequestMessage):
                message.exc.with_traceback(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be understood; our own faults are the library's to tell of."""
        if isinstance(exc, _THEIRS):
            status = HTTPStatus.BAD_REQUEST
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        self._metrics.refused.inc("https_bad_request")
        logger.info(
            "request refused",
            extra={"address": request.remote, "detail": type(exc).__name__},
        )
        response = web.Response(status=status, text="this is no request that can be read here\n")
        response.force_close()
        return response


@asynccontextmanager
async def serving(
    application: web.Application,
    sockets: Sequence[socket.socket],
    context: Callable[[], ssl.SSLContext],
    metrics: MessageMetrics,
    *,
    limits: AcceptLimits = LIMITS,
) -> AsyncIterator[None]:
    """Serve ``application`` while the context lasts.

    Args:
        application: what is served.
        sockets: listening and non-blocking; closed at the end.
        context: returns TLS for the next connection.
        metrics: where refusals are counted.
        limits: what strangers may cost.
    """
    for one in sockets:  # what is accepted on them has the same
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    runner = web.AppRunner(application)
    await runner.setup()
    server = runner.server
    assert server is not None
    listener = Listener(
        "https",
        context,
        lambda: Handler(server, metrics),
        lambda: len(server.connections),
        lambda origin: sum(_origin(one) == origin for one in server.connections),
    )
    acceptor = Acceptor(sockets, listener, limits, metrics)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(acceptor.run(), name="https server")
            try:
                yield
            finally:
                acceptor.close()
    finally:
        await runner.cleanup()


def _origin(connection: web.RequestHandler) -> str:
    """Return whom an open connection is counted for; "" once it is none."""
    transport = connection.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    return origin_of(str(peer[0])) if peer else ""
