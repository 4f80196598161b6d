"""Large contents that come in chunks: put together, and gone on with after a cut. Pure.

One at a time. What came of a content outlives its connection: the next one announces the content by
its hash, and is told how much of it is here. A content whose hash is wrong is forgotten and asked
for from its beginning.
"""

from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from common.beehive.message import Message
from common.errors import MessageTooLargeError, WireError
from common.frames import Begin, Chunk, Credit, Encoding, hash_of, inflate
from common.wire import MAX_MESSAGE_BYTES, check_depth, decode, loads_as


class Event(StrEnum):
    """Something worth a count."""

    BEGUN = "begun"
    RESUMED = "resumed"
    """Begun with a part that came over an earlier connection."""
    REPLACED = "replaced"
    """Another content was announced before this one was whole: its part is gone."""
    COMPLETED = "completed"
    CORRUPT = "corrupt"
    """Whole, and not what was announced."""
    STRAY = "stray"
    """A chunk of nothing that comes, or one with a gap before it: left aside."""


class Whole(Struct, frozen=True):
    """A content that is here from its beginning to its end."""

    begin: Begin
    data: bytes

    def message(self) -> Message:
        """Return the message that it belongs to.

        Raises:
            UnknownOperationError: as ``wire.decode``.
            WireError: there is no such message, or the content is not the JSON that was announced.
        """
        message = decode(self.begin.envelope)
        content, size = self.data, self.begin.inflated_size
        if self.begin.encoding is Encoding.DEFLATE:
            content = inflate(content, max_bytes=size)
        if len(content) != size:
            raise WireError(f"a content of {len(content)} bytes, announced were {size}")
        check_depth(content)
        return msgspec.structs.replace(message, content=loads_as(content, msgspec.Raw))


class Step(Struct, frozen=True):
    """What follows from a frame."""

    credit: Credit | None = None
    """The answer."""
    whole: Whole | None = None
    events: tuple[Event, ...] = ()


_STRAY: Final = Step(events=(Event.STRAY,))


class Transfers:
    """What comes in chunks to one edge, over all its connections."""

    def __init__(self) -> None:
        """Have nothing."""
        self._begun: Begin | None = None  # on this connection
        self._announced = (b"", 0)  # hash and size of what the part is of
        self._part = bytearray()

    def new_connection(self) -> None:
        """Note that numbers of transfers mean nothing any more; what came is kept."""
        self._begun = None

    def begin(self, begin: Begin) -> Step:
        """Take an announcement, in place of any before it.

        Raises:
            WireError: of nothing, or of more than a message may have.
        """
        if not begin.size or not begin.inflated_size:
            raise WireError("a transfer of nothing")
        if max(begin.size, begin.inflated_size) > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(f"a transfer of {begin.inflated_size} bytes")
        announced = (begin.hash, begin.size)
        events: tuple[Event, ...] = (Event.BEGUN,)
        if self._part and announced == self._announced:
            events = (Event.RESUMED,)
        elif self._part:
            events = (Event.REPLACED, Event.BEGUN)
            self._part = bytearray()
        self._announced, self._begun = announced, begin
        return Step(Credit(begin.transfer, len(self._part)), events=events)

    def take(self, chunk: Chunk) -> Step:
        """Take a chunk.

        Raises:
            WireError: it goes beyond what was announced.
        """
        begun = self._begun
        if begun is None or chunk.transfer != begun.transfer:
            return _STRAY
        have = len(self._part)
        if chunk.offset > have:
            return Step(Credit(begun.transfer, have), events=(Event.STRAY,))
        self._part += memoryview(chunk.data)[have - chunk.offset :]
        have = len(self._part)
        if have > begun.size:
            self._forget()
            raise WireError(f"a transfer of more than the {begun.size} bytes announced")
        if have < begun.size:
            return Step(Credit(begun.transfer, have))
        return self._finish(begun)

    def _finish(self, begun: Begin) -> Step:
        data = bytes(self._part)
        self._part = bytearray()
        if hash_of(data) != begun.hash:
            return Step(Credit(begun.transfer, 0), events=(Event.CORRUPT,))
        self._forget()
        credit = Credit(begun.transfer, begun.size)
        return Step(credit, Whole(begun, data), (Event.COMPLETED,))

    def _forget(self) -> None:
        self._begun, self._announced, self._part = None, (b"", 0), bytearray()
