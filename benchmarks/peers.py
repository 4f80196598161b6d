"""One edge at the other end of a real wss connection, as cheap as it can be made.

A peer speaks ``cloudedge.v1`` with all capabilities: it acknowledges what comes in one read by one
message, takes compressed and cut contents, and says what it holds when it connects. It stores and
runs nothing: what is measured is cloudcore, and on two cores the peers must cost little. They speak
through picows, whose frames cost a third of what they cost in ``websockets``, and what cloudcore
writes to many of them is read once.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import picows

from common import frames, inventory, wire
from common.beehive.message import Message, new, raw
from common.delivery.backoff import Backoff, BackoffPolicy
from common.inventory import Row
from common.names import GroupName, ModuleName, NodeID, Operation, ResourceType

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=30.0)  # as an edge's inventory
_READ_ONCE: Final = 512  # messages; those that all get come close together
_HELD: Final = frozenset(
    {
        ResourceType.POD,
        ResourceType.CONFIGMAP,
        ResourceType.SECRET,
        ResourceType.SERVICE,
        ResourceType.NODE,
    }
)

_Name = tuple[str, str, str]


class _Metadata(msgspec.Struct):
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata


class _InStep(msgspec.Struct):
    differs: bool = False


class _Said(NamedTuple):
    message: Message
    name: _Name | None
    """By which it is held; None for what is not held."""
    row: Row | None
    """None for what is deleted, or not held."""


@dataclass(slots=True)
class _Transfer:
    begin: frames.Begin
    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom a peer tells what happens. None of these may raise or wait."""

    arrived: Callable[[NodeID, str], None]
    """Node and resource of each object, before it is acknowledged."""

    in_step: Callable[[NodeID], None]
    """The cloud has said that the node holds what it should."""

    beat: Callable[[NodeID], None]
    """A beat goes out."""

    beat_answered: Callable[[NodeID, float], None]
    """After that many seconds."""


