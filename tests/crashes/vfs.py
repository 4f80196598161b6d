"""SQLite's way to the disk, watched and made to fail: a VFS over the one that Python's SQLite has.

Locks, shared memory and what is read go straight to the VFS below. What changes the disk is told to
an observer first, which lets it pass or refuses it. Nothing waits for the disk: a sync is told and
not made, since what a power cut leaves is worked out from what was told.

Source: https://www.sqlite.org/vfs.html, https://www.sqlite.org/c3ref/io_methods.html
"""

import ctypes
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

from tests.crashes.disk import Create, Delete, Event, Rename, Sync, SyncFolder, Truncate, Write

OK: Final = 0
_NAME: Final = b"cloudedge-watched"
_JOURNALS: Final = 0x00000800 | 0x00004000 | 0x00080000  # of a database, of several; the log
_CREATE: Final = 0x00000004
_NO_SUCH_FILE: Final = 10 | 23 << 8  # SQLITE_IOERR_DELETE_NOENT


@dataclass(frozen=True, slots=True)
class Look:
    """Something is about to be done that changes nothing: a file is opened, read, or mapped."""

    what: str
    name: str


Observer = Callable[[Event | Look], int]
"""Told of what is about to be done to the folder.

It returns ``OK``, or the result code of SQLite with which it is refused. Of a write that is refused
the first half is written nevertheless: a disk that fails may have taken a part.
"""

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_Open = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)  # the path may be a pointer into more than a path
_Delete = ctypes.CFUNCTYPE(_I, _P, ctypes.c_char_p, _I)
_Close = ctypes.CFUNCTYPE(_I, _P)
_Move = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_Truncate = ctypes.CFUNCTYPE(_I, _P, _L)
_Sync = ctypes.CFUNCTYPE(_I, _P, _I)
_Map = ctypes.CFUNCTYPE(_I, _P, _I, _I, _I, _P)


class _Methods(ctypes.Structure):
    _fields_ = (
        ("version", _I),
        ("close", _P),
        ("read", _P),
        ("write", _P),
        ("truncate", _P),
        ("sync", _P),
        ("others", _P * 7),  # size, lock, unlock, reserved lock, control, sector, characteristics
        ("map", _P),
        ("newest", _P * 5),  # lock, barrier, unmap of shared memory; fetch, unfetch
    )


class _File(ctypes.Structure):
    _fields_ = (("methods", _P),)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", _I),
        ("file_bytes", _I),
        ("longest_path", _I),
        ("next", _P),
        ("name", ctypes.c_char_p),
        ("data", _P),
        ("open", _P),
        ("delete", _P),
        ("others", _P * 10),
        ("newest", _P * 4),
    )


def library() -> ctypes.CDLL | None:
    """Return the SQLite that Python's module is linked to; None if it is inside that module."""
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    for path in sorted(part for part in mapped if "sqlite" in os.path.basename(part)):
        found = ctypes.CDLL(path)
        if hasattr(found, "sqlite3_vfs_register"):
            found.sqlite3_libversion.restype = ctypes.c_char_p
            if found.sqlite3_libversion().decode() == sqlite3.sqlite_version:
                return found
    return None


class _Folder:
    """Which files are watched, and who is told."""

    def __init__(self, folder: Path, observer: Observer) -> None:
        self._folder, self.tell = str(folder), observer

    def name(self, path: str) -> str | None:
        """Return the name of a watched file."""
        folder, name = os.path.split(path)
        return name if folder == self._folder else None

    def is_itself(self, path: str) -> bool:
        return path == self._folder


@contextmanager
def watched(sqlite: ctypes.CDLL, folder: Path, observer: Observer) -> Iterator[None]:
    """Tell ``observer`` of all that is done meanwhile to the files of ``folder``.

    Connections that are opened meanwhile must be closed before the end.
    """
    where = _Folder(folder, observer)
    with _WatchedSqlite(sqlite, where).as_default(), _watched_os(where):
        yield


