"""The bounds of a request. Real: HTTPS on loopback; the application tells how long a body was.

Each bound is tried at the last value that is served and the first that is not.
"""

import asyncio
import gc
import logging
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.acceptor import AcceptLimits, bind
from cloudcore.trust.httpserver import (
    LIMITS,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    RECEIVE_BYTES,
    Handler,
    serving,
)
from common import tls
from common.metrics import MessageMetrics
from tests.cloudcore.cloudhub.stage import HOST, Certificates, until
from tests.cloudcore.cluster import eventually

pytestmark = pytest.mark.both_loops

MAX_BODY_BYTES = 100


@dataclass
class World:
    """A server, and a stranger."""

    port: int
    registry: CollectorRegistry
    client: ssl.SSLContext

    def refused(self, reason: str) -> float:
        labels = {"reason": f"https_{reason}"}
        return self.registry.get_sample_value("cloudcore_refusals_total", labels) or 0.0

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self.port, ssl=self.client)

    async def say(self, *lines: bytes, body: bytes = b"") -> tuple[int, bytes]:
        """Return the status and the body of the answer to a request of these lines."""
        reader, writer = await self.open()
        head = b"".join(line + b"\r\n" for line in (b"GET / HTTP/1.1", b"Host: x", *lines))
        writer.write(head + b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        start, _, text = answer.partition(b"\r\n\r\n")
        return int(start.split()[1]), text

    async def is_served(self) -> bool:
        """Whether a request is answered: not where this machine is slower than a limit is short."""
        with suppress(ConnectionError, ssl.SSLError, IndexError):  # no answer has no status
            return (await self.say())[0] == 200
        return False


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError, ssl.SSLError):  # it is cut
        await reader.read()


Open = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def world(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(limits: AcceptLimits = LIMITS) -> AsyncIterator[World]:
        async def measure(request: web.Request) -> web.Response:
            if request.headers.get("Fail"):
                raise LookupError("a fault of ours")
            return web.Response(text=str(len(await request.read())))

        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_get("/", measure)
        certificates, sockets = Certificates(tmp_path), bind([(HOST, 0)])
        server, registry = certificates.server(ssl.CERT_OPTIONAL), CollectorRegistry()
        made = World(
            sockets[0].getsockname()[1], registry, tls.client_context(certificates.authority.pem)
        )
        metrics = MessageMetrics(registry, "cloudcore")
        async with serving(application, sockets, lambda: server, metrics, limits=limits):
            yield made

    return opened


async def test_a_header_has_a_size(world: Open) -> None:
    async with world() as one:
        fits = b"X" * (MAX_HEADER_BYTES - 100)
        assert (await one.say(b"X: " + fits))[0] == 200
        assert (await one.say(b"X: " + b"x" * (MAX_HEADER_BYTES + 1)))[0] == 400
        assert one.refused("bad_request") == 1


async def test_a_request_has_so_many_headers(world: Open) -> None:
    async with world() as one:
        fits = [b"X: x"] * (MAX_HEADERS - 3)
        assert (await one.say(*fits))[0] == 200
        assert (await one.say(*[b"X: x"] * (MAX_HEADERS + 1)))[0] == 400
        assert one.refused("bad_request") == 1


async def test_a_body_has_a_size_however_it_is_sent(world: Open) -> None:
    async with world() as one:
        for size, status in ((MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)):
            body = b"x" * size
            assert (await one.say(b"Content-Length: %d" % size, body=body))[0] == status
            chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
            assert (await one.say(b"Transfer-Encoding: chunked", body=chunked))[0] == status


@pytest.mark.parametrize("encoding", [b"deflate", b"gzip"])
async def test_nothing_is_decompressed(world: Open, encoding: bytes) -> None:
    wbits = {b"deflate": zlib.MAX_WBITS, b"gzip": zlib.MAX_WBITS | 16}[encoding]
    packer = zlib.compressobj(wbits=wbits)
    bomb = packer.compress(bytes(50_000)) + packer.flush()
    assert len(bomb) <= MAX_BODY_BYTES
    lines = (b"Content-Encoding: " + encoding, b"Content-Length: %d" % len(bomb))
    async with world() as one:
        assert await one.say(*lines, body=bomb) == (200, str(len(bomb)).encode())


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization SECRET-TOKEN\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: \xec\xe3SECRET-TOKEN\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_counted_and_what_it_said_stands_in_no_log(
    world: Open, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    caplog.set_level(logging.INFO)
    async with world() as one:
        reader, writer = await one.open()
        writer.write(said)
        assert (await reader.read()).startswith(b"HTTP/1.")
        writer.close()
        assert one.refused("bad_request") == 1
    assert "SECRET-TOKEN" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_cannot_be_read_is_let_go_of_with_its_connection(world: Open) -> None:
    def held() -> int:
        return sum(isinstance(one, Handler) for one in gc.get_objects())

    async with world() as one:
        gc.collect()
        gc.disable()
        try:
            before = held()
            for _ in range(3):
                reader, writer = await one.open()
                # More than is read at once: some of it is never looked at.
                writer.write(b"GET / HTTP/1.1\r\nno header\r\n" * RECEIVE_BYTES)
                await _to_the_end(reader)
                writer.close()
            await until(lambda: held() == before)
        finally:
            gc.enable()


async def test_a_body_that_is_damaged_is_counted_and_answered(world: Open) -> None:
    async with world() as one:
        status, _ = await one.say(b"Transfer-Encoding: chunked", body=b"zz\r\nx\r\n")
        assert (status, one.refused("bad_request")) == (400, 1)


async def test_who_goes_before_the_body_has_come_is_counted_and_no_fault_of_ours(
    world: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as one:
        _, writer = await one.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        await writer.drain()
        writer.close()
        await until(lambda: one.refused("bad_request") == 1)
    assert "Traceback" not in caplog.text


async def test_our_own_faults_are_told_in_full(
    world: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as one:
        assert (await one.say(b"Fail: yes"))[0] == 500
        assert one.refused("bad_request") == 0
    assert "a fault of ours" in caplog.text


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n",
    ],
    ids=["nothing", "a line", "a header", "a body"],
)
async def test_who_is_slow_is_cut_wherever_and_however_often_a_byte_comes(
    world: Open, said: bytes
) -> None:
    async with world(replace(LIMITS, lifetime_s=0.5)) as one:
        reader, writer = await one.open()
        writer.write(said)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_to_the_end(reader))
            while not reading.done():
                writer.write(b"x" if said else b"")
                await asyncio.wait([reading], timeout=0.02)
        writer.close()
        await until(lambda: one.refused("too_slow") == 1)
        await eventually(one.is_served)


async def test_an_address_has_a_last_connection(world: Open) -> None:
    async with world(replace(LIMITS, connections_per_address=2)) as one:
        first, second = await one.open(), await one.open()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await one.say()
        assert one.refused("too_many_of_address") == 1
        first[1].close()
        await first[1].wait_closed()
        assert (await one.say())[0] == 200
        second[1].close()
