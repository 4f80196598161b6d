"""The objects, tombstones and state of one edge in one file, and all SQL on them.

Blocking, for threads that may block. Every commit is on the disk when it returns (write-ahead log,
``synchronous=FULL``).
"""

import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from common.errors import StoreError
from common.inventory import content_hash
from edgecore.edgestore.opening import connect, open_sound, store_error
from edgecore.edgestore.records import (
    COMPLETE_STATE,
    MAX_TOMBSTONES,
    Bury,
    Entry,
    Exhume,
    Identity,
    Put,
    Remove,
    SetState,
    StoredObject,
    Tombstone,
    Write,
)

logger = logging.getLogger(__name__)

_COLUMNS: Final = "key, type, namespace, name, uid, resource_version, checksum, value"
_PUT: Final = f"""
    INSERT INTO objects ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET uid = excluded.uid, checksum = excluded.checksum,
        resource_version = excluded.resource_version, value = excluded.value
"""  # noqa: S608 - made of constants
_REMOVE: Final = "DELETE FROM objects WHERE key = ?"
_BURY: Final = """
    INSERT OR REPLACE INTO tombstones (uid, key, resource_version, final) VALUES (?, ?, ?, ?)
"""
_EXHUME: Final = "DELETE FROM tombstones WHERE key = ?"
_FORGET_OLD: Final = "DELETE FROM tombstones WHERE seq <= (SELECT max(seq) FROM tombstones) - ?"
_SET_STATE: Final = "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)"
_GET: Final = f"SELECT {_COLUMNS} FROM objects WHERE key = ?"  # noqa: S608 - made of constants
_LIST: Final = f"SELECT {_COLUMNS} FROM objects WHERE type = ? ORDER BY key"  # noqa: S608 - as above
_ALL: Final = f"SELECT {_COLUMNS} FROM objects"  # noqa: S608 - as above
_IDENTITIES: Final = "SELECT key, type, uid, resource_version, value FROM objects"
_TOMBSTONES: Final = "SELECT uid, key, resource_version, final FROM tombstones ORDER BY seq"
_GET_STATE: Final = "SELECT value FROM state WHERE key = ?"

T = TypeVar("T")


class Database:
    """One file. ``commit`` and ``close`` belong to one thread, the reads to another."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet."""
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def open(self) -> bool:
        """Make or open the file; return whether anything that it held was damaged and is gone.

        Raises:
            StoreError: the folder or file cannot be written, or a newer edgecore made the file.
        """
        self._connection, was_damaged = open_sound(self.path)
        return self._drop_damaged_values(self._connection) or was_damaged

    def close(self) -> None:
        """Close the file; its write-ahead log is folded into it."""
        for connection in (self._reader, self._connection):
            if connection is not None:
                connection.close()
        self._reader = self._connection = None

    def commit(self, writes: Iterable[Write]) -> None:
        """Do all of ``writes``, in order, in one transaction, and wait until the disk has them.

        Raises:
            StoreError: the disk is full or fails; none of the writes was done.
        """
        connection = self._opened()
        try:
            with _transaction(connection):
                for write in writes:
                    _execute(connection, write)
        except sqlite3.Error as error:
            raise store_error(self.path, error) from error

    def get(self, key: str) -> StoredObject | None:
        """Return what has ``key``.

        Raises:
            StoreError: the file cannot be read, or the value is damaged.
        """
        return next(iter(self._each(self._to_object, _GET, key)), None)

    def of_type(self, resource_type: str) -> list[StoredObject]:
        """Return all objects of a type, by key.

        Raises:
            StoreError: as ``get``.
        """
        return self._each(self._to_object, _LIST, resource_type)

    def identities(self) -> list[Identity]:
        """Return what all objects are; their values are read one at a time, to be hashed.

        Raises:
            StoreError: the file cannot be read.
        """
        return self._each(_to_identity, _IDENTITIES)

    def tombstones(self) -> list[Tombstone]:
        """Return the objects that have ended, oldest first.

        Raises:
            StoreError: the file cannot be read.
        """
        return self._each(_to_tombstone, _TOMBSTONES)

    def state(self, key: str) -> str | None:
        """Return what ``SetState`` kept under ``key``.

        Raises:
            StoreError: the file cannot be read.
        """
        return next(iter(self._each(_to_text, _GET_STATE, key)), None)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path}: not open")
        return self._connection

    def _each(self, make: Callable[[tuple[Any, ...]], T], sql: str, *values: str) -> list[T]:
        """Return what ``make`` makes of each row."""
        self._opened()
        try:
            if self._reader is None:
                self._reader = connect(self.path)
                self._reader.execute("PRAGMA query_only = ON")
            return [make(row) for row in self._reader.execute(sql, values)]
        except sqlite3.Error as error:
            raise store_error(self.path, error) from error

    def _to_object(self, row: tuple[Any, ...]) -> StoredObject:
        if not _is_sound(row):
            raise StoreError(f"{self.path}: the value of {row[0]} is damaged")
        key, kind, namespace, name, uid, version, _, value = row
        return StoredObject(key, kind, namespace, name, uid, version, value)

    def _drop_damaged_values(self, connection: sqlite3.Connection) -> bool:
        """Forget values that are not what was written; return whether there were any."""
        try:
            damaged = [row[0] for row in connection.execute(_ALL) if not _is_sound(row)]
            if damaged:
                with _transaction(connection):
                    connection.executemany(_REMOVE, [(key,) for key in damaged])
                    _execute(connection, SetState(COMPLETE_STATE, ""))
        except sqlite3.Error as error:
            raise store_error(self.path, error) from error
        for key in damaged:
            logger.error("a stored object is damaged and is forgotten", extra={"key": key})
        return bool(damaged)


class _transaction:  # noqa: N801 - used as a function
    """A transaction that is rolled back if it fails, whatever the failure left of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # A full disk ends some transactions by itself and leaves others open.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _execute(connection: sqlite3.Connection, write: Write) -> None:
    match write:
        case Put(stored):
            connection.execute(_PUT, _to_row(stored))
        case Remove(key):
            connection.execute(_REMOVE, (key,))
        case Bury(t):
            connection.execute(_BURY, (t.uid, t.key, t.version, int(t.final)))
            connection.execute(_FORGET_OLD, (MAX_TOMBSTONES,))
        case Exhume(key):
            connection.execute(_EXHUME, (key,))
        case SetState(key, value):
            connection.execute(_SET_STATE, (key, value))


def _to_identity(row: tuple[Any, ...]) -> Identity:
    key, kind, uid, version, value = row
    return Identity(key, kind, Entry(uid, version, content_hash(value)))


def _to_tombstone(row: tuple[Any, ...]) -> Tombstone:
    uid, key, version, final = row
    return Tombstone(uid, key, version, bool(final))


def _to_text(row: tuple[Any, ...]) -> str:
    return str(row[0])


def _to_row(o: StoredObject) -> tuple[str | int | bytes, ...]:
    checksum = _checksum(o.key, o.uid, o.version, o.value)
    return (o.key, o.resource_type, o.namespace, o.name, o.uid, o.version, checksum, o.value)


def _is_sound(row: tuple[Any, ...]) -> bool:
    key, _, _, _, uid, version, checksum, value = row
    return isinstance(value, bytes) and _checksum(key, uid, version, value) == checksum


def _checksum(key: str, uid: str, version: int, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(f"{key}\0{uid}\0{version}".encode()))
