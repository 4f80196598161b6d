"""One connection: real TLS and WebSocket on loopback, cut and refused in the ways that happen."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response

from common import capabilities, issuing, pki, subjects
from common.capabilities import ALL, HEADER, Capability, render
from common.names import REFUSAL_HEADER, NodeID, PeerProtocol
from common.tls import client_context
from deploy.devcluster.ports import free_ports
from edgecore.edgehub import link as under_test
from edgecore.edgehub.link import (
    MALFORMED,
    REPLACED,
    UNACCEPTED,
    WRITE_AHEAD_BYTES,
    Link,
    LinkLostError,
    dial,
)
from tests.edgecore.cloud import HOST, VERSION, Peer, TestCloud, until
from tests.edgecore.edged.servers import listening

HEADERS = {"node_id": "n1", "ConnectionUse": "msg", HEADER: render(ALL)}


@pytest.fixture
def tls(cloud: TestCloud, tmp_path: Path) -> ssl.SSLContext:
    return identity(cloud, tmp_path)


def identity(cloud: TestCloud, folder: Path, trusted: str | None = None) -> ssl.SSLContext:
    key = pki.new_key()
    issued = cloud.issue(subjects.new_csr(key, NodeID("n1")), "n1")
    file = folder / "n1.pem"
    file.write_bytes(pki.cert_to_pem(issued).encode() + pki.key_to_pem(key))
    return client_context(trusted or cloud.authority.pem, file)


def uri(cloud: TestCloud) -> str:
    return f"wss://{HOST}:{cloud.websocket_port}/x/n1/events"


@asynccontextmanager
async def linked(
    cloud: TestCloud, tls: ssl.SSLContext, headers: Mapping[str, str] = HEADERS
) -> AsyncIterator[Link]:
    async with dial(uri(cloud), headers, tls, handshake_s=50) as link:
        yield link


async def echo(peer: Peer) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for frame in peer.connection:
            await peer.connection.send(frame)


@pytest.mark.both_loops
async def test_frames_go_both_ways_as_text_and_binary(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    received: list[str | bytes] = []

    async def serve(peer: Peer) -> None:
        received.extend([await peer.connection.recv(), await peer.connection.recv()])
        await peer.connection.send("ä" * 100_000)
        await peer.connection.send(b"\x03")
        await peer.connection.wait_closed()

    async with cloud.listening(serve), linked(cloud, tls) as link:
        await link.send_text(b'{"a":1}')
        await link.send_binary(b"\x02")
        assert await link.receive() == "ä" * 100_000
        assert await link.receive() == b"\x03"
    assert received == ['{"a":1}', b"\x02"]


async def test_capabilities_are_what_our_cloud_says(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    cloud.capabilities = capabilities.ALL
    async with cloud.listening(echo):
        async with linked(cloud, tls) as link:
            assert link.capabilities == capabilities.NONE  # it does not speak our protocol
        cloud.protocol = PeerProtocol.CLOUDEDGE_V1
        async with linked(cloud, tls) as link:
            assert link.capabilities == capabilities.ALL
        cloud.capabilities = capabilities.NONE
        async with linked(cloud, tls) as link:
            assert link.capabilities == capabilities.NONE


async def test_what_the_edge_has_not_offered_does_not_hold_whatever_the_cloud_says(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    cloud.protocol, cloud.capabilities = PeerProtocol.CLOUDEDGE_V1, capabilities.ALL
    async with cloud.listening(echo):
        async with linked(cloud, tls, {"node_id": "n1", HEADER: "acks"}) as link:
            assert link.capabilities == {Capability.ACKS}
        async with linked(cloud, tls, {"node_id": "n1"}) as link:
            assert link.capabilities == capabilities.NONE


async def test_the_cluster_is_what_our_cloud_says(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    cloud.cluster = "u" * 100
    async with cloud.listening(echo):
        async with linked(cloud, tls) as link:
            assert link.cluster == ""  # it does not speak our protocol
        cloud.protocol = PeerProtocol.CLOUDEDGE_V1
        async with linked(cloud, tls) as link:
            assert link.cluster == "u" * 64
        cloud.cluster = ""
        async with linked(cloud, tls) as link:
            assert link.cluster == ""


@pytest.mark.both_loops
async def test_the_clouds_certificate_and_the_authority_that_it_signs_by_are_known(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    cloud.says_authority = True
    shown = ssl.PEM_cert_to_DER_cert(cloud.cert_file.read_text())
    async with cloud.listening(echo):
        async with linked(cloud, tls) as link:
            assert (link.authority, link.certificate) == ("", shown)
        cloud.protocol = PeerProtocol.CLOUDEDGE_V1
        async with linked(cloud, tls) as link:
            assert link.authority == pki.fingerprint(cloud.authority.der)


async def test_the_version_of_a_cloud_of_ours_is_known(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    cloud.cluster, cloud.protocol = "u1", PeerProtocol.CLOUDEDGE_V1
    async with cloud.listening(echo):
        async with linked(cloud, tls) as link:
            assert link.version == VERSION
        cloud.protocol = None
        async with linked(cloud, tls) as link:
            assert link.version == ""


async def test_text_that_is_none_ends_the_connection(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    closed: list[int | None] = []

    async def lie(peer: Peer) -> None:
        await peer.connection.send(b"\xff\xfe", text=True)
        await peer.connection.wait_closed()
        closed.append(peer.connection.close_code)

    async with cloud.listening(lie):
        error = await lost(cloud, tls)
        await until(lambda: bool(closed))
    assert error.reason == "malformed"
    assert closed == [MALFORMED]


async def test_little_waits_in_the_kernel(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    async with cloud.listening(echo), linked(cloud, tls) as link:
        plain = link._connection.transport.get_extra_info("socket")
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == WRITE_AHEAD_BYTES


async def test_the_protocol_is_ours_only_where_the_cloud_agrees(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    async with cloud.listening(echo):
        async with linked(cloud, tls) as link:
            assert link.protocol is PeerProtocol.KUBEEDGE
        cloud.protocol = PeerProtocol.CLOUDEDGE_V1
        async with linked(cloud, tls) as link:
            assert link.protocol is PeerProtocol.CLOUDEDGE_V1
    request = cloud.requests[0]
    assert request.headers["Sec-WebSocket-Protocol"] == "cloudedge.v1"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert (request.headers["node_id"], request.headers["ConnectionUse"]) == ("n1", "msg")


async def lost(cloud: TestCloud, tls: ssl.SSLContext) -> LinkLostError:
    with pytest.raises(LinkLostError) as caught:
        async with linked(cloud, tls) as link:
            await link.receive()
    return caught.value


async def test_a_refusal_is_told_in_the_clouds_words(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    cloud.refuse_with = (HTTPStatus.FORBIDDEN, "the certificate is not that of n1\n")
    async with cloud.listening(echo):
        error = await lost(cloud, tls)
    assert error.reason == "refused"
    assert str(error) == "refused: 403 the certificate is not that of n1"


async def test_a_close_is_told_in_the_clouds_words(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    async def replace(peer: Peer) -> None:
        await peer.connection.close(REPLACED, "a newer connection")

    async with cloud.listening(replace):
        error = await lost(cloud, tls)
    assert error.reason == "replaced"
    assert str(error) == f"closed by the cloud: {REPLACED} a newer connection"


async def test_a_revoked_certificate_is_known_as_such_however_the_cloud_says_it(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    async def revoke(peer: Peer) -> None:
        await peer.connection.close(UNACCEPTED, "enrol anew")

    async with cloud.listening(revoke):
        closed = await lost(cloud, tls)
    said = Headers({REFUSAL_HEADER: "revoked"})
    refused = under_test._lost(InvalidStatus(Response(403, "Forbidden", said, b"enrol anew\n")))
    for error in (closed, refused):
        assert (error.reason, error.is_certificate) == ("revoked", True)
        assert str(error).endswith("enrol anew")


async def test_a_cut_is_a_broken_link(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    async def cut(peer: Peer) -> None:
        peer.connection.transport.abort()

    async with cloud.listening(cut):
        assert (await lost(cloud, tls)).reason == "broken"


async def test_nobody_there_is_a_broken_link(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    [cloud.websocket_port] = free_ports(1)
    error = await lost(cloud, tls)
    assert error.reason == "broken"
    assert not error.is_certificate


async def test_a_cloud_that_says_nothing_is_given_up(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    with socket.create_server((HOST, 0)) as server:
        cloud.websocket_port = server.getsockname()[1]
        with pytest.raises(LinkLostError) as caught:
            async with dial(uri(cloud), HEADERS, tls, handshake_s=0.05):
                pass
    assert caught.value.reason == "timeout"


async def test_a_cloud_of_another_authority_is_not_trusted(
    cloud: TestCloud, tmp_path: Path
) -> None:
    foreign = issuing.new_authority(cloud.now())
    async with cloud.listening(echo):
        error = await lost(cloud, identity(cloud, tmp_path, foreign.pem))
    assert error.reason == "certificate"
    assert error.is_certificate


async def test_a_cloud_that_just_goes_may_refuse_the_certificate(cloud: TestCloud) -> None:
    async with cloud.listening(echo):
        error = await lost(cloud, client_context(cloud.authority.pem))
    assert error.is_certificate
    assert "may refuse our certificate" in str(error)


async def test_a_cloud_that_says_that_it_refuses_the_certificate_is_quoted(
    cloud: TestCloud,
) -> None:
    with socket.create_server((HOST, 0)) as server:
        cloud.websocket_port = server.getsockname()[1]

        def refuse() -> None:  # OpenSSL on a plain socket sends the alert, as Go does
            plain, _ = server.accept()
            with plain, contextlib.suppress(OSError):
                cloud.tls().wrap_socket(plain, server_side=True)
            # The alert goes out before the end of the connection.

        refusing = asyncio.get_running_loop().run_in_executor(None, refuse)
        error = await lost(cloud, client_context(cloud.authority.pem))
        await refusing
    assert error.is_certificate


async def test_writing_to_a_link_that_is_gone_fails(cloud: TestCloud, tls: ssl.SSLContext) -> None:
    async def close(peer: Peer) -> None:
        await peer.connection.close()

    async with cloud.listening(close), linked(cloud, tls) as link:
        with pytest.raises(LinkLostError):
            await link.receive()
        with pytest.raises(LinkLostError):
            await link.send_text(b"{}")
        with pytest.raises(LinkLostError):
            await link.ping(1.0)


async def flood(link: Link) -> None:
    while True:
        await link.send_text(b"x" * 1_000_000)


async def test_a_cloud_that_reads_nothing_does_not_hold_the_writer_for_ever(
    cloud: TestCloud, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(peer: Peer) -> None:
        peer.connection.transport.pause_reading()
        await peer.connection.wait_closed()

    monkeypatch.setattr(under_test, "WRITE_S", 0.05)
    monkeypatch.setattr(under_test, "SLOWEST_BYTES_PER_S", 10**9)
    monkeypatch.setattr(under_test, "_CLOSE_S", 0.05)
    async with cloud.listening(sleep), linked(cloud, tls) as link:
        with pytest.raises(LinkLostError) as caught:
            await flood(link)
        assert caught.value.reason == "stalled"


async def test_any_byte_is_a_sign_of_life_and_so_is_a_pong(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    may_go_on = asyncio.Event()

    async def half_a_frame(peer: Peer) -> None:
        await may_go_on.wait()
        # A text frame of 100 bytes, of which the first arrive.
        peer.connection.transport.write(b"\x81\x64" + b"x" * 5)
        await peer.connection.wait_closed()

    async with cloud.listening(half_a_frame), linked(cloud, tls) as link:
        connection = link._connection
        connection.received_s -= 100
        assert link.idle_s() > 99
        await link.ping(50.0)
        await until(lambda: link.idle_s() < 99)
        connection.received_s -= 100
        may_go_on.set()
        await until(lambda: link.idle_s() < 99)


async def test_a_message_from_the_cloud_has_a_size(
    cloud: TestCloud, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(peer: Peer) -> None:
        await peer.connection.send(b"x" * 1000)
        await peer.connection.send([b"x" * 900, b"x" * 101])
        await peer.connection.wait_closed()

    monkeypatch.setattr(under_test, "MAX_MESSAGE_BYTES", 1000)
    async with cloud.listening(say), linked(cloud, tls) as link:
        assert len(await link.receive()) == 1000
        with pytest.raises(LinkLostError, match="more than 1000 bytes") as caught:
            await link.receive()
        assert caught.value.reason == "too_large"


async def test_a_cloud_that_says_more_than_is_taken_in_has_to_wait(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    """Two messages are here, part of the next, and what the kernel holds; no more is read."""
    size, sent = 2_000_000, 0

    async def say(peer: Peer) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20):
                await peer.connection.send(b"x" * size)
                sent += 1
            await peer.connection.wait_closed()

    async with cloud.listening(say), linked(cloud, tls) as link:
        connection = link._connection
        await until(lambda: not connection.transport.is_reading())
        assert len(connection.recv_messages.frames) == 2
        assert sent < 20
        for _ in range(20):
            assert len(await link.receive()) == size


MAX_LINE, MAX_HEADERS, MAX_BODY = 8192, 128, 1_048_576  # the library's; a line with its end


async def told_by(cloud: TestCloud, tls: ssl.SSLContext, headers: bytes, body: bytes) -> str:
    """Return what becomes of a refusal that a cloud wraps in ``headers`` and ``body``."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n" % len(body))
        writer.write(headers + b"\r\n" + body)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()

    async with listening(refuse, tls=cloud.tls()) as port:
        with pytest.raises(LinkLostError) as caught:
            async with dial(f"wss://{HOST}:{port}/", HEADERS, tls, handshake_s=50):
                pass
    return caught.value.reason


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        (b"X: x\r\n" * (MAX_HEADERS - 1), b"X: x\r\n"),
        (b"X: " + b"x" * (MAX_LINE - 5) + b"\r\n", b"Y: " + b"y" * (MAX_LINE - 4) + b"\r\n"),
    ],
    ids=["so many headers", "a header of a size"],
)
async def test_what_a_cloud_refuses_by_has_bounds(
    cloud: TestCloud, tls: ssl.SSLContext, headers: bytes, more: bytes
) -> None:
    assert await told_by(cloud, tls, headers, b"") == "refused"
    assert await told_by(cloud, tls, headers + more, b"") == "handshake"


async def test_the_words_that_a_cloud_refuses_by_have_a_size(
    cloud: TestCloud, tls: ssl.SSLContext
) -> None:
    assert await told_by(cloud, tls, b"", b"x" * MAX_BODY) == "refused"
    # It hangs up, and what else comes is no TLS to it any more.
    assert await told_by(cloud, tls, b"", b"x" * (MAX_BODY + 1)) in {"handshake", "tls"}
