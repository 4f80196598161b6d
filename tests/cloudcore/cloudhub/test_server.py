"""The handshake. Real: TLS, WebSocket, sockets on loopback; behind the hub is a test double.

Each refusal tells the client why, is counted, and disturbs no other node.
"""

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from cloudcore.cloudhub import server
from cloudcore.cloudhub.connection import MAX_REQUEST_BYTES
from cloudcore.cloudhub.handshake import Terms
from common import issuing, pki, subjects, tls
from common.capabilities import HEADER, NONE
from common.names import (
    AUTHORITY_HEADER,
    CLUSTER_HEADER,
    REFUSAL_HEADER,
    ModuleName,
    Operation,
    PeerProtocol,
)
from tests.cloudcore.cloudhub.stage import HOST, Stage, staged, until

pytestmark = pytest.mark.both_loops

MAX_LINE, MAX_HEADERS = 8192, 128  # the library's; a line with its end
START = b"GET / HTTP/1.1\r\nHost: x\r\n"
REQUEST = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nnode_id: n2\r\nConnectionUse: msg\r\n\r\n"
)


async def test_an_edge_of_kubeedge_connects_to_any_path_and_agrees_on_nothing(
    stage: Stage,
) -> None:
    async with stage.connect("n1") as socket:
        told = await stage.controller.next_of(Operation.CONNECTED)
        assert told.resource == "node/n1"
        assert bytes(told.content) == b'{"protocol":"kubeedge","capabilities":[]}'
        assert socket.subprotocol is None
        assert not socket.protocol.extensions
    assert (await stage.controller.next_of(Operation.DISCONNECTED)).resource == "node/n1"
    await until(lambda: len(stage.registry) == 0)


async def test_our_own_edge_agrees_on_our_protocol(stage: Stage) -> None:
    offered = [Subprotocol("something"), Subprotocol(PeerProtocol.CLOUDEDGE_V1)]
    async with stage.connect("n1", subprotocols=offered) as socket:
        told = await stage.controller.next_of(Operation.CONNECTED)
        assert socket.subprotocol == "cloudedge.v1"
        assert bytes(told.content) == b'{"protocol":"cloudedge.v1","capabilities":[]}'


async def test_what_both_sides_can_do_is_agreed_on(stage: Stage) -> None:
    given = {"node_id": "n1", "ConnectionUse": "msg", HEADER: "deflate, telepathy, acks"}
    own = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)]
    async with stage.connect("n1", headers=given, subprotocols=own) as socket:
        assert socket.response is not None
        assert socket.response.headers[HEADER] == "acks, deflate"
        told = await stage.controller.next_of(Operation.CONNECTED)
        expected = b'{"protocol":"cloudedge.v1","capabilities":["acks","deflate"]}'
        assert bytes(told.content) == expected


async def test_an_edge_of_kubeedge_has_no_capabilities_whatever_it_says(stage: Stage) -> None:
    given = {"node_id": "n1", "ConnectionUse": "msg", HEADER: "deflate"}
    async with stage.connect("n1", headers=given) as socket:
        assert socket.response is not None
        assert HEADER not in socket.response.headers


@pytest.mark.parametrize("own", [True, False])
async def test_only_our_own_edges_are_told_which_cluster_this_is(
    tmp_path: Path, *, own: bool
) -> None:
    offered = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)] if own else None
    async with (
        staged(tmp_path, terms=Terms(NONE, "u1")) as stage,
        stage.connect("n1", subprotocols=offered) as socket,
    ):
        assert socket.response is not None
        assert socket.response.headers.get(CLUSTER_HEADER) == ("u1" if own else None)
        assert HEADER not in socket.response.headers


@pytest.mark.parametrize("said", [[], ["aa"]])
async def test_what_our_own_edges_trust_is_heard_and_they_are_told_who_signs(
    tmp_path: Path, said: list[str]
) -> None:
    given = {"node_id": "n1", "ConnectionUse": "msg"}
    given |= {AUTHORITY_HEADER: said[0]} if said else {}
    own = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)]
    terms = Terms(NONE, authority=lambda: "bb")
    async with staged(tmp_path, terms=terms) as stage:
        async with stage.connect("n1", headers=given, subprotocols=own) as socket:
            assert socket.response is not None
            assert socket.response.headers[AUTHORITY_HEADER] == "bb"
        ((node, heard, der),) = stage.heard
        assert (node, heard) == ("n1", said)
        assert subjects.node_of_certificate(der) == "n1"


async def test_an_edge_of_kubeedge_is_told_of_no_authority_and_not_listened_to(
    tmp_path: Path,
) -> None:
    given = {"node_id": "n1", "ConnectionUse": "msg", AUTHORITY_HEADER: "aa"}
    terms = Terms(NONE, authority=lambda: "bb")
    async with staged(tmp_path, terms=terms) as stage:
        async with stage.connect("n1", headers=given) as socket:
            assert socket.response is not None
            assert AUTHORITY_HEADER not in socket.response.headers
        assert stage.heard == []


