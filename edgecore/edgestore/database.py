"""The objects, tombstones and state of one edge in one file, and all SQL on them.

Blocking, for threads that may block. Every commit is on the disk when it returns (write-ahead log,
``synchronous=FULL``).
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, TypeVar

from common.errors import StoreError
from edgecore.edgestore.clear import seal_what_is_clear
from edgecore.edgestore.connecting import SQLITE_ERRORS, connect, store_error, transaction
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.opening import open_sound
from edgecore.edgestore.records import (
    COMPLETE_STATE,
    MAX_TOMBSTONES,
    Bury,
    Exhume,
    Identity,
    Put,
    Remove,
    SetState,
    StoredObject,
    Tombstone,
    Write,
)
from edgecore.edgestore.room import take_room
from edgecore.edgestore.rows import (
    Row,
    is_sound_object,
    is_sound_tombstone,
    object_row,
    to_identity,
    to_object,
    to_tombstone,
    tombstone_row,
)
from edgecore.edgestore.sealing import SEALED_TYPES, Sealer
from edgecore.edgestore.waltail import Loss

logger = logging.getLogger(__name__)

_COLUMNS: Final = "key, type, namespace, name, uid, resource_version, checksum, value"
_PUT: Final = f"""
    INSERT INTO objects ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET uid = excluded.uid, checksum = excluded.checksum,
        resource_version = excluded.resource_version, value = excluded.value
"""  # noqa: S608 - made of constants
_REMOVE: Final = "DELETE FROM objects WHERE key = ?"
_BURY: Final = """
    INSERT OR REPLACE INTO tombstones (uid, key, resource_version, final, checksum)
    VALUES (?, ?, ?, ?, ?)
