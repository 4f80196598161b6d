"""A copy of the edge-store from before an upgrade, for the version before. Standard library only.

A newer version may give the edge-store a form that an older one refuses. So that the older one can
run again, what it has written is kept while it does not run, and put back where the form is
another one. What came meanwhile is then asked of the cloud anew, as after any absence; where the
form is the same, nothing is put back and nothing is lost.

Nobody else may use the edge-store meanwhile: the launcher is what is about to be edgecore.
"""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

STORE = "edge-store.db"
FILES = (STORE, f"{STORE}-wal", f"{STORE}-shm")
FOLDER = "before-upgrade"

_VERSION = "version"
_FOLDER_MODE = 0o700


def save(data_dir: Path, version: str) -> None:
    """Keep a copy of the edge-store that ``version`` has written; the one before goes.

    Raises:
        OSError: there is no room for it, or it cannot be written.
    """
    folder, unfinished = data_dir / FOLDER, data_dir / f".{FOLDER}"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    if not (data_dir / STORE).exists():
        return
    unfinished.mkdir(mode=_FOLDER_MODE)
    for name in FILES:
        if (data_dir / name).exists():
            shutil.copy2(data_dir / name, unfinished / name)
    (unfinished / _VERSION).write_text(version)
    for path in [*unfinished.iterdir(), unfinished]:
        _sync(path)
    unfinished.rename(folder)
    _sync(data_dir)


def put_back(data_dir: Path, version: str) -> bool:
    """Give ``version``, which is about to run, its edge-store, if it could not read this one.

    What is there is kept with ``.newer`` behind its name. Returns whether anything was put back.

    Raises:
        OSError: a file cannot be read or moved.
    """
    folder = data_dir / FOLDER
    try:
        if (folder / _VERSION).read_text() != version:
            return False
    except FileNotFoundError:
        return False
    # Looking takes in what was in the logs only: from here on, each is one file.
    kept, present = _form(folder / STORE), _form(data_dir / STORE)
    if kept == present:
        shutil.rmtree(folder)
        return False
    for name in reversed(FILES):  # the database last: without it, a log is nobody's
        path = data_dir / name
        if path.exists():
            path.replace(path.with_name(f"{name}.newer"))
    for name in reversed(FILES):
        if (folder / name).exists():
            (folder / name).replace(data_dir / name)
    shutil.rmtree(folder)
    _sync(data_dir)
    return True


def _form(path: Path) -> int | None:
    """Return the version of a store's schema; None where that cannot be read."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as store:
            found = store.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        return None
    return int(found[0])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
