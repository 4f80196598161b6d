"""The binary frames of ``cloudedge.v1``: keepalives, compressed messages, large contents in parts.

Messages stay JSON in text frames; what is binary is what text is too large or too slow for. The
first byte says what a frame is; numbers are big-endian. Which frames a peer understands it says
when it connects (``common.capabilities``).

====  ===============  ====  ======================================================================
byte  frame            sent  then
====  ===============  ====  ======================================================================
0x01  ``Deflated``     down  a message, its JSON compressed (RFC 1951)
0x02  ``Beat``         up    flags (1), number (4), digest of what the edge holds (8) where flagged
0x03  ``BeatAnswer``   down  flags (1), number of the beat (4), milliseconds since the epoch (8)
0x04  ``Begin``        down  transfer (4), encoding (1), bytes to be sent (4), bytes of the content
                             (4), BLAKE2b of what is sent (16), a message without content in JSON
0x05  ``Chunk``        down  transfer (4), offset (4), bytes
0x06  ``Credit``       up    transfer (4), offset up to which the edge has everything (4)
====  ===============  ====  ======================================================================

0x40 to 0x7f are reserved for channels (logs, exec), each with an id and credits of its own.
"""

import hashlib
import struct
import zlib
from enum import IntEnum
from typing import Final

from msgspec import Struct

from common.errors import MessageTooLargeError, WireError

CHUNK_BYTES: Final = 4096
"""Data of a ``Chunk`` at most: half a second of a 64 kbit/s link."""

DEFLATED_FROM_BYTES: Final = 1024
"""Shorter ones are hardly smaller when compressed, and cost as much."""

_LEVEL: Final = 6
_RAW_DEFLATE: Final = -15

# Window and memory of the compressor, as zlib has them. By default it takes 256 KiB and gives them
# back, which for a message of usual size costs as much as to compress it. The result is as short.
_LARGE: Final = (_RAW_DEFLATE, 8)
_SMALL: Final = (-14, 6)
_SMALL_BYTES: Final = 16 * 1024  # the small window's size
_END: Final = b"\x03\x00"
"""A last block that is empty (RFC 1951, section 3.2.6), on a byte boundary."""
_HASH_BYTES: Final = 16

_BEAT: Final = struct.Struct(">BI")
_DIGEST: Final = struct.Struct(">Q")
_BEAT_ANSWER: Final = struct.Struct(">BIQ")
_BEGIN: Final = struct.Struct(">IBII16s")
_CHUNK: Final = struct.Struct(">II")
_CREDIT: Final = struct.Struct(">II")

_PROGRESSES: Final = 1
_HAS_DIGEST: Final = 2
_WANTS_DIGEST: Final = 1


class FrameType(IntEnum):
    """The first byte of a binary frame."""

    DEFLATED = 1
    BEAT = 2
    BEAT_ANSWER = 3
    BEGIN = 4
    CHUNK = 5
    CREDIT = 6


class Encoding(IntEnum):
    """What was done to a content before it was cut into chunks."""

    RAW = 0
    DEFLATE = 1


class Deflated(Struct, frozen=True):
    """A whole message, compressed."""

    data: bytes


class Beat(Struct, frozen=True):
    """A sign of life of an edge; answered by a ``BeatAnswer`` of the same number."""

    number: int
    """Counts up by one, and starts anew after 2**32."""

    progresses: bool
    """edged does its work, so the node's lease is to be renewed."""

    digest: int | None = None
    """See ``common.inventory``: of all that the edge holds, where that is said."""


class BeatAnswer(Struct, frozen=True):
    """What the cloud says to a ``Beat``."""

    number: int
    time_ms: int
    """The cloud's clock, in milliseconds since the epoch."""

    wants_digest: bool = False
    """The next beat shall carry a digest."""


class Begin(Struct, frozen=True):
    """The announcement of a message whose content comes in chunks.

    The edge answers with a ``Credit``: how much of just this content it has from before.
    """

    transfer: int
    encoding: Encoding
    size: int
    """Bytes to be sent."""

    inflated_size: int
    """Bytes of the content."""

    hash: bytes
    """BLAKE2b of what is sent, by which an edge knows a content that it has a part of."""

    envelope: bytes
    """JSON of the message, its content ``null``."""


class Chunk(Struct, frozen=True):
    """A part of a content."""

    transfer: int
    offset: int
    data: bytes


class Credit(Struct, frozen=True):
    """How much of a transfer has come; the cloud goes on from there."""

    transfer: int
    offset: int


Frame = Deflated | Beat | BeatAnswer | Begin | Chunk | Credit