class Peer(picows.WSListener):
    """One edge, for as many connections as it makes, one at a time."""

    def __init__(self, node: NodeID, listeners: Listeners) -> None:
        """Hold nothing yet."""
        self.node, self._listeners = node, listeners
        self.acknowledges = True
        self.transport: picows.WSTransport | None = None
        """None without a connection."""
        self._rows: dict[_Name, Row] = {}
        self._unacknowledged: list[str] = []
        self._inventory_id = ""
        self._beats = 0
        self._sent_s: dict[int, float] = {}  # by number of the beat
        self._wants_digest = False
        self._transfer: _Transfer | None = None
        self._retry = Backoff(_RETRY)

    # --- what it does ----------------------------------------------------------------------------

    def beat(self) -> None:
        """Say that it lives and does its work."""
        if self.transport is None:
            return
        self._beats += 1
        digest = inventory.digest(self._rows.values()) if self._wants_digest else None
        self._wants_digest = False
        self._sent_s[self._beats] = time.monotonic()
        self._listeners.beat(self.node)
        self._send_frame(frames.Beat(self._beats, progresses=True, digest=digest))

    def ask(self, operation: Operation, resource: str, content: object = None) -> str:
        """Send a request; return its id."""
        request = new(ModuleName.EDGED, GroupName.META, operation, resource, raw(content))
        self._send(request)
        return request.msg_id

    def cut(self) -> None:
        """Cut the connection without a word."""
        if self.transport is not None:
            self.transport.underlying_transport.abort()

    # --- what it is told by its transport --------------------------------------------------------

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Say that it is alive, and in brief what it holds."""
        self.transport, self._transfer, self._wants_digest = transport, None, False
        self._sent_s.clear()
        self._retry.reset()
        self.beat()
        self._say_in_brief()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Forget the connection."""
        if self.transport is transport:
            self.transport = None
            self._unacknowledged.clear()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Take in a frame; acknowledge after the last one that came with it."""
        if frame.msg_type is picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type is picows.WSMsgType.TEXT:
            self._take(_read(frame.get_payload_as_bytes()))
        elif frame.msg_type is picows.WSMsgType.BINARY:
            self._take_frame(frame.get_payload_as_bytes())
        if frame.last_in_buffer and self._unacknowledged:
            self._acknowledge()

    # --- inside ----------------------------------------------------------------------------------

    def _take_frame(self, payload: bytes) -> None:
        if payload[0] == frames.FrameType.DEFLATED:
            self._take(_read_deflated(payload))
            return
        match frames.decode(payload):
            case frames.BeatAnswer(number, _, wants_digest):
                self._wants_digest = self._wants_digest or wants_digest
                self._beat_answered(number)
            case frames.Begin() as begin:
                self._transfer = _Transfer(begin)
                self._send_frame(frames.Credit(begin.transfer, 0))
            case frames.Chunk() as chunk:
                self._take_chunk(chunk)

    def _beat_answered(self, number: int) -> None:
        """Take in an answer, which stands for those to earlier beats too."""
        sent_s = self._sent_s.get(number)
        if sent_s is not None:
            self._listeners.beat_answered(self.node, time.monotonic() - sent_s)
            self._sent_s = {n: at for n, at in self._sent_s.items() if n > number}

    def _take_chunk(self, chunk: frames.Chunk) -> None:
        transfer = self._transfer
        if transfer is None or transfer.begin.transfer != chunk.transfer:
            return
        assert chunk.offset == len(transfer.data), "chunks come in order"
        transfer.data += chunk.data
        self._send_frame(frames.Credit(chunk.transfer, len(transfer.data)))
        if len(transfer.data) == transfer.begin.size:
            self._transfer = None
            self._take(_put_together(transfer))

    def _take(self, said: _Said) -> None:
        message = said.message
        if message.parent_id:
            if message.parent_id == self._inventory_id:
                self._compared(message)
        elif message.operation is Operation.QUERY:
            self._say_all_that_is_held()
        else:
            if said.name is not None and said.row is not None:
                self._rows[said.name] = said.row
            elif said.name is not None:
                self._rows.pop(said.name, None)
            self._listeners.arrived(self.node, message.resource)
            if self.acknowledges:
                self._unacknowledged.append(message.msg_id)

    def _compared(self, answer: Message) -> None:
        if wire.status_of(answer.content) is not None:  # the cloud cannot know
            pause_s = self._retry.next_s()
            asyncio.get_running_loop().call_later(pause_s, self._ask_again, self.transport)
        elif wire.loads_as(answer.content, _InStep).differs:
            self._say_all_that_is_held()
        else:
            self._inventory_id = ""
            self._listeners.in_step(self.node)

    def _ask_again(self, transport: picows.WSTransport | None) -> None:
        if transport is not None and self.transport is transport:
            self._say_in_brief()

    def _say_in_brief(self) -> None:
        rows = self._rows.values()
        digest = inventory.to_hex(inventory.digest(rows))
        self._say_what_is_held({"digest": digest, "count": len(rows)})

    def _say_all_that_is_held(self) -> None:
        rows = self._rows.values()
        self._say_what_is_held(
            {"objects": [[*row[:5], inventory.to_hex(row.content)] for row in rows]}
        )

    def _say_what_is_held(self, held: dict[str, object]) -> None:
        newest: dict[str, int] = {}
        for row in self._rows.values():
            newest[row.resource_type] = max(newest.get(row.resource_type, 0), int(row.version))
        content = {**held, "newest": {kind: str(version) for kind, version in newest.items()}}
        self._inventory_id = self.ask(Operation.QUERY, f"null/inventory/{self.node}", content)

    def _acknowledge(self) -> None:
        content = raw({"acked": self._unacknowledged})
        self._unacknowledged = []
        source, group = ModuleName.META_MANAGER, GroupName.RESOURCE
        self._send(new(source, group, Operation.RESPONSE, "", content))

    def _send(self, message: Message) -> None:
        if self.transport is not None:
            self.transport.send(picows.WSMsgType.TEXT, wire.encode(message))

    def _send_frame(self, frame: frames.Frame) -> None:
        if self.transport is not None:
            self.transport.send(picows.WSMsgType.BINARY, frames.encode(frame))


@lru_cache(_READ_ONCE)
def _read(text: bytes) -> _Said:
    return _understood(wire.decode(text))


@lru_cache(_READ_ONCE)
def _read_deflated(payload: bytes) -> _Said:
    text = frames.inflate(payload[1:], max_bytes=wire.MAX_MESSAGE_BYTES)
    return _understood(wire.decode(text))


def _put_together(transfer: _Transfer) -> _Said:
    begin, data = transfer.begin, bytes(transfer.data)
    assert frames.hash_of(data) == begin.hash, "it came whole"
    if begin.encoding is frames.Encoding.DEFLATE:
        data = frames.inflate(data, max_bytes=begin.inflated_size)
    message = wire.decode(begin.envelope)
    return _understood(msgspec.structs.replace(message, content=msgspec.Raw(data)))


def _understood(message: Message) -> _Said:
    namespace, _, rest = message.resource.partition("/")
    kind, _, name = rest.partition("/")
    if message.parent_id or message.operation is Operation.QUERY or kind not in _HELD:
        return _Said(message, None, None)
    held = (kind, namespace, name)
    if message.operation is Operation.DELETE:
        return _Said(message, held, None)
    uid = wire.loads_as(message.content, _Object).metadata.uid
    version = message.header.resourceversion or "0"
    content = inventory.content_hash(message.content)
    return _Said(message, held, Row(kind, namespace, name, uid, version, content))
