"""Accepting connections. Real: TLS and sockets on loopback; what is behind them only counts."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener, bind
from common import tls
from common.metrics import MessageMetrics
from tests.cloudcore.cloudhub.stage import HOST, Certificates, until

pytestmark = pytest.mark.both_loops


@dataclass
class World:
    """A server that greets, and what it has counted."""

    port: int
    registry: CollectorRegistry
    client: ssl.SSLContext
    open_connections: set[asyncio.Protocol] = field(default_factory=set)

    def refused(self, reason: str) -> float:
        labels = {"reason": f"test_{reason}"}
        return self.registry.get_sample_value("cloudcore_refusals_total", labels) or 0.0

    async def greeting(self) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, self.port, ssl=self.client)
        try:
            return await reader.readexactly(5)
        finally:
            writer.close()


class Greeter(asyncio.Protocol):
    def __init__(self, world: World) -> None:
        self._world = world

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._world.open_connections.add(self)
        cast("asyncio.Transport", transport).write(b"hello")

    def connection_lost(self, _: Exception | None) -> None:
        self._world.open_connections.discard(self)


@asynccontextmanager
async def accepting(folder: Path, limits: AcceptLimits) -> AsyncIterator[World]:
    certificates, sockets = Certificates(folder), bind([(HOST, 0)])
    registry = CollectorRegistry()
    client = tls.client_context(certificates.authority.pem)
    server = certificates.server(ssl.CERT_OPTIONAL)
    world = World(sockets[0].getsockname()[1], registry, client)
    acceptor = Acceptor(
        sockets,
        Listener(
            "test",
            lambda: server,
            lambda: Greeter(world),
            lambda: len(world.open_connections),
        ),
        limits,
        MessageMetrics(registry, "cloudcore"),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(acceptor.run())
        assert acceptor.is_serving()
        yield world
        acceptor.close()
        await acceptor.wait_closed()
        await running
        assert not acceptor.is_serving()
        assert sockets[0].fileno() == -1


async def test_connections_are_served_one_after_the_other(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits()) as world:
        for _ in range(3):
            assert await world.greeting() == b"hello"


async def test_handshakes_beyond_the_bound_wait_until_one_is_done(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(handshakes=2)) as world:
        silent = [await asyncio.open_connection(HOST, world.port) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(world.greeting())
            await asyncio.wait([greeting], timeout=0.1)
            assert not greeting.done()
            silent[0][1].close()
        assert greeting.result() == b"hello"
        silent[1][1].close()
        await until(lambda: world.refused("tls_handshake") == 2)


async def test_a_silent_stranger_is_cut_off(tmp_path: Path) -> None:
    limits = AcceptLimits(handshake_timeout_s=0.2)
    async with accepting(tmp_path, limits) as world:
        reader, writer = await asyncio.open_connection(HOST, world.port)
        assert await reader.read() == b""
        writer.close()
        await until(lambda: world.refused("tls_handshake") == 1)


async def test_garbage_in_place_of_a_handshake_is_refused(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits()) as world:
        reader, writer = await asyncio.open_connection(HOST, world.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        await until(lambda: world.refused("tls_handshake") == 1)
        assert await world.greeting() == b"hello"


async def test_there_is_a_last_connection_and_one_more_is_closed_at_once(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(connections=1)) as world:
        reader, writer = await asyncio.open_connection(HOST, world.port, ssl=world.client)
        assert await reader.readexactly(5) == b"hello"
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await world.greeting()
        assert world.refused("too_many_connections") == 1
        writer.close()
        await until(lambda: not world.open_connections)
        assert await world.greeting() == b"hello"


async def test_a_connection_of_limited_life_is_cut(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(lifetime_s=0.2)) as world:
        reader, writer = await asyncio.open_connection(HOST, world.port, ssl=world.client)
        assert await reader.readexactly(5) == b"hello"
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        await until(lambda: not world.open_connections)


async def test_an_address_that_is_taken_is_named() -> None:
    (taken,) = bind([(HOST, 0)])
    port = taken.getsockname()[1]
    with taken, pytest.raises(OSError, match=f"cannot listen on {HOST}:{port}"):
        bind([(HOST, 0), (HOST, port)])
    (free,) = bind([("::1", 0)]) if socket.has_dualstack_ipv6() else bind([(HOST, 0)])
    free.close()
