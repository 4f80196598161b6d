"""A wire that is whole, cut, silent, long or slow. Namespaces, devices and TCP are real."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.devcluster import wire as wires
from deploy.devcluster.netns import CLOUD_ADDRESS, Namespace
from deploy.devcluster.shaper import Line
from deploy.devcluster.wire import PERFECT, Wire, why_not

needs_wires = pytest.mark.usefixtures("wires_run")
both_loops = pytest.mark.both_loops

# Sends what it is told over TCP and prints what comes back, or why nothing does.
CLIENT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as server:
        print("open", flush=True)
        stream = server.makefile("rw")
        for line in sys.stdin:
            stream.write(line)
            stream.flush()
            print(stream.readline(), end="", flush=True)
except OSError as error:
    print(error.strerror, flush=True)
"""


class Client:
    """A process in a namespace that talks to an echo server over the wire."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())

    async def hear(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    async def ask(self, text: str) -> str:
        self.say(text)
        return await self.hear()


class Site:
    """A namespace with its wire, and an echo server at the other end."""

    def __init__(self, wire: Wire, namespace: Namespace, port: int) -> None:
        self.wire, self.namespace, self.port = wire, namespace, port

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        process = await asyncio.create_subprocess_exec(
            *(*self.namespace.entry, sys.executable, "-c", CLIENT, CLOUD_ADDRESS, str(self.port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield Client(process)
        finally:
            process.kill()
            await process.wait()


@pytest.fixture
async def site(wires_run: None) -> AsyncIterator[Site]:
    del wires_run

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                while line := await reader.readline():
                    writer.write(line)
            finally:  # also where the test ends before its client is gone
                writer.transport.abort()
                await writer.wait_closed()

    async with asyncio.TaskGroup() as group:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(group.create_task(echo(reader, writer)))

        tasks: list[asyncio.Task[None]] = []
        with Namespace() as namespace, Wire(namespace) as wire:
            async with await asyncio.start_server(accept, CLOUD_ADDRESS, 0, limit=2**20) as server:
                yield Site(wire, namespace, server.sockets[0].getsockname()[1])
        for task in tasks:
            task.cancel()


@both_loops
async def test_what_goes_in_comes_out_and_is_counted(site: Site) -> None:
    async with site.client() as client:
        assert await client.hear() == "open"

        async def carried() -> int:
            before = site.wire.bytes
            assert await client.ask("x" * 1000) == "x" * 1000
            return site.wire.bytes - before

        async with asyncio.timeout(30):
            # TCP says again what took long, on a busy machine: that is carried twice.
            while (count := await carried()) >= 3000:
                pass
        assert count > 2000
        assert site.wire.up.bytes > 1000
        assert site.wire.down.bytes > 1000
        assert site.wire.up.lost == site.wire.down.lost == 0


@both_loops
async def test_a_wire_that_nobody_uses_carries_nothing(site: Site) -> None:
    assert site.wire.bytes == 0


async def test_over_a_cut_wire_nobody_can_connect_and_afterwards_again(site: Site) -> None:
    site.wire.cut()
    async with site.client() as client:
        assert await client.hear() == "Network is unreachable"
    site.wire.mend()
    async with site.client() as client:
        assert await client.hear() == "open"


async def test_a_cut_ends_no_connection(site: Site) -> None:
    async with site.client() as client:
        await client.hear()
        site.wire.cut()
        client.say("held back")
        site.wire.mend()
        assert await client.hear() == "held back"


async def test_a_silent_wire_loses_what_is_said_and_tells_nobody(site: Site) -> None:
    async with site.client() as client:
        await client.hear()
        site.wire.silence()
        client.say("lost")
        async with asyncio.timeout(10):
            while not site.wire.up.lost:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0.01)
        site.wire.mend()
        assert await client.hear() == "lost"  # TCP says it again


async def test_a_wire_swallows_large_packets_and_lets_small_ones_pass(site: Site) -> None:
    async with site.client() as client:
        assert await client.hear() == "open"
        site.wire.up.largest_bytes = 1000
        assert await client.ask("small") == "small"
        client.say("x" * 5000)
        async with asyncio.timeout(30):
            while not site.wire.up.lost:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0.01)
        site.wire.up.largest_bytes = 1500
        assert await client.hear() == "x" * 5000  # TCP says it again


async def test_a_long_wire_makes_round_trips_long(site: Site) -> None:
    loop = asyncio.get_running_loop()
    async with site.client() as client:
        await client.hear()
        site.wire.shape(Line(delay_s=0.1))
        started_s = loop.time()
        await client.ask("far away")
        assert loop.time() - started_s >= 0.2
        site.wire.shape(PERFECT)
        assert await client.ask("near") == "near"


async def test_a_slow_wire_is_as_slow_as_it_says(site: Site) -> None:
    loop = asyncio.get_running_loop()
    async with site.client() as client:
        await client.hear()
        site.wire.shape(Line(bits_per_s=1_000_000))
        started_s = loop.time()
        text = "x" * 50_000
        assert await client.ask(text) == text
        assert loop.time() - started_s >= 50_000 * 8 / 1_000_000


@needs_wires
def test_a_machine_with_wires_has_no_excuse() -> None:
    assert why_not() == ""


def test_what_is_not_installed_is_named_as_debian_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "find_program", lambda _: None)
    assert why_not() == "not installed: iproute2, util-linux"


@needs_wires
def test_a_machine_without_tun_devices_has_no_wires(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wires, "_TUN", tmp_path / "tun")
    assert why_not() == f"{tmp_path / 'tun'}: No such file or directory"
