"""Directory trees that containers had in their hands: measured and removed whatever is in them.

A container can nest directories deeper than any recursion goes, and may have left mounts in its
volumes. Neither ends edgecore, nor lets it delete what is not the pod's.

All functions block: call them in a thread.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 512
"""The unit of ``st_blocks``, whatever the file system's own is."""

_DEEPEST: Final = 200
_BATCH: Final = 1000
"""Directories may have millions of entries: so many are looked at together."""

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def entries_below(top: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all that is in ``top`` and in its directories; links are not followed.

    What vanishes meanwhile, lies deeper than 200 directories or in another file system is left out.
    """
    device = top.lstat().st_dev
    stack = [os.scandir(top)]
    try:
        while stack:
            entry = _next(stack[-1])
            if entry is None:
                stack.pop().close()
                continue
            yield entry
            if len(stack) < _DEEPEST and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_dev == device:
                        stack.append(os.scandir(entry.path))
    finally:
        for entries in stack:
            entries.close()


def disk_usage(top: Path) -> int:
    """Return the bytes that ``top`` takes on its file system, each file once.

    Raises:
        FileNotFoundError: there is no ``top``.
    """
    root = top.lstat()
    blocks, linked = root.st_blocks, set()
    for entry in entries_below(top):
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if status.st_dev != root.st_dev or status.st_ino in linked:
                continue
            if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                linked.add(status.st_ino)
            blocks += status.st_blocks
    return blocks * _BLOCK_BYTES


def remove_tree(top: Path) -> None:
    """Remove ``top`` and all that is in it; nothing to remove is fine.

    Each directory is moved to ``top`` before it is emptied. So none lies too deep, and a place
    where something is mounted refuses to be moved before anything below it is touched.

    Raises:
        OSError: something cannot be removed (``EBUSY``: it is a mount); call again later.
    """
    try:
        upper = os.open(top, _OPEN_FLAGS)
    except FileNotFoundError:
        return
    try:
        names = (f"..{time.time_ns():x}.{number}" for number in count())
        while batch := _batch(upper):
            for name, is_dir in batch:
                if is_dir:
                    moved = next(names)
                    os.rename(name, moved, src_dir_fd=upper, dst_dir_fd=upper)
                    _empty(moved, upper, names)
                else:
                    os.unlink(name, dir_fd=upper)
    finally:
        os.close(upper)
    top.rmdir()


def _empty(name: str, upper: int, names: Iterator[str]) -> None:
    """Remove a directory in ``upper``; the directories in it are moved there."""
    lower = os.open(name, _OPEN_FLAGS, dir_fd=upper)
    try:
        while batch := _batch(lower):
            for inner, is_dir in batch:
                if is_dir:
                    os.rename(inner, next(names), src_dir_fd=lower, dst_dir_fd=upper)
                else:
                    os.unlink(inner, dir_fd=lower)
    finally:
        os.close(lower)
    os.rmdir(name, dir_fd=upper)


def _batch(directory: int) -> list[tuple[str, bool]]:
    """Return some of what is in ``directory``, and whether each is a directory."""
    with os.scandir(directory) as entries:
        some = islice(entries, _BATCH)
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in some]


def _next(entries: Iterator[os.DirEntry[str]]) -> os.DirEntry[str] | None:
    try:
        return next(entries, None)
    except OSError:
        return None