def encode(frame: Frame) -> bytes:
    """Return the payload of the binary WebSocket frame."""
    match frame:
        case Deflated(data):
            return bytes([FrameType.DEFLATED]) + data
        case Beat(number, progresses, digest):
            flags = _PROGRESSES * progresses | _HAS_DIGEST * (digest is not None)
            tail = b"" if digest is None else _DIGEST.pack(digest)
            return bytes([FrameType.BEAT]) + _BEAT.pack(flags, number) + tail
        case BeatAnswer(number, time_ms, wants_digest):
            packed = _BEAT_ANSWER.pack(_WANTS_DIGEST * wants_digest, number, time_ms)
            return bytes([FrameType.BEAT_ANSWER]) + packed
        case Begin(transfer, encoding, size, inflated_size, digest, envelope):
            head = _BEGIN.pack(transfer, encoding, size, inflated_size, digest)
            return bytes([FrameType.BEGIN]) + head + envelope
        case Chunk(transfer, offset, data):
            return bytes([FrameType.CHUNK]) + _CHUNK.pack(transfer, offset) + data
        case Credit(transfer, offset):
            return bytes([FrameType.CREDIT]) + _CREDIT.pack(transfer, offset)


def decode(payload: bytes) -> Frame:
    """Return the frame in ``payload``.

    Raises:
        WireError: it is none that this version knows, or too short or too long for its type.
    """
    if not payload:
        raise WireError("an empty binary frame")
    body = memoryview(payload)[1:]
    try:
        return _decode(FrameType(payload[0]), body)
    except (ValueError, struct.error) as error:
        raise WireError(f"not a frame: type 0x{payload[0]:02x}, {len(payload)} bytes") from error


def _decode(kind: FrameType, body: memoryview) -> Frame:
    match kind:
        case FrameType.DEFLATED:
            return Deflated(bytes(body))
        case FrameType.BEAT:
            flags, number = _BEAT.unpack_from(body)
            rest = body[_BEAT.size :]
            digest = _DIGEST.unpack(rest)[0] if flags & _HAS_DIGEST else None
            if digest is None and rest:
                raise ValueError
            return Beat(number, bool(flags & _PROGRESSES), digest)
        case FrameType.BEAT_ANSWER:
            flags, number, time_ms = _BEAT_ANSWER.unpack(body)
            return BeatAnswer(number, time_ms, bool(flags & _WANTS_DIGEST))
        case FrameType.BEGIN:
            transfer, encoding, size, inflated_size, digest = _BEGIN.unpack_from(body)
            envelope = bytes(body[_BEGIN.size :])
            return Begin(transfer, Encoding(encoding), size, inflated_size, digest, envelope)
        case FrameType.CHUNK:
            transfer, offset = _CHUNK.unpack_from(body)
            return Chunk(transfer, offset, bytes(body[_CHUNK.size :]))
        case FrameType.CREDIT:
            return Credit(*_CREDIT.unpack(body))


def hash_of(data: bytes) -> bytes:
    """Return the hash by which a content is known again."""
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest()


def deflate(data: bytes) -> bytes:
    """Return ``data`` compressed; the same data always gives the same bytes."""
    return _deflate(data, zlib.Z_FINISH)


def deflate_joinable(data: bytes) -> bytes:
    """Return ``data`` compressed, some bytes longer, so that ``join`` can put it between others."""
    return _deflate(data, zlib.Z_SYNC_FLUSH) + _END


def join(before: bytes, joinable: bytes, after: bytes) -> bytes:
    """Return ``before``, what ``joinable`` holds and ``after``, as one that is compressed.

    What stands in the middle, the most of it, is not compressed again.
    """
    return _deflate(before, zlib.Z_SYNC_FLUSH) + joinable.removesuffix(_END) + deflate(after)


def inflate(data: bytes, *, max_bytes: int) -> bytes:
    """Return what was compressed; no more than ``max_bytes`` of it are ever in memory.

    Raises:
        MessageTooLargeError: it is longer.
        WireError: it is not compressed, or not whole.
    """
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    try:
        inflated = inflater.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise WireError(f"cannot be inflated: {error}") from error
    if len(inflated) > max_bytes:
        raise MessageTooLargeError(f"inflates to more than {max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise WireError("compressed data that is cut off or goes on")
    return inflated


def _deflate(data: bytes, how_to_end: int) -> bytes:
    window, memory = _SMALL if len(data) <= _SMALL_BYTES else _LARGE
    squeezer = zlib.compressobj(_LEVEL, zlib.DEFLATED, window, memory)
    return squeezer.compress(data) + squeezer.flush(how_to_end)
