"""What the end of a write-ahead log tells about commits that SQLite does not read any more. Pure.

SQLite takes the log as ended at the first frame whose checksum is wrong, and says nothing. That is
right after a power cut: what it cut off was never acknowledged. It is wrong if a frame was damaged
later: then commits go that were acknowledged. What lies behind the end tells one from the other,
because each commit waits for the disk before the next one begins: a power cut leaves at most one
commit there.

What cannot be told: whether the only commit behind the end was ever whole. And two kinds of damage
leave no trace: of just those 12 of the last commit's 4120 bytes that say that it is one, and a log
that was cut off between two commits.

Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24

_MAGIC: Final = 0x377F0682  # plus 1 where checksums are of big-endian numbers
_MASK: Final = 0xFFFFFFFF
_SUMMED_OF_FRAME: Final = 8  # bytes of its header

_Sum = tuple[int, int]


class Loss(IntEnum):
    """Whether something is gone that was acknowledged."""

    NONE = 0
    POSSIBLE = 1
    CERTAIN = 2


def page_bytes(header: bytes) -> int:
    """Return the size of the pages in the log that begins with ``header``; 0 if it is damaged."""
    if len(header) < HEADER_BYTES:
        return 0
    magic, _, size, *_, first, second = struct.unpack(">8I", header)
    if magic & ~1 != _MAGIC or _sum(header[:-8], (0, 0), _order(header)) != (first, second):
        return 0
    return int(size)


def judge(header: bytes, last_read: bytes, frames: Iterable[bytes]) -> Loss:
    """Return what the end of a log tells.

    Args:
        header: the first 32 bytes; less only where the log is shorter.
        last_read: a frame that SQLite reads, the later the quicker; empty for none.
        frames: those behind it, each with the 24 bytes of its own header; the last may be cut off.
    """
    size = page_bytes(header)
    if not size:
        # It is synced before the first frame is written: with frames behind it, it was sound once.
        return Loss.CERTAIN if any(frames) else Loss.NONE
    is_read = True
    commits: list[bool] = []  # that are not read: whether what each says of itself is true
    summed = _said(last_read or header[8:])
    for frame in frames:
        is_current = frame[8:16] == header[16:24]  # its salts are those of this log
        is_commit = is_current and any(frame[4:8])  # it says how large the database is
        is_sound = False
        if is_commit or (is_read and is_current):
            is_whole = len(frame) == FRAME_HEADER_BYTES + size
            is_sound = is_whole and _frame_sum(frame, summed, _order(header)) == _said(frame)
        is_read = is_read and is_sound
        if is_commit and not is_read:
            commits.append(is_sound)
        summed = _said(frame)
    # A full disk leaves commits that say what is not true, one of each failure.
    if len(commits) > 1 and any(commits):
        return Loss.CERTAIN
    return Loss.POSSIBLE if commits else Loss.NONE


def _said(frame: bytes) -> _Sum:
    """Return the checksum that stands in ``frame``."""
    first, second = struct.unpack(">2I", frame[16:FRAME_HEADER_BYTES].ljust(8, b"\0"))
    return first, second


def _frame_sum(frame: bytes, before: _Sum, order: str) -> _Sum:
    return _sum(frame[FRAME_HEADER_BYTES:], _sum(frame[:_SUMMED_OF_FRAME], before, order), order)


def _order(header: bytes) -> str:
    return ">" if header[3] & 1 else "<"


def _sum(data: bytes, before: _Sum, order: str) -> _Sum:
    numbers = iter(struct.unpack(f"{order}{len(data) // 8 * 2}I", data[: len(data) // 8 * 8]))
    first, second = before
    for one, other in zip(numbers, numbers, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
