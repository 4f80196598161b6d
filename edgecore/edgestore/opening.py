"""Open the file of the edge-store: private, sound, and of the present schema.

A file that SQLite finds damaged is set aside, never repaired in place and never deleted: somebody
may want to look. It must be found damaged twice: a disk that cannot read for a moment is no damage.
"""

import errno
import functools
import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from common.errors import StoreError
from common.files import PRIVATE_MODE
from edgecore.edgestore.connecting import (
    SQLITE_ERRORS,
    DamagedError,
    connect,
    is_damage,
    store_error,
)
from edgecore.edgestore.room import give_room
from edgecore.edgestore.schema import MIGRATIONS, check_schema, migrate
from edgecore.edgestore.waltail import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    Loss,
    judge,
    page_bytes,
)

logger = logging.getLogger(__name__)

_FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
_LOG: Final = "-wal"
_SUFFIXES: Final = ("", _LOG, "-shm", "-journal")
_DATABASE_HEADER_BYTES: Final = 100
_CHUNK_BYTES: Final = 64 * 1024


def open_sound(path: Path) -> tuple[sqlite3.Connection, Loss]:
    """Return a connection to the file, and whether something that it held is gone.

    What is gone was damaged: the file, which had to be set aside, or the end of its log.

    Raises:
        StoreError: the folder or file cannot be written, or a newer edgecore made the file.
    """
    try:
        give_room(path)
        _make_private(path)
        try:
            _write_log_again(path)
            return _connect_sound(path)
        except DamagedError as damage:
            _set_aside(path, damage)
        _make_private(path)
        connection, _ = _connect_sound(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}") from error
    except (*SQLITE_ERRORS, DamagedError) as error:
        raise store_error(path, error) from error
    return connection, Loss.CERTAIN


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
    _sync_folder(path)


def _sync_folder(path: Path) -> None:
    """Make durable which files there are."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_log_again(path: Path) -> None:
    """Write the log over itself, and wait until the disk has it.

    A sync that failed has lost what it was to write, but the kernel goes on showing it, to a later
    process too; and no later sync writes it. Without this, a store that is opened after that would
    take for kept what only memory has: it would acknowledge it, and fold it into the file, where a
    power cut mixes it with the older log that the disk has.

    Raises:
        DamagedError: the disk cannot read it.
        OSError: the disk does not take it, though it is not full.
    """
    try:
        log = os.open(f"{path}{_LOG}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        offset = 0
        while chunk := _read_at_last(log, offset):
            offset += os.pwrite(log, chunk, offset)
        os.fsync(log)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Some file systems want room for that. To run what is stored matters more than to be sure
        # that no sync has failed before the disk was full.
        logger.warning("the edge-store's log cannot be written again", extra={"error": str(error)})
    finally:
        os.close(log)


def _read_at_last(file: int, offset: int) -> bytes:
    """Read, at the second try if the first fails."""
    with suppress(OSError):
        return os.pread(file, _CHUNK_BYTES, offset)
    try:
        return os.pread(file, _CHUNK_BYTES, offset)
    except OSError as error:
        raise DamagedError(f"the log: {error.strerror}") from error


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


def _connect_sound(path: Path) -> tuple[sqlite3.Connection, Loss]:
    """Return a connection to a sound file of the present schema, and what its log tells.

    Raises:
        DamagedError: the file is to be set aside.
        StoreError: a newer edgecore made it.
        sqlite3.Error: it cannot be used, but is not known to be damaged.
    """
    if _is_cut_off(path):  # SQLite would take it for a new file
        raise DamagedError("the file is shorter than its header")
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect_at_last(path)
        _sync_folder(path)  # SQLite has made the log; it syncs its entry too, but hides errors
        loss = _judge_log(path, connection)
        _check(connection)
        migrate(connection, path, MIGRATIONS)
        check_schema(connection)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if is_damage(error):
            raise DamagedError(str(error)) from error
        raise
    return connection, loss


def _connect_at_last(path: Path) -> sqlite3.Connection:
    """Connect, at the second try if the first finds damage."""
    try:
        return connect(path)
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise
    return connect(path)


def _judge_log(path: Path, connection: sqlite3.Connection) -> Loss:
    """Return what the log tells of commits that SQLite does not read; nothing was written yet."""
    try:
        # Besides, this folds the log in, which some commit would do in any case.
        (_, read, _) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error:  # the disk is full, say: then what is read has to be found out
        read = 0
    try:
        with open(f"{path}{_LOG}", "rb") as log:
            loss = _judge(log, max(read, 0))
    except FileNotFoundError:
        return Loss.NONE
    except OSError:  # SQLite has read it
        loss = Loss.POSSIBLE
    if loss is not Loss.NONE:
        logger.warning(
            "the end of the edge-store's log is damaged: commits are gone"
            if loss is Loss.CERTAIN
            else "the last commit in the edge-store's log is not whole: it may have been told"
        )
    return loss


def _judge(log: BinaryIO, read: int) -> Loss:
    header = log.read(HEADER_BYTES)
    frame_bytes = FRAME_HEADER_BYTES + page_bytes(header)
    last_read = b""
    if read:
        log.seek(HEADER_BYTES + (read - 1) * frame_bytes)
        last_read = log.read(frame_bytes)
    return judge(header, last_read, iter(functools.partial(log.read, frame_bytes), b""))


def _is_cut_off(path: Path) -> bool:
    size = path.stat().st_size
    if size:
        return size < _DATABASE_HEADER_BYTES
    log = Path(f"{path}{_LOG}")
    return log.exists() and log.stat().st_size > 0  # which comes after the header


def _check(connection: sqlite3.Connection) -> None:
    # Not the quick check, which does not compare indexes: an object would be there and not found.
    for attempt in range(2):
        for (verdict,) in connection.execute("PRAGMA integrity_check(1)").fetchall():
            if verdict == "ok":
                return
            if attempt:
                raise DamagedError(verdict)
            logger.warning("the edge-store is read once more", extra={"error": verdict})
        connection.execute("PRAGMA shrink_memory")  # what was read badly is not read again
