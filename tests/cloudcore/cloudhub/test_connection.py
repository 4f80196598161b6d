"""What a connection takes in and remembers. Real TLS, WebSockets; edge, controller are doubles.

Where a peer's every byte matters, the transport and the session are doubles too.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.connection import HubConnection
from common import wire
from common.beehive.message import new, raw
from common.names import Operation, PeerProtocol
from tests.cloudcore.cloudhub.bare import MIB, OWN
from tests.cloudcore.cloudhub.stage import ENVELOPE, PATIENCE_S, Stage, staged, until

pytestmark = pytest.mark.both_loops


class Peer(asyncio.Transport):
    """The transport, door and session of a connection whose handshake is over."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.received_: list[tuple[bytes, bool]] = []
        self.disturbances = 0
        self.pauses_after: int | None = None
        self.is_paused = self.is_closing_ = False
        protocol = ServerProtocol()
        self.connection = HubConnection(protocol, self, memoryview(bytearray(64)), open_timeout_s=1)
        self.connection.connection_made(self)
        request = (
            "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.bring(request.encode())
        self.written.clear()

    def say(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> None:
        self.bring(Frame(opcode, data, fin).serialize(mask=True))

    def bring(self, data: bytes) -> None:
        for start in range(0, len(data), 64):
            part = data[start : start + 64]
            self.connection.get_buffer(-1)[: len(part)] = part
            self.connection.buffer_updated(len(part))

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self.is_closing_ = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def begun(self, connection: HubConnection) -> None:
        pass

    def answer(self, connection: HubConnection, request: Request) -> Response:
        return connection._protocol.accept(request)

    def opened(self, connection: HubConnection) -> "Peer":
        assert connection is self.connection
        return self

    def failed(self, connection: HubConnection, reason: str, detail: str) -> None:
        raise AssertionError(connection, reason, detail)

    def closed(self, connection: HubConnection) -> None:
        pass

    def received(self, payload: bytes, *, is_text: bool) -> None:
        self.received_.append((payload, is_text))
        if len(self.received_) == self.pauses_after:
            self.connection.pause_reading()

    def disturbed(self) -> None:
        self.disturbances += 1

    def writable(self) -> None:
        pass

    def lost(self, close: Close | None) -> None:
        pass


async def test_pings_of_a_peer_that_takes_no_pongs_do_not_pile_up() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    for number in range(1000):
        peer.say(Opcode.PING, b"%d" % number)
    assert peer.written == b""
    peer.connection.resume_writing()
    assert peer.written == Frame(Opcode.PONG, b"999").serialize(mask=False)
    peer.connection.resume_writing()
    peer.say(Opcode.PING, b"x")
    assert peer.written.endswith(Frame(Opcode.PONG, b"x").serialize(mask=False))


async def test_nothing_is_written_behind_a_close_frame() -> None:
    peer = Peer()
    peer.connection.pause_writing()
    peer.say(Opcode.PING, b"1")
    peer.connection.close(1001, "")
    peer.connection.resume_writing()
    assert peer.written == Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=False)


async def test_nothing_is_written_to_a_peer_that_closes() -> None:
    peer = Peer()
    peer.say(Opcode.CLOSE, b"\x03\xe8")
    assert peer.is_closing_
    answer = Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
    peer.connection.send(b"late", is_text=True)
    peer.connection.flush()
    peer.connection.close(1001, "")
    assert peer.written == answer


async def test_what_has_come_waits_in_order_while_reading_is_paused_even_in_the_midst_of_it() -> (
    None
):
    peer = Peer()
    peer.pauses_after = 2
    frames = [Frame(Opcode.TEXT, b"%d" % number) for number in range(6)]
    peer.bring(b"".join(frame.serialize(mask=True) for frame in frames))
    assert (peer.is_paused, len(peer.received_)) == (True, 2)
    peer.pauses_after = 5
    peer.connection.resume_reading()
    assert (peer.is_paused, len(peer.received_)) == (True, 5)
    peer.connection.pause_reading()
    peer.connection.resume_reading()
    peer.connection.resume_reading()
    assert not peer.is_paused
    assert peer.received_ == [(b"%d" % number, True) for number in range(6)]


async def test_a_close_frame_is_answered_though_reading_is_paused_behind_it() -> None:
    peer = Peer()
    peer.pauses_after = 1
    texts = [Frame(Opcode.TEXT, b"x"), Frame(Opcode.TEXT, b"y"), Frame(Opcode.CLOSE, b"\x03\xe8")]
    peer.bring(b"".join(frame.serialize(mask=True) for frame in texts))
    assert peer.is_closing_
    assert len(peer.received_) == 1


async def test_a_message_takes_no_more_than_its_bytes_in_however_many_fragments() -> None:
    peer = Peer()
    peer.say(Opcode.BINARY, b"", fin=False)
    for _ in range(2000):
        peer.say(Opcode.CONT, b"", fin=False)
    assert peer.connection._parts.__sizeof__() < 100
    for _ in range(2000):
        peer.say(Opcode.CONT, b"ab", fin=False)
    assert peer.connection._parts.__sizeof__() < 2 * 4000
    peer.say(Opcode.CONT, b"c")
    peer.say(Opcode.TEXT, b"d", fin=False)
    peer.say(Opcode.CONT, b"e")
    assert peer.received_ == [(b"ab" * 2000 + b"c", False), (b"de", True)]


async def test_what_is_no_message_and_brings_little_is_told_of() -> None:
    peer = Peer()
    peer.say(Opcode.TEXT, b"a")
    peer.say(Opcode.TEXT, b"a" * 4096, fin=False)
    peer.say(Opcode.CONT, b"a" * 4096, fin=False)
    assert peer.disturbances == 0
    peer.say(Opcode.PING, b"")
    peer.say(Opcode.PONG, b"")
    peer.say(Opcode.CONT, b"", fin=False)
    assert peer.disturbances == 3
    peer.say(Opcode.CONT, b"")
    assert (len(peer.received_), peer.disturbances) == (2, 3)


async def test_whatever_comes_counts_as_life(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection = stage.session("n1")._wire
        # Not for so long that it would be given up where the hub looks at this moment.
        connection.last_received_s -= 10.0
        before_s = connection.last_received_s
        assert await edge.is_served()
        assert connection.last_received_s > before_s


@pytest.mark.parametrize("own", [True, False])
async def test_it_knows_what_was_agreed_on(stage: Stage, *, own: bool) -> None:
    offered = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)] if own else None
    async with stage.edge("n1", offered):
        protocol = stage.session("n1")._wire.peer_protocol
        assert protocol is (PeerProtocol.CLOUDEDGE_V1 if own else PeerProtocol.KUBEEDGE)


