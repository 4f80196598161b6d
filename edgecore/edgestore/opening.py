"""Open the file of the edge-store: private, sound, and of the present schema.

A file that SQLite finds damaged is set aside, never repaired in place and never deleted: somebody
may want to look.
"""

import errno
import logging
import os
import sqlite3
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from common.errors import StoreError
from common.files import PRIVATE_MODE

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1
MIGRATIONS: Final[Mapping[int, str]] = {}
"""From the schema version that is the key to the next one: SQL, run in one transaction."""

_FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
_SUFFIXES: Final = ("", "-wal", "-shm")
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HEADER_BYTES: Final = 100
_PRIMARY_CODE: Final = 0xFF  # of an extended result code

_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",  # a deleted Secret does not linger in a free page
    "PRAGMA journal_size_limit = 4194304",
    "PRAGMA cache_size = -512",  # KiB: an edge is small, and so are its objects
    "PRAGMA busy_timeout = 5000",
)


class DamagedError(Exception):
    """SQLite says that the file is not a sound database."""


def open_sound(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Return a connection to the file, and whether a damaged one had to be set aside for it.

    Raises:
        StoreError: the folder or file cannot be written, or a newer edgecore made the file.
    """
    try:
        _make_private(path)
        try:
            return _connect_sound(path), False
        except DamagedError as damage:
            _set_aside(path, damage)
        _make_private(path)
        return _connect_sound(path), True
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}") from error
    except (sqlite3.Error, DamagedError) as error:
        raise store_error(path, error) from error


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection with the settings that every one must have.

    Raises:
        sqlite3.Error: the file cannot be used.
    """
    # Threads take turns: one writes with its connection, another reads with its own.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for setting in _SETTINGS:
            connection.execute(setting).fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def store_error(path: Path, error: Exception) -> StoreError:
    """Return ``error`` of SQLite in our words."""
    if _code(error) & _PRIMARY_CODE == sqlite3.SQLITE_FULL:
        return StoreError(f"{path}: {os.strerror(errno.ENOSPC)}: free some space")
    return StoreError(f"{path}: {error}")


def _make_private(path: Path) -> None:
    """Make the folder and file if they are missing; nobody else may read them or their like."""
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & _OTHERS:
        path.parent.chmod(_FOLDER_MODE)
    # SQLite gives its companion files the mode of the database.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE_MODE))
    for suffix in _SUFFIXES:
        part = Path(f"{path}{suffix}")
        if part.exists() and part.stat().st_mode & _OTHERS:
            part.chmod(PRIVATE_MODE)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _set_aside(path: Path, damage: DamagedError) -> None:
    """Rename the damaged file and its companions, with a number that is free."""
    number = 1
    while Path(f"{path}.damaged-{number}").exists():
        number += 1
    for suffix in _SUFFIXES:
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.replace(f"{path}.damaged-{number}{suffix}")
    logger.error(
        "the edge-store is damaged: it is set aside and built anew from the cloud",
        extra={"set_aside": f"{path}.damaged-{number}", "error": str(damage)},
    )


def _connect_sound(path: Path) -> sqlite3.Connection:
    """Return a connection to a sound file of the present schema.

    Raises:
        DamagedError: the file is to be set aside.
        StoreError: a newer edgecore made it.
        sqlite3.Error: it cannot be used, but is not known to be damaged.
    """
    if 0 < path.stat().st_size < _HEADER_BYTES:  # SQLite would take it for a new file
        raise DamagedError("the file is shorter than its header")
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path)
        _check(connection)
        migrate(connection, path, MIGRATIONS)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if _code(error) & _PRIMARY_CODE in _DAMAGED:
            raise DamagedError(str(error)) from error
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    for (verdict,) in connection.execute("PRAGMA quick_check(1)").fetchall():
        if verdict != "ok":
            raise DamagedError(verdict)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Mapping[int, str]) -> None:
    """Bring the schema to the present version, step by step, each step whole or not at all.

    Raises:
        StoreError: the file was made by a newer edgecore.
    """
    version = _schema_version(connection)
    newest = max((n + 1 for n in migrations), default=SCHEMA_VERSION)
    if version > newest:
        raise StoreError(
            f"{path}: has schema {version}, this edgecore knows {newest}:"
            " use the edgecore that made it, or move the file away"
        )
    if version == 0:
        schema = resources.files(__package__ or "").joinpath("schema.sql").read_text("utf-8")
        connection.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = 1; COMMIT")
        version = SCHEMA_VERSION
    while version < newest:
        connection.executescript(
            f"BEGIN IMMEDIATE; {migrations[version]}; PRAGMA user_version = {version + 1}; COMMIT"
        )
        version += 1
        logger.info("the edge-store's schema was brought up to date", extra={"schema": version})


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
