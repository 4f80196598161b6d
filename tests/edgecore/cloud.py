"""A cloud for tests of edgecore: real TLS, real WebSocket and HTTPS on loopback, no cluster.

What it says on a connection is up to the test: ``RecordedCloud.serve`` is called for each one.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from common import capabilities, pki
from common.beehive.message import Message, new, raw
from common.capabilities import Capabilities
from common.names import CLUSTER_HEADER, ModuleName, NodeID, Operation, PeerProtocol
from common.tls import server_context
from common.wire import decode, encode

HOST = "127.0.0.1"
JWT = "aaaa.bbbb.cccc"

Serve = Callable[["Peer"], Awaitable[None]]


@dataclass
class Peer:
    """One connection of an edge."""

    connection: ServerConnection
    sent: list[Message] = field(default_factory=list)
    received: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        await self.connection.send(encode(message), text=True)

    async def receive(self) -> Message:
        """Return the next message that is not a keepalive."""
        while True:
            message = decode(await self.connection.recv(decode=False))
            self.received.append(message)
            if message.operation is not Operation.KEEPALIVE:
                return message


def down(
    operation: Operation, resource: str, content: object, *, version: str = "", parent: str = ""
) -> Message:
    """Return a message as the edgecontroller sends it."""
    made = new(
        ModuleName.EDGE_CONTROLLER,
        "resource",
        operation,
        resource,
        raw(content),
        resource_version=version,
    )
    header = msgspec.structs.replace(made.header, parent_msg_id=parent)
    return Message(header, made.route, made.content)


def answer(request: Message, content: object, *, version: str = "") -> Message:
    """Return the edgecontroller's answer to ``request``."""
    return down(
        Operation.RESPONSE, request.resource, content, version=version, parent=request.msg_id
    )


class TestCloud:
    """The endpoints, and what they are told to do."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.authority = pki.new_authority(now)
        self.folder = folder
        key = pki.new_key()
        certificate = pki.issue_server(self.authority, key, [HOST], now)
        self.cert_file, self.key_file = folder / "cloud.crt", folder / "cloud.key"
        self.cert_file.write_text(certificate.public_bytes(Encoding.PEM).decode())
        self.key_file.write_bytes(pki.key_to_pem(key))
        self.token = f"{pki.fingerprint(self.authority.der)}.{JWT}"
        self.websocket_port = 0
        self.https_port = 0
        self.protocol: PeerProtocol | None = None
        self.capabilities: Capabilities = capabilities.NONE
        """Said where there are any; a cloud of the first version says nothing."""
        self.cluster = ""
        """UID of its cluster, said where there is one."""
        self.enrolments: list[str] = []
        self.enrolment_status = 200
        self.issue_for: str | None = None
        self.clock_ahead = timedelta()
        self.requests: list[Request] = []
        self.refuse_with: tuple[HTTPStatus, str] | None = None

    def issue(self, csr: bytes, node: str) -> bytes:
        """Return the certificate for a request; for another node or key where a test wants it."""
        if self.issue_for is not None:
            node = self.issue_for
            csr = pki.new_csr(pki.new_key(), NodeID(node))
        return pki.issue_node(self.authority, csr, NodeID(node), self.now()).der

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_ahead

    def tls(self) -> ssl.SSLContext:
        return server_context(self.cert_file, self.key_file, client_ca_pem=self.authority.pem)

    @asynccontextmanager
    async def listening(self, serve_peer: Serve, *, port: int = 0) -> AsyncIterator["TestCloud"]:
        """Accept connections while the context lasts."""

        async def handler(connection: ServerConnection) -> None:
            await serve_peer(Peer(connection))

        def process(connection: ServerConnection, request: Request) -> Response | None:
            self.requests.append(request)
            if self.refuse_with is None:
                return None
            return connection.respond(*self.refuse_with)

        def answer(_: ServerConnection, __: Request, response: Response) -> None:
            if self.capabilities:
                response.headers[capabilities.HEADER] = capabilities.render(self.capabilities)
            if self.cluster:
                response.headers[CLUSTER_HEADER] = self.cluster

        def select(_: object, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            wanted = None if self.protocol is None else Subprotocol(self.protocol)
            return wanted if wanted in offered else None

        async with serve(
            handler,
            HOST,
            port,
            ssl=self.tls(),
            process_request=process,
            process_response=answer,
            select_subprotocol=select,
            compression=None,
            ping_interval=None,
            close_timeout=1,
        ) as server:
            self.websocket_port = next(iter(server.sockets)).getsockname()[1]
            with _Enrolment(self) as self.https_port:
                yield self


class _Enrolment:
    """The HTTPS endpoint, in a thread."""

    def __init__(self, cloud: TestCloud) -> None:
        self._cloud = cloud

    def __enter__(self) -> int:
        cloud = self._cloud

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/ca.crt":
                    self._say(200, cloud.authority.der)
                elif self.headers.get("Authorization") != f"Bearer {JWT}":
                    self._say(401, b"token is not valid")
                elif cloud.enrolment_status != 200:
                    self._say(cloud.enrolment_status, b"not today")
                else:
                    node = self.headers["NodeName"]
                    cloud.enrolments.append(node)
                    self._say(200, cloud.issue(body, node))

            def _say(self, code: int, content: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        context = cloud.tls()
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; the test's timeout ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - what is waited for may be anything
        await asyncio.sleep(0.005)
