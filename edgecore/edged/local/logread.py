"""Reading what a container wrote, through all files of its log, in bounded memory.

Source: Kubernetes pkg/kubelet/kuberuntime/logs (ReadLogs), which reads the newest file only.

All functions block: call them in a thread.
"""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from edgecore.edged.local.criline import LogLine, moment_of, parse_line
from edgecore.edged.local.logfiles import COMPRESSED, rotated

_LINE_BYTES: Final = 64 * 1024
"""Runtimes write at most 16 KiB in a line; what is longer is taken in pieces."""

_Stream: TypeAlias = BufferedIOBase


class LogOptions(Struct, frozen=True):
    """What of a log is wanted, as in Kubernetes' PodLogOptions."""

    tail_lines: int | None = None
    """Only so many lines, the last ones; all for None."""
    since: datetime | None = None
    """Only lines from this moment on."""
    limit_bytes: int | None = None
    """No more than so many bytes, from the beginning."""
    timestamps: bool = False
    """Whether each line begins with the moment when it was written."""


def log_files(log: Path) -> list[Path]:
    """Return the files of a log, oldest first: the rotated ones, and ``log`` itself.

    Args:
        log: that the container writes to; it need not be there.
    """
    try:
        names = os.listdir(log.parent)
    except FileNotFoundError:
        return []
    files = [log.with_name(name) for name in rotated(log.name, names)]
    return [*files, log] if log.name in names else files


def read_log(files: Sequence[Path], options: LogOptions) -> Iterator[bytes]:
    """Yield what the container wrote, a line or a part of one at a time.

    What is rotated away meanwhile is read to its end; what is written meanwhile may be there.

    Args:
        files: as ``log_files`` returns them.
        options: what is wanted.

    Raises:
        OSError: a file is there and cannot be read.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(stream) for path in files if (stream := _open(path))]
        lines = _tail(streams, options.tail_lines)
        yield from _limited(_shown(lines, options), options.limit_bytes)


def _open(path: Path) -> _Stream | None:
    """Open a log file; it may have been compressed, or be gone, since it was listed."""
    for name in (path, path.with_name(path.name + COMPRESSED)):
        try:
            return gzip.open(name, "rb") if name.suffix == COMPRESSED else name.open("rb")
        except FileNotFoundError:
            continue
    return None


def _tail(streams: Sequence[_Stream], tail_lines: int | None) -> Iterator[LogLine]:
    """Yield the last lines: files are counted, newest first, until there are enough."""
    first, skip = (0, 0) if tail_lines is None else _start(streams, tail_lines)
    for stream in streams[first:]:
        for line in _lines(stream):
            if skip:
                skip -= not line.is_partial
            else:
                yield line


def _start(streams: Sequence[_Stream], tail_lines: int) -> tuple[int, int]:
    """Return the first stream to read, and how many of its lines to pass over."""
    for index in reversed(range(len(streams))):
        count = _count(streams[index])
        if count >= tail_lines:
            return index, count - tail_lines
        tail_lines -= count
    return 0, 0


def _count(stream: _Stream) -> int:
    """Return how many lines there are, and begin again; a last one may have no end."""
    count, is_open = 0, False
    for line in _lines(stream):
        is_open = line.is_partial
        count += not is_open
    stream.seek(0)
    return count + is_open


def _lines(stream: _Stream) -> Iterator[LogLine]:
    try:
        while line := stream.readline(_LINE_BYTES):
            yield parse_line(line)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return  # a power cut left a part of the file only: the others can be read


def _shown(lines: Iterator[LogLine], options: LogOptions) -> Iterator[bytes]:
    is_begun = False  # whether the line is one that an earlier part began
    for line in lines:
        if options.since is not None:
            moment = moment_of(line)
            if moment is not None and moment < options.since:
                continue
        if options.timestamps and line.time and not is_begun:
            yield line.time + b" "
        is_begun = line.is_partial
        yield line.text


def _limited(parts: Iterator[bytes], limit_bytes: int | None) -> Iterator[bytes]:
    if limit_bytes is None:
        yield from parts
        return
    for part in parts:
        if limit_bytes <= 0:
            return
        yield part[:limit_bytes]
        limit_bytes -= len(part)
