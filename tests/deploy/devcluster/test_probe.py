"""The readiness probe, against real sockets; the servers behind them are made up."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.devcluster import credentials
from deploy.devcluster.ports import LOOPBACK, free_ports
from deploy.devcluster.probe import Probe

pytestmark = pytest.mark.both_loops


@asynccontextmanager
async def server(
    answer: bytes, asked: list[bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0, ssl=tls) as running:
        yield int(running.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nok", True),
        (b"HTTP/1.0 500 Internal Server Error\r\n\r\n", False),
        (b"HTTP/1.0 404 Not Found\r\n\r\n200", False),
        (b"\r\n", False),
        (b"", False),
    ],
)
async def test_only_the_status_200_means_ready(answer: bytes, ready: bool) -> None:  # noqa: FBT001
    async with server(answer, []) as port:
        assert await Probe(port, "/readyz")() is ready


async def test_nobody_listening_means_not_ready() -> None:
    (port,) = free_ports(1)
    assert not await Probe(port, "/readyz")()


async def test_the_request_names_the_path_and_shows_the_token() -> None:
    asked: list[bytes] = []
    async with server(b"HTTP/1.0 200 OK\r\n\r\n", asked) as port:
        await Probe(port, "/api/v1", token="abc")()
    assert asked[0].startswith(b"GET /api/v1 HTTP/1.0\r\n")
    assert b"\r\nAuthorization: Bearer abc\r\n" in asked[0]


async def test_a_server_that_another_ca_vouches_for_is_not_ready(tmp_path: Path) -> None:
    ours = credentials.load_or_create(tmp_path / "ours")
    theirs = credentials.load_or_create(tmp_path / "theirs")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(ours.server_cert, ours.server_key)
    async with server(b"HTTP/1.0 200 OK\r\n\r\n", [], tls) as port:
        assert await Probe(port, "/readyz", ca_file=ours.ca_cert)()
        assert not await Probe(port, "/readyz", ca_file=theirs.ca_cert)()
