"""A message as it is written: encoded and compressed once, for however many nodes get it. Pure.

What is written of a message is the same for all nodes that speak alike: the resource loses its
node, and an id has to be unique within a connection only. And what nodes are told one by one, as
those that join are, often is the same large content.
"""

from typing import Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from common import frames, wire
from common.beehive.message import NULL, Message
from common.capabilities import Capabilities, Capability
from common.delivery.outbox import LARGE
from common.frames import Encoding
from common.names import Operation, ResourceType

LARGE_FROM_BYTES: Final = 8 * 1024
"""A content that is longer, when compressed, goes in chunks: one second of a 64 kbit/s link."""

_NO_CONTENT: Final = b"null}"
"""The end of an envelope: the content comes last."""

ENVELOPE_BYTES: Final = 512
"""What a message takes besides its content, and more."""


class Payload(Struct, frozen=True):
    """What goes into one WebSocket frame."""

    data: bytes
    is_text: bool


class Bulk(Struct, frozen=True, weakref=True):
    """A content that goes in chunks."""

    envelope: bytes
    encoding: Encoding
    data: bytes
    inflated_size: int
    hash: bytes


class Bulks:
    """Large contents, each compressed and in memory once, for as long as any message has it."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[tuple[bytes, bool], Bulk] = WeakValueDictionary()

    def cut(self, message: Message, *, may_deflate: bool) -> Bulk:
        """Return the content of ``message`` by itself."""
        content = bytes(message.content)
        envelope = wire.encode(msgspec.structs.replace(message, content=NULL))
        known = frames.hash_of(content), may_deflate
        alike = self._made.get(known)
        # The newest stands for the others: it is the last to be written.
        bulk = self._made[known] = (
            _cut(envelope, content, may_deflate=may_deflate)
            if alike is None
            else replace(alike, envelope=envelope)
        )
        return bulk


class Parcel:
    """One message, in the site form of its resource, on its way to any number of nodes."""

    __slots__ = (
        "_bulk",
        "_bulks",
        "_deflated",
        "_restated",
        "_text",
        "is_restated",
        "message",
        "version",
    )

    def __init__(self, message: Message, bulks: Bulks | None = None) -> None:
        """Wrap ``message``; ``bulks`` knows the large contents of others, where there are any."""
        self.message = message
        self._bulks = bulks or Bulks()
        version = message.header.resourceversion
        # Source: versions of one type may be compared as numbers (KEP-5504, Kubernetes 1.35).
        self.version = int(version) if version.isdecimal() else 0
        self.is_restated = message.header.type == ResourceType.INVENTORY
        self._text: Payload | None = None
        self._deflated: Payload | None = None
        self._bulk: dict[bool, Bulk] = {}
        self._restated: Parcel | None = None  # one for all nodes that need the mark

    def restated(self) -> "Parcel":
        """Return the same, marked as what the node should hold, whatever it held before."""
        if self.is_restated:
            return self
        if self._restated is None:
            header = msgspec.structs.replace(self.message.header, type=ResourceType.INVENTORY)
            message = msgspec.structs.replace(self.message, header=header)
            self._restated = Parcel(message, self._bulks)
        return self._restated

    @property
    def msg_id(self) -> str:
        """The id by which it is acknowledged."""
        return self.message.header.msg_id

    @property
    def operation(self) -> Operation:
        """The verb."""
        return self.message.route.operation

    @property
    def content_bytes(self) -> int:
        """How long the content is, not compressed."""
        return len(memoryview(self.message.content))

    def measure(self, capabilities: Capabilities) -> int:
        """Return the bytes of its one frame, or ``LARGE`` where it goes in chunks."""
        return LARGE if self.is_large(capabilities) else len(self.payload(capabilities).data)

    def is_large(self, capabilities: Capabilities) -> bool:
        """Whether it goes in chunks, to a peer of these capabilities."""
        if Capability.CHUNKS not in capabilities:
            return False
        size = self.content_bytes
        return size > LARGE_FROM_BYTES and len(self.bulk(capabilities).data) > LARGE_FROM_BYTES

    def payload(self, capabilities: Capabilities) -> Payload:
        """Return the frame that says all of it."""
        if Capability.DEFLATE not in capabilities:
            return self._plain()
        if self._deflated is None:
            self._deflated = self._squeezed()
        return self._deflated

    def bulk(self, capabilities: Capabilities) -> Bulk:
        """Return its content by itself, and what it belongs to."""
        return self._content(may_deflate=Capability.DEFLATE in capabilities)

    def _content(self, *, may_deflate: bool) -> Bulk:
        bulk = self._bulk.get(may_deflate)
        if bulk is None:
            bulk = self._bulks.cut(self.message, may_deflate=may_deflate)
            self._bulk[may_deflate] = bulk
        return bulk

    def _plain(self) -> Payload:
        if self._text is None:
            self._text = Payload(wire.encode(self.message), is_text=True)
        return self._text

    def _squeezed(self) -> Payload:
        if self.content_bytes > LARGE_FROM_BYTES:
            return self._joined()
        text = self._plain()
        if len(text.data) < frames.DEFLATED_FROM_BYTES:
            return text
        deflated = frames.encode(frames.Deflated(frames.deflate(text.data)))
        return Payload(deflated, is_text=False) if len(deflated) < len(text.data) else text

    def _joined(self) -> Payload:
        """Return its frame around the content, which was compressed to see how long that is."""
        bulk = self._content(may_deflate=True)
        if bulk.encoding is Encoding.RAW:
            return self._plain()
        before = bulk.envelope.removesuffix(_NO_CONTENT)
        deflated = frames.Deflated(frames.join(before, bulk.data, b"}"))
        return Payload(frames.encode(deflated), is_text=False)


def _cut(envelope: bytes, content: bytes, *, may_deflate: bool) -> Bulk:
    deflated = frames.deflate_joinable(content) if may_deflate else content
    is_smaller = len(deflated) < len(content)
    data = deflated if is_smaller else content
    encoding = Encoding.DEFLATE if is_smaller else Encoding.RAW
    return Bulk(envelope, encoding, data, len(content), frames.hash_of(data))
