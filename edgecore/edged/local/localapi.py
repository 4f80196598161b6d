"""A kubelet's endpoint for those who sit at the machine: pods, statistics, logs and exec over HTTP.

It is bound to loopback, where everybody on the machine may connect, pods on its network too. So all
but ``/healthz`` wants a bearer token, which is written for this run to a file that only edgecore's
own user can read.

The server runs in threads of its own, so that it also answers when the event loop is stuck, and so
that a long log holds nobody up.
"""

import asyncio
import logging
import secrets
import sys
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6
from socketserver import TCPServer
from typing import Any, Final

from common.files import write_private
from edgecore.edged.local.localroutes import (
    GetHealth,
    RefusalError,
    Wanted,
    is_authorized,
    is_local_host,
    route,
)
from edgecore.edged.local.localservice import LocalService, Reply, problem

logger = logging.getLogger(__name__)

TOKEN_FILE: Final = "local-token"  # noqa: S105 - the name of its file
MAX_CONNECTIONS: Final = 16

_SOCKET_TIMEOUT_S: Final = 10.0
"""Of each read and write: a client that does nothing holds a thread no longer."""
_STOP_TIMEOUT_S: Final = 2.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: LocalService, token: str) -> None:
        self.service, self.token = service, token
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, and no more: the base class asks the name servers how its own address is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, unless there are too many."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, *_: Any) -> None:
        """Say little of clients that went away in the middle of an answer."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        logger.log(level, "local request failed", extra={"why": f"{error!r}"[:256]})


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SOCKET_TIMEOUT_S

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        try:
            wanted = self._admit()
        except RefusalError as refusal:
            self._send(problem(refusal.code, str(refusal)))
        else:
            self._send(self.server.service.reply(wanted))

    def _admit(self) -> Wanted:
        """Return what is asked for, by somebody who may.

        Raises:
            RefusalError: it is answered to nobody, or not to this client.
        """
        headers = self.headers
        if not is_local_host(headers.get("Host", "")):
            raise RefusalError(HTTPStatus.FORBIDDEN, "the header Host must name loopback")
        if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "send no body")
        wanted = route(self.command, self.path)
        if isinstance(wanted, GetHealth):
            return wanted
        if not is_authorized(headers.get("Authorization", ""), self.server.token):
            words = f"send the bearer token that is in {TOKEN_FILE} in edgecore's data folder"
            raise RefusalError(HTTPStatus.UNAUTHORIZED, words)
        return wanted

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.code)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        if reply.code is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        parts: Iterable[bytes] = reply.body if not isinstance(reply.body, bytes) else (reply.body,)
        if isinstance(reply.body, bytes):  # else the end of the connection is the body's end
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def version_string(self) -> str:
        """Return who answers."""
        return "edgecore"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: scrapes every few seconds are no news."""


@asynccontextmanager
async def local_api(
    address: tuple[str, int], service: LocalService, data_dir: Path
) -> AsyncIterator[int]:
    """Serve the local endpoint while the context lasts; yield the port.

    Args:
        address: of loopback, as ``parse_address`` returns it; port 0 for any that is free.
        service: what answers.
        data_dir: where ``local-token`` is written to, with another token each time.

    Raises:
        OSError: the address is taken, or the token cannot be written.
    """
    token = secrets.token_urlsafe(32)
    with _Server(address, service, token) as server:
        await asyncio.to_thread(write_private, data_dir / TOKEN_FILE, f"{token}\n".encode())
        threading.Thread(target=server.serve_forever, name="local api", daemon=True).start()
        try:
            yield server.server_port
        finally:
            # In a thread: what is served now may need the event loop to come to its end.
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await asyncio.to_thread(server.shutdown)
            except TimeoutError:  # no reason for edgecore to fail: it ends a little later
                logger.warning("the local endpoint takes long to end, and is not waited for")
                threading.Thread(target=server.shutdown, name="local api ends", daemon=True).start()