async def test_it_serves_on_without_what_only_the_handshake_needed(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection = stage.session("n1")._wire
        assert isinstance(connection, HubConnection)
        assert connection.node == "n1"
        assert connection.certificate == {}
        assert await edge.is_served()


async def test_text_that_is_not_utf8_closes_the_connection(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        await edge.socket.send(b'{"\xff"}', text=True)
        assert (await edge.closed())[0] == 1007
        await until(lambda: stage.refused("malformed") == 1)
        assert await other.is_served()


async def test_a_message_has_a_largest_size_and_one_byte_more_closes_the_connection(
    tmp_path: Path,
) -> None:
    limit = 256 * 1024
    async with staged(tmp_path, max_message_bytes=limit) as stage, stage.edge("n2") as other:
        async with stage.edge("n1") as edge:
            filler = limit - len(ENVELOPE % b'""')
            largest = ENVELOPE % (b'"' + b"x" * filler + b'"')
            assert len(largest) == limit
            await edge.socket.send(largest, text=True)
            status = wire.status_of((await edge.receive()).content)
            assert status is not None, "it was read, and refused for what it says"
            await edge.socket.send(largest + b" ", text=True)
            assert (await edge.closed())[0] == 1009
        await until(lambda: stage.refused("too_large") == 1)
        assert await other.is_served()


async def test_a_message_of_33_mib_is_refused_before_it_is_read(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:

        async def send() -> None:
            with suppress(ConnectionClosed):  # it is cut while it still sends
                await edge.socket.send(b"x" * (33 * MIB), text=True)

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            assert (await edge.closed())[0] == 1009
        await until(lambda: stage.refused("too_large") == 1)
        assert stage.counted("received_bytes_total") < MIB
        assert await other.is_served()


async def test_fragments_as_go_sends_them_are_one_message(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        whole = wire.encode(new("edged", "meta", Operation.QUERY, OWN, raw("x" * 10_000))).decode()
        await edge.socket.send([whole[i : i + 4096] for i in range(0, len(whole), 4096)])
        async with asyncio.timeout(PATIENCE_S):
            request = await stage.controller.next_of(Operation.QUERY)
        assert len(bytes(request.content)) == 10_002
