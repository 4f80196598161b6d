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
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from common import capabilities, issuing, pki, subjects
from common.beehive.message import Message, new, raw
from common.capabilities import Capabilities
from common.names import (
    AUTHORITY_HEADER,
    CLUSTER_HEADER,
    VERSION_HEADER,
    ModuleName,
    NodeID,
    Operation,
    PeerProtocol,
)
from common.proof import check_renewal, read_headers
from common.tls import server_context
from common.wire import decode, encode

HOST = "127.0.0.1"
VERSION = "1.2.3"
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
        self.authority = issuing.new_authority(now)
        """Signs the certificates of nodes."""
        self.earlier: issuing.Authority | None = None
        """Trusted still, while ``authority`` follows it."""
        self.folder = folder
        self.cert_file, self.key_file = folder / "cloud.crt", folder / "cloud.key"
        self.show(now)
        self.token = f"{pki.fingerprint(self.authority.der)}.{JWT}"
        self._contexts: list[ssl.SSLContext] = []
        self.websocket_port = 0
        self.https_port = 0
        self.protocol: PeerProtocol | None = None
        self.capabilities: Capabilities = capabilities.NONE
        """Said where there are any; a cloud of the first version says nothing."""
        self.cluster = ""
        """UID of its cluster, said where there is one."""
        self.says_authority = False
        self.has_bundle = True
        self.knows_proofs = True
        self.renewal_refusal: tuple[int, bytes] | None = None
        self.renewals: list[tuple[str, str]] = []
        """``proof`` or ``tls``, and the newest authority that the edge says that it trusts."""
        self.enrolments: list[str] = []
        self.keys: list[bytes] = []
        """The public keys that asked with a token, DER."""
        self.enrolment_status = 200
        self.issue_for: str | None = None
        self.clock_ahead = timedelta()
        self.requests: list[Request] = []
        self.refuse_with: tuple[HTTPStatus, str] | None = None

    def show(self, made: datetime) -> None:
        """Show a certificate that was made then, and is good for a year, from ``listening`` on."""
        key = pki.new_key()
        certificate = issuing.issue_server(self.authority, key, [HOST], made)
        self.cert_file.write_text(certificate.public_bytes(Encoding.PEM).decode())
        self.key_file.write_bytes(pki.key_to_pem(key))

    def rotate(self) -> issuing.Authority:
        """Have another authority sign from now on; return it. The cloud's certificate stays."""
        self.earlier, self.authority = self.authority, issuing.new_authority(datetime.now(UTC))
        self.says_authority = True
        for context in self._contexts:
            context.load_verify_locations(cadata=self.authority.pem)
        return self.authority

    def trusted(self) -> list[issuing.Authority]:
        """Return the authorities whose nodes are let in."""
        return [one for one in (self.authority, self.earlier) if one is not None]

    def issue(self, csr: bytes, node: str) -> bytes:
        """Return the certificate for a request; for another node or key where a test wants it."""
        if self.issue_for is not None:
            node = self.issue_for
            csr = subjects.new_csr(pki.new_key(), NodeID(node))
        return issuing.issue_node(self.authority, csr, NodeID(node), self.now()).der

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_ahead

    def tls(self) -> ssl.SSLContext:
        pems = "".join(one.pem for one in self.trusted())
        context = server_context(self.cert_file, self.key_file, client_ca_pem=pems)
        self._contexts.append(context)
        return context

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
                response.headers[VERSION_HEADER] = VERSION
            if self.says_authority:
                response.headers[AUTHORITY_HEADER] = pki.fingerprint(self.authority.der)

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


class _Handler(BaseHTTPRequestHandler):
    cloud: TestCloud

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/edge.crt":
            self._say(*self._certificate(body))
        else:
            found = self._authorities()
            self._say(200 if found else 404, found or b"no such thing")

    def _authorities(self) -> bytes | None:
        path, _, fingerprint = self.path.partition("?fingerprint=")
        if path == "/ca.pem" and self.cloud.has_bundle:
            return "".join(one.pem for one in self.cloud.trusted()).encode()
        if path != "/ca.crt":
            return None
        ders = {pki.fingerprint(one.der): one.der for one in self.cloud.trusted()}
        return ders.get(fingerprint) if fingerprint else self.cloud.authority.der

    def _certificate(self, csr: bytes) -> tuple[int, bytes]:
        cloud, node = self.cloud, self.headers["NodeName"]
        if self.headers.get("Authorization") is None:
            return self._renewed(csr)
        if self.headers.get("Authorization") != f"Bearer {JWT}":
            return 401, b"token is not valid"
        key = x509.load_der_x509_csr(csr).public_key()
        cloud.keys.append(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        if cloud.enrolment_status != 200:
            return cloud.enrolment_status, b"not today"
        cloud.enrolments.append(node)
        return 200, cloud.issue(csr, node)

    def _renewed(self, csr: bytes) -> tuple[int, bytes]:
        cloud, connection = self.cloud, self.connection
        assert isinstance(connection, ssl.SSLSocket)
        if cloud.renewal_refusal is not None:
            return cloud.renewal_refusal
        shown = read_headers(self.headers) if cloud.knows_proofs else None
        if shown is not None:
            check_renewal(shown.certificate, csr, shown.proof)
        elif not connection.getpeercert():
            return 401, b"a join token is needed"
        how = "tls" if shown is None else "proof"
        cloud.renewals.append((how, self.headers.get(AUTHORITY_HEADER, "")))
        return 200, cloud.issue(csr, self.headers["NodeName"])

    def _say(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that go because they do not trust this cloud."""


class _Enrolment:
    """The HTTPS endpoint, in a thread."""

    def __init__(self, cloud: TestCloud) -> None:
        self._cloud = cloud

    def __enter__(self) -> int:
        cloud = self._cloud

        handler = type("Handler", (_Handler,), {"cloud": cloud})
        context = cloud.tls()
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = _Server((HOST, 0), handler)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
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
