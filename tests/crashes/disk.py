"""What a power cut leaves on a disk, worked out from what was done to it. Pure.

A file system keeps writes in memory until they are synced, and writes them in any order, sector by
sector, whenever it likes. So does it with entries of a folder, but these in order. A sync that
fails has lost what it was to write, and the next one does not try again: Linux says so once
(https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SECTOR: Final = 512
"""Bytes that a disk writes as a whole or not at all."""

Image = Mapping[str, bytes]
"""Files by name."""


@dataclass(frozen=True, slots=True)
class Create:
    """A file is made, empty."""

    name: str


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes are put into a file."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file ends at ``size`` from now on."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """What was written to a file is on the disk afterwards."""

    name: str


@dataclass(frozen=True, slots=True)
class FailedSync:
    """What was written to a file, and not synced before, is in memory only, and stays there."""

    name: str


@dataclass(frozen=True, slots=True)
class Delete:
    """A file's entry goes."""

    name: str


@dataclass(frozen=True, slots=True)
class Rename:
    """A file has another name, and what had that name is gone."""

    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class SyncFolder:
    """Which files there are is on the disk afterwards."""


Event = Create | Write | Truncate | Sync | FailedSync | Delete | Rename | SyncFolder
_Change = Write | Truncate
_Entry = Create | Delete | Rename


@dataclass(eq=False, slots=True)
class _File:
    in_memory: bytearray = field(default_factory=bytearray)
    on_disk: bytearray = field(default_factory=bytearray)
    pending: list[_Change] = field(default_factory=list)

    def change(self, change: _Change) -> None:
        _do(self.in_memory, change)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            _do(self.on_disk, change)
        self.pending.clear()


class Disk:
    """One folder: as programs see it, and as the disk has it."""

    def __init__(self, image: Image | None = None) -> None:
        """Begin with ``image``, which is on the disk; with nothing if None."""
        self._files = {
            name: _File(bytearray(content), bytearray(content))
            for name, content in (image or {}).items()
        }
        self._on_disk = dict(self._files)
        self._pending: list[tuple[_Entry, _File]] = []

    def do(self, event: Event) -> None:
        """Follow ``event``."""
        match event:
            case Write(name) | Truncate(name):
                self._files[name].change(event)
            case Sync(name):
                self._files[name].sync()
            case FailedSync(name):
                self._files[name].pending.clear()
            case SyncFolder():
                for entry, file in self._pending:
                    _enter(self._on_disk, entry, file)
                self._pending.clear()
            case Create(name):
                self._entry(event, _File())
            case Delete(name) | Rename(name):
                self._entry(event, self._files[name])

    def killed(self) -> Image:
        """Return what is there after the program was killed: all that it did."""
        return {name: bytes(file.in_memory) for name, file in self._files.items()}

    def unplugged(self) -> Image:
        """Return what is there after a power cut, if nothing was written that was not synced."""
        return {name: bytes(file.on_disk) for name, file in self._on_disk.items()}

    def torn(self, chance: random.Random) -> Image:
        """Return what is there after a power cut, if some sectors were written before it."""
        files = dict(self._on_disk)
        for entry, file in self._pending[: chance.randint(0, len(self._pending))]:
            _enter(files, entry, file)
        share = chance.choice((0.1, 0.5, 0.9))
        return {name: _torn(file, share, chance) for name, file in files.items()}

    def _entry(self, entry: _Entry, file: _File) -> None:
        _enter(self._files, entry, file)
        self._pending.append((entry, file))


def _enter(files: dict[str, _File], entry: _Entry, file: _File) -> None:
    match entry:
        case Create(name):
            files[name] = file
        case Delete(name):
            files.pop(name, None)
        case Rename(name, new_name):
            files.pop(name, None)
            files[new_name] = file


def _do(content: bytearray, change: _Change) -> None:
    match change:
        case Write(_, offset, data):
            if len(content) < offset:
                content.extend(bytes(offset - len(content)))
            content[offset : offset + len(data)] = data
        case Truncate(_, size):
            if len(content) < size:
                content.extend(bytes(size - len(content)))
            del content[size:]


def _torn(file: _File, share: float, chance: random.Random) -> bytes:
    content = bytearray(file.on_disk)
    for change in file.pending:
        match change:
            case Truncate():
                if chance.random() < share:
                    _do(content, change)
            case Write():
                for sector in _sectors(change):
                    if chance.random() < share:
                        _do(content, sector)
    return bytes(content)


def _sectors(change: Write) -> list[Write]:
    """Return ``change`` in pieces, each within one sector."""
    end = change.offset + len(change.data)
    starts = [change.offset, *range((change.offset // SECTOR + 1) * SECTOR, end, SECTOR)]
    return [
        Write(change.name, start, change.data[start - change.offset : stop - change.offset])
        for start, stop in zip(starts, [*starts[1:], end], strict=True)
    ]
