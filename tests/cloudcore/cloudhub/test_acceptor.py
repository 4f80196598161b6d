"""Accepting connections. Real: TLS and sockets on loopback; what is behind them only counts."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener, bind
from common import tls
from common.metrics import MessageMetrics
from tests.cloudcore.cloudhub.stage import HOST, Certificates, until
from tests.cloudcore.cluster import eventually

OTHER = "127.0.0.2"
pytestmark = pytest.mark.both_loops


@dataclass
class World:
    """A server that greets, and what it has counted."""

    port: int
    registry: CollectorRegistry
    client: ssl.SSLContext
    open_connections: set["Greeter"] = field(default_factory=set)
    acceptor: Acceptor | None = None

    def refused(self, reason: str) -> float:
        labels = {"reason": f"test_{reason}"}
        return self.registry.get_sample_value("cloudcore_refusals_total", labels) or 0.0

    async def greeting(self, address: str = HOST) -> bytes:
        reader, writer = await asyncio.open_connection(
            HOST, self.port, ssl=self.client, local_addr=(address, 0)
        )
        try:
            return await reader.readexactly(5)
        finally:
            writer.close()

    async def is_greeted(self) -> bool:
        """Whether there is a greeting: not where this machine is slower than a limit is short."""
        with suppress(OSError, asyncio.IncompleteReadError):
            return await self.greeting() == b"hello"
        return False

    async def silent(self, number: int, address: str = HOST) -> list[asyncio.StreamWriter]:
        """Open connections that say nothing."""
        return [
            (await asyncio.open_connection(HOST, self.port, local_addr=(address, 0)))[1]
            for _ in range(number)
        ]


class Greeter(asyncio.Protocol):
    def __init__(self, world: World) -> None:
        self._world = world
        self.origin = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.origin = str(transport.get_extra_info("peername")[0])
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
            lambda origin: sum(one.origin == origin for one in world.open_connections),
        ),
        limits,
        MessageMetrics(registry, "cloudcore"),
    )
    async with asyncio.TaskGroup() as group:
        world.acceptor = acceptor
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


async def test_an_address_with_all_its_handshakes_under_way_keeps_no_other_out(
    tmp_path: Path,
) -> None:
    """All handshakes are under way but one, and there are connections that wait besides."""
    limits = AcceptLimits(handshakes=4, handshakes_per_address=3)
    async with accepting(tmp_path, limits) as world:
        silent = await world.silent(9)
        assert await world.greeting(OTHER) == b"hello"
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(world.greeting())
            await asyncio.wait([greeting], timeout=0.1)
            assert not greeting.done(), "it waits behind those of its own address"
            for one in silent:
                one.close()
        assert greeting.result() == b"hello"
        await until(lambda: world.refused("tls_handshake") == 9)


async def test_a_handshake_below_the_bound_of_its_address_waits_for_nobody(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(handshakes_per_address=3)) as world:
        silent = await world.silent(2)
        assert await world.greeting() == b"hello"
        for one in silent:
            one.close()


async def test_who_waits_too_long_for_others_of_the_address_is_refused(tmp_path: Path) -> None:
    limits = AcceptLimits(handshakes_per_address=1, handshake_timeout_s=0.2)
    async with accepting(tmp_path, limits) as world:
        silent = await world.silent(3)
        await until(lambda: world.refused("waited_too_long") + world.refused("tls_handshake") == 3)
        assert world.refused("waited_too_long") >= 1
        await eventually(world.is_greeted)
        for one in silent:
            one.close()


async def test_who_waits_when_it_closes_is_cut(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(handshakes_per_address=1)) as world:
        silent = [
            await asyncio.open_connection(HOST, world.port, local_addr=(HOST, 0)) for _ in range(2)
        ]
        assert await world.greeting(OTHER) == b"hello", "the two before it were accepted"
    for reader, writer in silent:
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_an_address_has_a_last_connection_and_others_have_theirs(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(connections_per_address=2)) as world:
        streams = [
            await asyncio.open_connection(HOST, world.port, ssl=world.client) for _ in range(2)
        ]
        for reader, _ in streams:
            assert await reader.readexactly(5) == b"hello"
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await world.greeting()
        assert world.refused("too_many_of_address") == 1
        assert await world.greeting(OTHER) == b"hello"
        for _, writer in streams:
            writer.close()
        await until(lambda: not world.open_connections)
        assert await world.greeting() == b"hello"


async def test_a_connection_that_has_ended_is_let_go_of_long_before_its_time(
    tmp_path: Path,
) -> None:
    async with accepting(tmp_path, AcceptLimits(lifetime_s=10.0)) as world:
        acceptor = world.acceptor
        assert acceptor is not None
        assert await world.greeting() == b"hello"
        await until(lambda: not acceptor._lives)
        assert world.refused("too_slow") == 0


async def test_a_connection_of_limited_life_is_cut(tmp_path: Path) -> None:
    async with accepting(tmp_path, AcceptLimits(lifetime_s=0.2)) as world:
        reader, writer = await asyncio.open_connection(HOST, world.port, ssl=world.client)
        assert await reader.readexactly(5) == b"hello"
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        await until(lambda: not world.open_connections)
        assert world.refused("too_slow") == 1


async def test_an_address_that_is_taken_is_named() -> None:
    (taken,) = bind([(HOST, 0)])
    port = taken.getsockname()[1]
    with taken, pytest.raises(OSError, match=f"cannot listen on {HOST}:{port}"):
        bind([(HOST, 0), (HOST, port)])
    (free,) = bind([("::1", 0)]) if socket.has_dualstack_ipv6() else bind([(HOST, 0)])
    free.close()
