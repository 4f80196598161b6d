"""HTTP GET against real servers in the test process, also by TLS; nothing faked."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edgecore.edged.probes.httpget import (
    MAX_BODY_BYTES,
    HttpGetError,
    PlainTextError,
    Response,
    get,
)
from edgecore.edged.probes.httprequest import Request, request_of
from tests.edgecore.edged.servers import HOST, answer, free_port, listening, self_made_tls, serving
from tests.edgecore.edged.world import container

CONTAINER = container("c")

pytestmark = pytest.mark.both_loops


def request(port: int, path: str = "/", **action: Any) -> Request:
    return request_of({"port": port, "path": path} | action, CONTAINER, HOST, "probe")


@asynccontextmanager
async def saying(text: bytes) -> AsyncIterator[Request]:
    async with serving(text) as server:
        yield request(server.port)


async def test_it_asks_once_and_closes() -> None:
    async with serving(answer(200, "fine")) as server:
        assert await get(request(server.port, "/healthz?x=1")) == Response(200, "", b"fine")
        head = server.requests[0].split("\r\n")
        assert head[:2] == ["GET /healthz?x=1 HTTP/1.1", f"Host: {HOST}:{server.port}"]
        assert "Connection: close" in head


async def test_a_host_header_of_the_spec_is_sent_alone() -> None:
    headers = [{"name": "Host", "value": "shop.example"}]
    async with serving(answer(200)) as server:
        await get(request(server.port, httpHeaders=headers))
        assert server.requests[0].lower().count("host:") == 1
        assert "Host: shop.example" in server.requests[0]


async def test_a_body_may_end_with_the_connection_or_come_in_chunks() -> None:
    async with saying(b"HTTP/1.0 200 OK\r\n\r\nuntil the end") as ask:
        assert (await get(ask)).body == b"until the end"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    async with saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" + chunks) as ask:
        assert (await get(ask)).body == b"hi"


async def test_no_more_than_a_little_of_a_long_body_is_read() -> None:
    async with saying(answer(200, "x" * 1_000_000)) as ask:
        assert (await get(ask)).body == b"x" * MAX_BODY_BYTES


async def test_redirects_are_followed_on_the_host_that_was_asked() -> None:
    headers = [{"name": "Host", "value": "shop.example"}]
    async with serving(answer(302, "", "Location: /new?a=b"), answer(200, "there")) as server:
        assert (await get(request(server.port, httpHeaders=headers))).body == b"there"
        assert server.requests[1].startswith("GET /new?a=b HTTP/1.1")
        assert "Host: shop.example" in server.requests[1]


async def test_an_absolute_redirect_takes_the_host_header_from_its_address() -> None:
    headers = [{"name": "Host", "value": "shop.example"}]
    async with serving(answer(200, "there")) as there:
        location = f"Location: http://{HOST}:{there.port}/"
        async with serving(answer(307, "", location)) as here:
            assert (await get(request(here.port, httpHeaders=headers))).body == b"there"
        assert f"Host: {HOST}:{there.port}" in there.requests[0]


@pytest.mark.parametrize("headers", [["Location: http://elsewhere.example/"], []])
async def test_a_redirect_that_leads_away_or_nowhere_is_the_answer(headers: list[str]) -> None:
    async with serving(answer(301, "moved", *headers)) as server:
        response = await get(request(server.port))
        assert (response.status, response.body) == (301, b"moved")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/again", "stopped after 10 redirects"),
        ("ftp://127.0.0.1/", 'unsupported protocol scheme "ftp"'),
        ("http://[x/", "failed to parse Location header"),
    ],
)
async def test_a_redirect_without_end_or_sense_is_an_error(location: str, words: str) -> None:
    async with saying(answer(302, "", f"Location: {location}")) as ask:
        with pytest.raises(HttpGetError, match=words):
            await get(ask)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "malformed HTTP response"),
    ],
)
async def test_what_is_no_http_is_an_error(said: bytes, words: str) -> None:
    async with saying(said) as ask:
        with pytest.raises(HttpGetError, match=words):
            await get(ask)


async def test_a_server_that_hangs_up_is_an_error() -> None:
    async with serving(b"") as server:
        server.stays = False
        with pytest.raises(HttpGetError, match=rf'^Get "http://{HOST}:{server.port}/": EOF$'):
            await get(request(server.port))


async def test_a_server_that_breaks_off_is_an_error() -> None:
    async with listening(_break_off) as port:
        words = rf'^Get "http://{HOST}:{port}/": read tcp: connection reset by peer$'
        with pytest.raises(HttpGetError, match=words):
            await get(request(port))


async def test_headers_that_cannot_be_sent_are_an_error() -> None:
    async with serving(answer(200)) as server:
        with pytest.raises(HttpGetError, match="invalid request"):
            await get(request(server.port, httpHeaders=[{"name": "X", "value": "a\nb"}]))


async def test_nobody_is_there() -> None:
    port = free_port()
    words = rf'^Get "http://{HOST}:{port}/": dial tcp {HOST}:{port}: connect: connection refused$'
    with pytest.raises(HttpGetError, match=words):
        await get(request(port))


async def test_by_tls_nobody_asks_who_it_is(tmp_path: Path) -> None:
    async with serving(answer(200, "secret"), tls=self_made_tls(tmp_path)) as server:
        assert (await get(request(server.port, scheme="HTTPS"))).body == b"secret"


async def test_who_refuses_our_tls_is_an_error() -> None:
    async with listening(_refuse_tls) as port:
        with pytest.raises(HttpGetError, match=r": tls: \w*HANDSHAKE_FAILURE$"):
            await get(request(port, scheme="HTTPS"))


async def test_who_leaves_before_tls_begins_is_an_error() -> None:
    async with listening(_hang_up) as port:
        with pytest.raises(HttpGetError, match=r"connect: \w+"):
            await get(request(port, scheme="HTTPS"))


async def test_who_answers_tls_in_plain_text_is_told_apart() -> None:
    async with listening(_complain) as port:
        with pytest.raises(PlainTextError, match="server gave HTTP response to HTTPS client"):
            await get(request(port, scheme="HTTPS"))


async def _complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(answer(400))
    with suppress(OSError):
        await reader.read()
    writer.transport.abort()


async def _break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


async def _refuse_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # the alert "handshake failure"
    with suppress(OSError):
        await reader.read()
    writer.transport.abort()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(4096)
    writer.transport.abort()
