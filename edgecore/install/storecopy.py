"""A copy of the edge-store from before an upgrade, for the version before. Standard library only.

A newer version may give the edge-store a form that an older one refuses. So that the older one can
run again, what it has written is kept while it does not run, and put back where the form is
another one. What came meanwhile is then asked of the cloud anew, as after any absence; where the
form is the same, nothing is put back and nothing is lost.

Nobody else may use the edge-store meanwhile: the launcher is what is about to be edgecore.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edgecore.install.slots import sync

STORE = "edge-store.db"
FILES = (STORE, f"{STORE}-wal", f"{STORE}-shm")
FOLDER = "before-upgrade"

_VERSION = "version"
_FOLDER_MODE = 0o700
_NO_STORE = -1
"""The form of what is gone, or no database."""


def is_kept(data_dir: Path, version: str) -> bool:
    """Whether there is a copy for ``version``.

    Raises:
        OSError: that cannot be read.
    """
    try:
        return (data_dir / FOLDER / _VERSION).read_bytes() == version.encode()
    except FileNotFoundError:
        return False


def save(data_dir: Path, version: str) -> None:
    """Keep a copy of the edge-store that ``version`` has written; the one before goes.

    Raises:
        OSError: there is no room for it, or it cannot be written.
    """
    folder, unfinished = data_dir / FOLDER, data_dir / f".{FOLDER}"
    present = _form(data_dir / STORE)
    if is_kept(data_dir, version) and _form(folder / STORE) not in {present, _NO_STORE}:
        return  # what is there is already another version's: that one's trial was cut short
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    if present == _NO_STORE:
        return
    unfinished.mkdir(mode=_FOLDER_MODE)
    try:
        _copy(data_dir, unfinished)
        (unfinished / _VERSION).write_text(version)
        for path in [*unfinished.iterdir(), unfinished]:
            sync(path)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)  # half a copy may be what fills the disk
        raise
    sync(data_dir)


def put_back(data_dir: Path, version: str) -> bool:
    """Give ``version``, which is about to run, its edge-store, if it could not read this one.

    What is there is kept with ``.newer`` behind its name. Returns whether anything was put back.
    Where this is cut off, the next call does the rest.

    Raises:
        OSError: a file cannot be read or moved; the copy is kept as long as that is so.
    """
    folder = data_dir / FOLDER
    if not is_kept(data_dir, version):
        return False
    kept, present = _form(folder / STORE), _form(data_dir / STORE)
    if kept in {present, _NO_STORE}:  # without one, it was put back, or was being removed
        shutil.rmtree(folder, ignore_errors=True)
        return False
    for name in FILES:  # the database first: without it, a log is nobody's
        path = data_dir / name
        if path.exists():
            path.replace(path.with_name(f"{name}.newer"))
    sync(data_dir)
    (folder / STORE).replace(data_dir / STORE)
    sync(data_dir)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _copy(data_dir: Path, folder: Path) -> None:
    """Copy the edge-store, and make one file of it: one can be moved at once."""
    for name in (STORE, f"{STORE}-wal"):
        if (data_dir / name).exists():
            shutil.copy2(data_dir / name, folder / name)
    with _opened(folder / STORE) as store:
        store.execute("PRAGMA journal_mode=DELETE")
    if (folder / f"{STORE}-wal").exists():
        raise OSError(f"{folder / STORE}: its log cannot be taken in")


def _form(path: Path) -> int:
    """Return the version of a store's schema, also where there is no room; ``_NO_STORE`` for none.

    Raises:
        OSError: it cannot be told.
    """
    if not path.exists():
        return _NO_STORE
    try:
        with _opened(path) as store:
            (found,) = store.execute("PRAGMA user_version").fetchone()
    except _NotAStoreError:
        return _NO_STORE
    return int(found)


class _NotAStoreError(OSError):
    """The file can be read, and is no database."""


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as store:
            # The index of the log is held in memory, and not in a file that needs room.
            store.execute("PRAGMA locking_mode=EXCLUSIVE")
            yield store
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _NotAStoreError(f"{path}: {error}") from error