class _WatchedSqlite:
    def __init__(self, sqlite: ctypes.CDLL, folder: _Folder) -> None:
        self._sqlite, self._folder = sqlite, folder
        self._files: dict[int, tuple[str, _Methods]] = {}  # by address: name, methods below
        self._unlisted: set[int] = set()  # whose sync makes the entry in the folder durable too
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}  # by address: below, ours
        self._kept: list[Any] = []  # functions whose addresses SQLite has
        sqlite.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._below: Any = sqlite.sqlite3_vfs_find(None)
        self._vfs_below = ctypes.addressof(self._below.contents)
        self._vfs = _Vfs.from_buffer_copy(self._below.contents)
        self._vfs.name = _NAME
        self._vfs.open = self._address(_Open, self._open)
        self._vfs.delete = self._address(_Delete, self._delete)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        self._sqlite.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        try:
            yield
        finally:
            self._sqlite.sqlite3_vfs_register(self._below, 1)
            self._sqlite.sqlite3_vfs_unregister(ctypes.byref(self._vfs))
        assert not self._files, "a watched file was left open"

    def _address(self, kind: Callable[..., Any], function: Callable[..., int]) -> int | None:
        made = kind(function)
        self._kept.append(made)
        return ctypes.cast(made, _P).value

    def _open(self, _: int, path: int | None, file: int, flags: int, out: int | None) -> int:
        text = "" if path is None else ctypes.string_at(path).decode()
        name = self._folder.name(text)
        result = OK if name is None else self._tell_of_opening(name, text, flags)
        if result != OK:
            _File.from_address(file).methods = None  # not open, so nobody closes it
            return result
        below = _Open(self._below.contents.open)
        result = int(below(self._vfs_below, path, file, flags, out))
        if result == OK and name is not None:
            self._wrap(file, name)
            if flags & _CREATE and flags & _JOURNALS:
                self._unlisted.add(file)
        return result

    def _tell_of_opening(self, name: str, path: str, flags: int) -> int:
        result = self._folder.tell(Look("open", name))
        if result == OK and flags & _CREATE and not os.path.lexists(path):
            result = self._folder.tell(Create(name))
        return result

    def _wrap(self, file: int, name: str) -> None:
        handle = _File.from_address(file)
        address = handle.methods
        assert address is not None
        if address not in self._methods:
            below = _Methods.from_address(address)
            ours = _Methods.from_buffer_copy(below)
            ours.close = self._address(_Close, self._close)
            ours.read = self._address(_Move, self._read)
            ours.write = self._address(_Move, self._write)
            ours.truncate = self._address(_Truncate, self._truncate)
            ours.sync = self._address(_Sync, self._sync)
            ours.map = self._address(_Map, self._map) if below.map else None
            self._methods[address] = below, ours
        below, ours = self._methods[address]
        self._files[file] = name, below
        handle.methods = ctypes.addressof(ours)

    def _close(self, file: int) -> int:
        _, below = self._files.pop(file)
        self._unlisted.discard(file)
        return int(_Close(below.close)(file))

    def _read(self, file: int, data: int, size: int, offset: int) -> int:
        name, below = self._files[file]
        return self._folder.tell(Look("read", name)) or int(
            _Move(below.read)(file, data, size, offset)
        )

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        name, below = self._files[file]
        result = self._folder.tell(Write(name, offset, ctypes.string_at(data, size)))
        written = int(_Move(below.write)(file, data, size // 2 if result else size, offset))
        return result or written

    def _truncate(self, file: int, size: int) -> int:
        name, below = self._files[file]
        return self._folder.tell(Truncate(name, size)) or int(_Truncate(below.truncate)(file, size))

    def _sync(self, file: int, _: int) -> int:
        name, _below = self._files[file]
        result = self._folder.tell(Sync(name))
        if result == OK and file in self._unlisted:
            self._unlisted.remove(file)
            self._folder.tell(SyncFolder())  # SQLite does not say so if that fails, nor try again
        return result

    def _map(self, file: int, page: int, size: int, extend: int, out: int) -> int:
        name, below = self._files[file]
        return self._folder.tell(Look("map", name)) or int(
            _Map(below.map)(file, page, size, extend, out)
        )

    def _delete(self, _: int, path: bytes, sync_folder: int) -> int:
        name = self._folder.name(path.decode())
        if name is not None:
            if not os.path.lexists(path):
                return _NO_SUCH_FILE
            result = self._folder.tell(Delete(name))
            if result == OK and sync_folder:
                result = self._folder.tell(SyncFolder())
            if result != OK:
                return result
        return int(_Delete(self._below.contents.delete)(self._vfs_below, path, 0))


@contextmanager
def _watched_os(folder: _Folder) -> Iterator[None]:
    """Watch what is done to the files without SQLite."""
    real = _WatchedOs(folder)
    with mock.patch.multiple(
        os,
        open=real.open,
        fsync=real.sync,
        pwrite=real.write,
        rename=real.rename,
        replace=real.rename,
        unlink=real.unlink,
    ):
        yield


class _WatchedOs:
    def __init__(self, folder: _Folder) -> None:
        self._folder = folder
        self._open, self._rename, self._unlink = os.open, os.rename, os.unlink
        self._write = os.pwrite

    def open(self, path: Any, flags: int, *others: Any, **named: Any) -> int:
        name = self._folder.name(os.fspath(path))
        if name is not None:
            self._tell(Look("open", name))
            if flags & os.O_CREAT and not os.path.lexists(path):
                self._tell(Create(name))
        return self._open(path, flags, *others, **named)

    def sync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        name = self._folder.name(path)
        if self._folder.is_itself(path):
            self._tell(SyncFolder())
        elif name is not None:
            if name.startswith("."):  # made by ``common.files``, whose stream writes it unseen
                self._tell(Write(name, 0, os.pread(descriptor, 1 << 20, 0)))
            self._tell(Sync(name))

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        name = self._folder.name(os.readlink(f"/proc/self/fd/{descriptor}"))
        if name is not None:
            self._tell(Write(name, offset, data))
        return self._write(descriptor, data, offset)

    def rename(self, old: Any, new: Any) -> None:
        name, new_name = self._folder.name(os.fspath(old)), self._folder.name(os.fspath(new))
        if name is not None and new_name is not None:
            self._tell(Rename(name, new_name))
        self._rename(old, new)

    def unlink(self, path: Any) -> None:
        name = self._folder.name(os.fspath(path))
        if name is not None and os.path.lexists(path):
            self._tell(Delete(name))
        self._unlink(path)

    def _tell(self, event: Event | Look) -> None:
        result = self._folder.tell(event)
        if result != OK:
            number = errno.ENOSPC if result == sqlite3.SQLITE_FULL else errno.EIO
            raise OSError(number, os.strerror(number))