"""
_EXHUME: Final = "DELETE FROM tombstones WHERE key = ?"
_FORGET_OLD: Final = "DELETE FROM tombstones WHERE seq <= (SELECT max(seq) FROM tombstones) - ?"
_SET_STATE: Final = "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)"
_GET: Final = f"SELECT {_COLUMNS} FROM objects WHERE key = ?"  # noqa: S608 - made of constants
_LIST: Final = f"SELECT {_COLUMNS} FROM objects WHERE type = ? ORDER BY key"  # noqa: S608 - as above
_ALL: Final = f"SELECT rowid, {_COLUMNS} FROM objects"  # noqa: S608 - as above
_DROP: Final = "DELETE FROM objects WHERE rowid = ?"
_IDENTITIES: Final = f"SELECT {_COLUMNS} FROM objects"  # noqa: S608 - as above
_KEYS: Final = "SELECT key FROM objects WHERE type = ?"
_TOMBSTONE_COLUMNS: Final = "uid, key, resource_version, final, checksum"
_TOMBSTONES: Final = f"SELECT {_TOMBSTONE_COLUMNS} FROM tombstones ORDER BY seq"  # noqa: S608 - as above
_ALL_TOMBSTONES: Final = f"SELECT seq, {_TOMBSTONE_COLUMNS} FROM tombstones"  # noqa: S608 - as above
_DROP_TOMBSTONE: Final = "DELETE FROM tombstones WHERE seq = ?"
_GET_STATE: Final = "SELECT value FROM state WHERE key = ?"

T = TypeVar("T")


class Database:
    """One file. ``commit`` and ``close`` belong to one thread, the reads to another."""

    def __init__(self, path: Path, keys: KeyFile | None = None) -> None:
        """Name the files; nothing is opened yet.

        Args:
            path: the database.
            keys: the key that the values of Secrets are sealed with; in a file beside if None.
        """
        self.path = path
        self.keys = keys or KeyFile(path.with_suffix(".key"))
        self._sealer = Sealer(self.keys)
        self._owed: tuple[Write, ...] = ()  # to be written with whatever comes next
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None

    def open(self) -> Loss:
        """Make or open the file; return whether anything that it held was damaged and is gone.

        If so, the state says that the store is not complete; on a full disk that is said with the
        first commit that finds room.

        Raises:
            StoreError: the folder or file cannot be opened, or a newer edgecore made the file, or
                the key that was given is none.
        """
        self.keys.check()
        self._connection, loss = open_sound(self.path)
        try:
            has_dropped = self._drop_damaged(self._connection)
        except SQLITE_ERRORS as error:
            raise store_error(self.path, error) from error
        self._seal_what_is_clear(self._connection)
        if has_dropped:
            return Loss.CERTAIN
        if loss is not Loss.NONE:
            self._owed = (SetState(COMPLETE_STATE, ""),)
            with suppress(StoreError):
                self.commit([])
        return loss

    def close(self) -> None:
        """Close the file; its write-ahead log is folded into it."""
        was_open = self._connection is not None
        for connection in (self._reader, self._connection):
            if connection is not None:
                connection.close()
        self._reader = self._connection = None
        if was_open:
            take_room(self.path)

    def commit(self, writes: Iterable[Write]) -> None:
        """Do all of ``writes``, in order, in one transaction, and wait until the disk has them.

        Raises:
            StoreError: the disk is full or fails; none of the writes was done. (Of a commit whose
                sync failed, a restart may find that it was done.)
        """
        connection = self._opened()
        try:
            with transaction(connection):
                for write in (*self._owed, *writes):
                    _execute(connection, write, self._sealer)
        except sqlite3.Error as error:
            raise store_error(self.path, error) from error
        except (OverflowError, UnicodeError) as error:
            raise StoreError(f"{self.path}: cannot keep what it was given: {error}") from error
        self._owed = ()

    def get(self, key: str) -> StoredObject | None:
        """Return what has ``key``; None also where it is sealed and the key does not open it.

        Raises:
            StoreError: the file cannot be read, or the value is damaged.
        """
        return next(iter(self._each(self._to_object, _GET, key)), None)

    def of_type(self, resource_type: str) -> list[StoredObject]:
        """Return all objects of a type that can be opened, by key.

        Raises:
            StoreError: as ``get``.
        """
        return self._each(self._to_object, _LIST, resource_type)

    def identities(self) -> list[Identity]:
        """Return what all objects are that can be opened.

        Their values are read one at a time, to be hashed.

        Raises:
            StoreError: the file cannot be read.
        """
        return self._each(self._to_identity, _IDENTITIES)

    def sealed_keys(self) -> list[str]:
        """Return the keys of all objects of the types that are sealed, opened or not.

        Raises:
            StoreError: the file cannot be read.
        """
        return [key for kind in SEALED_TYPES for key in self._each(_to_text, _KEYS, kind)]

    def tombstones(self) -> list[Tombstone]:
        """Return the objects that have ended, oldest first.

        Raises:
            StoreError: the file cannot be read.
        """
        return self._each(self._to_tombstone, _TOMBSTONES)

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

    def _each(self, make: Callable[[Row], T | None], sql: str, *values: str) -> list[T]:
        """Return what ``make`` makes of each row, as far as it makes anything of it."""
        self._opened()
        try:
            if self._reader is None:
                self._reader = connect(self.path)
                self._reader.execute("PRAGMA query_only = ON")
            # Closed whatever happens: a cursor that is left open keeps the log from being folded.
            with closing(self._reader.execute(sql, values)) as rows:
                return [made for row in rows if (made := make(row)) is not None]
        except SQLITE_ERRORS as error:
            raise store_error(self.path, error) from error

    def _to_object(self, row: Row) -> StoredObject | None:
        if not is_sound_object(row):
            raise StoreError(f"{self.path}: the value of {row[0]} is damaged")
        opened = self._sealer.opened(row)
        return None if opened is None else to_object(opened)

    def _to_identity(self, row: Row) -> Identity | None:
        opened = self._sealer.opened(row)
        return None if opened is None else to_identity(opened)

    def _to_tombstone(self, row: Row) -> Tombstone:
        if not is_sound_tombstone(row):
            raise StoreError(f"{self.path}: the tombstone of {row[1]} is damaged")
        return to_tombstone(row)

    def _seal_what_is_clear(self, connection: sqlite3.Connection) -> None:
        try:
            sealed = seal_what_is_clear(connection, self._sealer)
        except (*SQLITE_ERRORS, StoreError) as error:
            # That pods run matters more; and nothing is in the clear that was not before.
            logger.warning("Secrets are not sealed yet", extra={"error": str(error)})
        else:
            if sealed is not None:
                logger.info("what was stored in the clear is sealed", extra={"secrets": sealed})

    def _drop_damaged(self, connection: sqlite3.Connection) -> bool:
        """Forget rows that are not what was written; return whether there were any."""
        objects = [
            (number, row[0])
            for number, *row in connection.execute(_ALL)
            if not is_sound_object(tuple(row))
        ]
        tombstones = [
            (number, row[1])
            for number, *row in connection.execute(_ALL_TOMBSTONES)
            if not is_sound_tombstone(tuple(row))
        ]
        if not objects and not tombstones:
            return False
        with transaction(connection):
            connection.executemany(_DROP, [(number,) for number, _ in objects])
            connection.executemany(_DROP_TOMBSTONE, [(number,) for number, _ in tombstones])
            _execute(connection, SetState(COMPLETE_STATE, ""), self._sealer)
        for _, key in objects:
            logger.error("a stored object is damaged and is forgotten", extra={"key": key})
        for _, key in tombstones:
            logger.error("a tombstone is damaged and is forgotten", extra={"key": key})
        return True


def _execute(connection: sqlite3.Connection, write: Write, sealer: Sealer) -> None:
    match write:
        case Put(stored):
            connection.execute(_PUT, object_row(stored, sealer.value(stored)))
        case Remove(key):
            connection.execute(_REMOVE, (key,))
        case Bury(tombstone):
            connection.execute(_BURY, tombstone_row(tombstone))
            connection.execute(_FORGET_OLD, (MAX_TOMBSTONES,))
        case Exhume(key):
            connection.execute(_EXHUME, (key,))
        case SetState(key, value):
            connection.execute(_SET_STATE, (key, value))


def _to_text(row: Row) -> str:
    return str(row[0])
