"""KubeEdge's edge database, read and never written.

It is copied first, with the log that a KubeEdge that was killed has left, because SQLite folds such
a log into the file that it opens. The copy has Secrets in the clear, so it lies in memory where the
machine has a folder for that.
"""

import functools
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from common.errors import StoreError
from edgecore.kubeedge.meta import MetaRow

_SUFFIXES: Final = ("", "-wal", "-journal")
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folder made in it is private, of a free name
_ROWS: Final = "SELECT key, type, value FROM meta ORDER BY key"

_State = tuple[tuple[int, int] | None, ...]


def read_meta(path: Path) -> list[MetaRow]:
    """Return all rows of the table ``meta`` of ``path``.

    Raises:
        StoreError: it cannot be read, is damaged, is in use, or is no database of KubeEdge's edge.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="cloudedge-import-", dir=_scratch(path)) as folder:
            copy = _copied(path, Path(folder))
            return _rows(copy, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def _scratch(path: Path) -> Path | None:
    """Return the folder for the copy; None for the usual one."""
    wanted = sum(size for size, _ in filter(None, _state(path)))
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free > 2 * wanted else None


def _copied(path: Path, folder: Path) -> Path:
    before = _state(path)
    for suffix, state in zip(_SUFFIXES, before, strict=True):
        if state is not None or not suffix:
            shutil.copyfile(f"{path}{suffix}", folder / f"copy.db{suffix}")
    if _state(path) != before:
        raise StoreError(f"{path}: is being written: stop KubeEdge's edgecore first")
    return folder / "copy.db"


def _state(path: Path) -> _State:
    """Return size and time of change of the database and its companions; None for no file."""
    states: list[tuple[int, int] | None] = []
    for suffix in _SUFFIXES:
        try:
            found = os.stat(f"{path}{suffix}")
        except FileNotFoundError:
            states.append(None)
        else:
            states.append((found.st_size, found.st_mtime_ns))
    return tuple(states)


def _rows(copy: Path, path: Path) -> list[MetaRow]:
    with closing(sqlite3.connect(copy)) as connection:
        # Damaged text is read, so that its row can be named.
        connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
        for (verdict,) in connection.execute("PRAGMA integrity_check(1)").fetchall():
            if verdict != "ok":
                raise StoreError(f"{path}: is damaged: {verdict}")
        if not connection.execute("PRAGMA table_info(meta)").fetchall():
            raise StoreError(f"{path}: is no database of KubeEdge's edgecore: no table meta")
        return [MetaRow(*row) for row in connection.execute(_ROWS)]
