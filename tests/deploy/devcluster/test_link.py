"""The link forwards, is cut, stalls and is mended. Real sockets; nothing is faked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.devcluster.link import Link
from deploy.devcluster.ports import LOOPBACK

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()

    async with asyncio.TaskGroup() as group:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.create_task(echo(reader, writer))

        server = await asyncio.start_server(accept, LOOPBACK, 0)
        async with server, Link(server.sockets[0].getsockname()[1]) as link:
            yield link


@asynccontextmanager
async def connected(link: Link) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(LOOPBACK, link.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()


async def ask(streams: Streams, line: bytes = b"hello\n") -> bytes:
    reader, writer = streams
    writer.write(line)
    return await reader.readline()


async def ends(streams: Streams) -> bool:
    try:
        return await streams[0].read() == b""
    except ConnectionResetError:
        return True


async def test_what_goes_in_comes_out(link: Link) -> None:
    async with connected(link) as streams:
        assert await ask(streams) == b"hello\n"


async def test_a_cut_ends_what_is_open_and_refuses_what_is_new(link: Link) -> None:
    async with connected(link) as before:
        await ask(before)
        link.cut()
        assert await ends(before)
    async with connected(link) as meanwhile:
        assert await ends(meanwhile)
    link.mend()
    async with connected(link) as after:
        assert await ask(after) == b"hello\n"


@pytest.mark.parametrize("turns", range(12))
async def test_a_cut_ends_also_what_is_not_yet_through_to_the_target(
    link: Link, turns: int
) -> None:
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(asyncio.open_connection(LOOPBACK, link.port))
        for _ in range(turns):
            await asyncio.sleep(0)
        link.cut()
    streams = opening.result()
    assert await ends(streams)
    streams[1].transport.abort()


async def test_a_stalled_link_says_nothing_and_loses_nothing(link: Link) -> None:
    async with connected(link) as streams:
        await ask(streams)
        link.stall()
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(ask(streams, b"later\n"))
            await asyncio.wait([asked], timeout=0.1)
            assert not asked.done()
            link.mend()
        assert asked.result() == b"later\n"


async def test_a_link_that_is_moved_strands_what_is_open_and_leads_elsewhere(link: Link) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    elsewhere = await asyncio.start_server(shout, LOOPBACK, 0)
    async with elsewhere, connected(link) as before:
        await ask(before)
        link.move(elsewhere.sockets[0].getsockname()[1])
        async with connected(link) as after, asyncio.TaskGroup() as group:
            stranded = group.create_task(ask(before, b"held back\n"))
            assert await ask(after) == b"HELLO\n"
            assert not stranded.done()
            link.mend()
        assert stranded.result() == b"held back\n"


async def test_a_link_to_nobody_ends_at_once() -> None:
    async with Link(1) as link, connected(link) as streams:
        assert await ends(streams)