async def test_a_header_in_parts_is_read_as_one(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(
        HOST, stage.port, ssl=stage.certificates.client("n1")
    )
    upgrade = (
        "GET /p/n1/events HTTP/1.1\r\nHost: x\r\nnode_id: n1\r\nConnectionUse: msg\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: {PeerProtocol.CLOUDEDGE_V1}\r\n"
        f"{HEADER}: acks\r\n{HEADER}: beats\r\n\r\n"
    )
    writer.write(upgrade.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert f"{HEADER}: acks, beats\r\n" in head
    writer.close()


@pytest.mark.parametrize(
    ("headers", "status", "reason", "hint"),
    [
        ({"node_id": "n1"}, 400, "connection_use", "ConnectionUse: msg"),
        ({"node_id": "n1", "ConnectionUse": "str"}, 400, "connection_use", "ConnectionUse: msg"),
        ({"node_id": "n2", "ConnectionUse": "msg"}, 403, "node_id_mismatch", "node n1"),
        ({"ConnectionUse": "msg"}, 403, "node_id_mismatch", "node_id"),
    ],
)
async def test_a_handshake_that_lacks_something_is_refused_with_the_reason(
    stage: Stage, headers: dict[str, str], status: int, reason: str, hint: str
) -> None:
    async with stage.edge("n2") as other:
        with pytest.raises(InvalidStatus) as refused:
            await stage.connect("n1", headers=headers)
        assert refused.value.response.status_code == status
        assert hint in (refused.value.response.body or b"").decode()
        assert stage.refused(reason) == 1
        assert await other.is_served()


async def test_a_node_without_the_edge_label_is_refused(stage: Stage) -> None:
    stage.foreign.add("n1")
    with pytest.raises(InvalidStatus) as refused:
        await stage.connect("n1")
    assert refused.value.response.status_code == 403
    assert b"kubectl label node n1 node-role.kubernetes.io/edge=" in (
        refused.value.response.body or b""
    )
    assert stage.refused("not_an_edge_node") == 1


async def test_a_certificate_that_was_revoked_is_refused_with_the_way_back(stage: Stage) -> None:
    stage.revoked["n1"] = True
    with pytest.raises(InvalidStatus) as refused:
        await stage.connect("n1")
    assert refused.value.response.status_code == 403
    assert b"cloudcore token create --node-name n1" in (refused.value.response.body or b"")
    assert refused.value.response.headers[REFUSAL_HEADER] == "revoked"
    assert stage.refused("revoked") == 1
    async with stage.edge("n2") as other:
        assert await other.is_served()


async def test_an_authority_that_was_given_up_during_the_handshake_lets_nobody_in(
    stage: Stage,
) -> None:
    stage.given_up.add(pki.fingerprint(stage.certificates.authority.der))
    with pytest.raises(InvalidStatus) as refused:
        await stage.connect("n1")
    assert refused.value.response.status_code == 403
    assert b"by no authority that is trusted" in (refused.value.response.body or b"")
    assert stage.refused("untrusted") == 1


async def test_a_certificate_that_is_no_nodes_is_refused(stage: Stage, tmp_path: Path) -> None:
    # KubeEdge's own servers have certificates of the same authority, but not for clients.
    server = stage.certificates.server()
    stranger = tls.client_context(
        stage.certificates.authority.pem, tmp_path / "server.crt", tmp_path / "server.key"
    )
    assert server.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises((OSError, InvalidMessage)):
        await stage.connect("n1", context=stranger)
    await until(lambda: stage.refused("websocket_tls_handshake") == 1)
    assert len(stage.registry) == 0


async def test_a_certificate_of_another_authority_ends_the_tls_handshake(stage: Stage) -> None:
    other = issuing.new_authority(datetime.now(UTC))
    with pytest.raises((OSError, InvalidMessage)):
        await stage.connect("n1", context=stage.certificates.client("n1", other))
    await until(lambda: stage.refused("websocket_tls_handshake") == 1)


async def test_the_hub_takes_as_many_nodes_as_it_may_and_not_one_more(stage: Stage) -> None:
    async with (
        stage.edge("n1") as first,
        stage.edge("n2"),
        stage.edge("n3"),
        stage.edge("n4") as last,
    ):
        with pytest.raises(InvalidStatus) as refused:
            await stage.connect("n5")
        assert refused.value.response.status_code == 503
        assert b"--node-limit" in (refused.value.response.body or b"")
        assert stage.refused("node_limit") == 1
        assert await first.is_served()
        assert await last.is_served()
    await until(lambda: len(stage.registry) == 0)
    async with stage.edge("n5") as late:
        assert await late.is_served()


async def test_what_is_no_websocket_handshake_is_refused(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection(
        HOST, stage.port, ssl=stage.certificates.client("n1")
    )
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nnode_id: n1\r\nConnectionUse: msg\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 426")
    writer.close()
    await until(lambda: stage.refused("bad_request") == 1)


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError, ssl.SSLError):
        return await reader.read()
    return b""


async def answered(stage: Stage, *headers: bytes) -> bytes:
    """Return the first line of the answer to a request that has these headers besides."""
    reader, writer = await asyncio.open_connection(
        HOST, stage.port, ssl=stage.certificates.client("n2")
    )
    writer.write(START + b"".join(headers) + REQUEST)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_a_header_has_a_size(stage: Stage) -> None:
    assert b" 101 " in await answered(stage, b"X: " + b"x" * (MAX_LINE - 5) + b"\r\n")
    await until(lambda: len(stage.registry) == 0)
    assert b" 431 " in await answered(stage, b"X: " + b"x" * (MAX_LINE - 4) + b"\r\n")
    await until(lambda: stage.refused("bad_request") == 1)


async def test_a_request_has_so_many_headers(stage: Stage) -> None:
    more = MAX_HEADERS - 1 - REQUEST.count(b": ")
    assert b" 101 " in await answered(stage, b"X: x\r\n" * more)
    await until(lambda: len(stage.registry) == 0)
    assert b" 431 " in await answered(stage, b"X: x\r\n" * (more + 1))
    await until(lambda: stage.refused("bad_request") == 1)


async def test_a_request_has_a_size_in_all(stage: Stage) -> None:
    first = (b"X: " + b"x" * 6000 + b"\r\n") * 2
    rest = MAX_REQUEST_BYTES - len(START + first + b"Y: \r\n" + REQUEST)
    assert b" 101 " in await answered(stage, first, b"Y: " + b"y" * rest + b"\r\n")
    await until(lambda: len(stage.registry) == 0)
    with suppress(ConnectionError):
        assert not await answered(stage, first, b"Y: " + b"y" * (rest + 1) + b"\r\n")
    await until(lambda: stage.refused("request_too_large") == 1)
    async with stage.edge("n1") as other:
        assert await other.is_served()


async def test_a_request_that_comes_byte_by_byte_has_an_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OPEN_TIMEOUT_S", 0.3)
    reader, writer = await asyncio.open_connection(
        HOST, stage.port, ssl=stage.certificates.client("n1")
    )
    writer.write(START + b"X: ")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_all_of(reader))
        while not reading.done():
            writer.write(b"x")
            await asyncio.wait([reading], timeout=0.02)
    writer.close()
    assert reading.result() == b""
    await until(lambda: stage.refused("handshake_timeout") == 1)


async def test_compression_is_not_agreed_on_and_what_is_compressed_ends_the_connection(
    stage: Stage,
) -> None:
    async with connect(
        f"wss://{HOST}:{stage.port}/",
        ssl=stage.certificates.client("n1"),
        additional_headers={"node_id": "n1", "ConnectionUse": "msg"},
        compression="deflate",
    ) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        socket.transport.write(b"\xc1\x81\0\0\0\0x")  # text, and the bit for "compressed"
        await socket.wait_closed()
        assert socket.close_code == CloseCode.PROTOCOL_ERROR


async def test_nobody_is_let_in_while_cloudcore_stops(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        edge.socket.transport.pause_reading()  # so that it does not answer the close frame
        reader, writer = await asyncio.open_connection(
            HOST, stage.port, ssl=stage.certificates.client("n2")
        )
        for part in (b"GET / HTTP/1.1\r\nHost: x\r\n", REQUEST):
            writer.write(part)
            stage.bus.close(ModuleName.CLOUD_HUB)
            await until(lambda: stage.session("n1")._is_draining)
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        assert b"this cloudcore stops" in await reader.read()
        writer.close()
        assert (stage.refused("stopping"), len(stage.registry)) == (1, 1)
        edge.socket.transport.abort()


async def test_nobody_is_let_in_before_it_is_known_who_may_do_what(tmp_path: Path) -> None:
    ready = asyncio.Event()
    async with staged(tmp_path, ready=ready) as stage, asyncio.TaskGroup() as group:

        async def connect() -> None:
            async with stage.edge("n1") as edge:
                assert await edge.is_served()

        connecting = group.create_task(connect())
        # Another message goes all the way through the hub meanwhile.
        await stage.controller.tell("n9", 1)
        await until(lambda: stage.dropped("not_connected") == 1)
        assert len(stage.registry) == 0
        assert not connecting.done()
        ready.set()
