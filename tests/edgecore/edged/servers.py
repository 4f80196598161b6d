"""Servers in the test process, for what calls out: they say what they are told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from common import issuing, pki
from deploy.devcluster.ports import free_ports

HOST = "127.0.0.1"


@dataclass
class Server:
    """A server that has its answers ready, one for each connection; the last one is repeated."""

    answers: list[bytes]
    """For an empty one it says nothing."""
    requests: list[str] = field(default_factory=list)
    """The heads of the requests that came."""
    port: int = 0
    stays: bool = True
    """Whether it waits until the client leaves."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode())
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            if answer:
                writer.write(answer)
                if writer.can_write_eof():
                    writer.write_eof()
            if self.stays:
                await reader.read()
        writer.transport.abort()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Have ``serve`` see each connection to a port, which is yielded; wait for it at the end."""
    async with asyncio.TaskGroup() as connections:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.create_task(serve(reader, writer))

        async with await asyncio.start_server(connected, HOST, 0, ssl=tls) as server:
            yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def serving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server on a port of its own."""
    made = Server(list(answers))
    async with listening(made.serve, tls=tls) as made.port:
        yield made


def answer(status: int, body: str = "", *headers: str) -> bytes:
    """Return an HTTP answer without the words that nobody needs."""
    lines = [f"HTTP/1.1 {status} Word", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", body]).encode()


def self_made_tls(directory: Path) -> ssl.SSLContext:
    """Return what a server shows that nobody has a reason to trust."""
    now = datetime.now(UTC)
    key = pki.new_key()
    certificate = issuing.issue_server(issuing.new_authority(now), key, ["elsewhere.example"], now)
    chain, private = directory / "cert.pem", directory / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(pki.key_to_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    return context


def free_port() -> int:
    """Return a port at which nobody listens."""
    return free_ports(1)[0]
