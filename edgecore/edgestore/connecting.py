"""Connections to the file of the edge-store, with the settings that every one must have."""

import errno
import functools
import os
import sqlite3
from pathlib import Path
from typing import Final

from common.errors import StoreError

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_READ_ERRORS: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
_PRIMARY_CODE: Final = 0xFF  # of an extended result code

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What is raised for an error of SQLite. The second where its text quotes damaged bytes."""

_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",  # a deleted Secret does not linger in a free page
    "PRAGMA journal_size_limit = 4194304",
    "PRAGMA cache_size = -512",  # KiB: an edge is small, and so are its objects
    "PRAGMA busy_timeout = 5000",
)


class DamagedError(Exception):
    """SQLite says that the file is not a sound database, or the disk cannot read a part of it."""


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection with the settings that every one must have.

    Raises:
        SQLITE_ERRORS: the file cannot be used.
    """
    # Threads take turns: one writes with its connection, another reads with its own.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Damaged text is read, so that its row can be found out by its checksum.
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
    try:
        for setting in _SETTINGS:
            connection.execute(setting).fetchall()
    except SQLITE_ERRORS:
        connection.close()
        raise
    return connection


class transaction:  # noqa: N801 - used as a function
    """A transaction that is rolled back if it fails, whatever the failure left of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        """Begin."""
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Commit, or roll back."""
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # A full disk ends some transactions by itself and leaves others open.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def store_error(path: Path, error: Exception) -> StoreError:
    """Return ``error`` of SQLite in our words."""
    code = _code(error)
    if code & _PRIMARY_CODE == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StoreError(f"{path}: {os.strerror(errno.ENOSPC)}: free some space")
    return StoreError(f"{path}: {error}")


def is_damage(error: BaseException) -> bool:
    """Whether ``error`` says that the file is no sound database, or that it cannot be read."""
    code = _code(error)
    if isinstance(error, UnicodeDecodeError):
        return True
    return code in _READ_ERRORS or code & _PRIMARY_CODE in _DAMAGED


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
