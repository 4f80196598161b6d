"""The edge-store from before an upgrade: real databases, some with a log that was not taken in."""

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from edgecore.edgestore.store import FILE_NAME
from edgecore.install import storecopy


def write(folder: Path, schema: int, content: str) -> None:
    """Leave a store behind as a killed edgecore does: what is new is in the log only."""
    work = folder / "work"
    work.mkdir()
    with closing(sqlite3.connect(work / FILE_NAME, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA wal_autocheckpoint=0")
        store.execute("CREATE TABLE t (content)")
        store.execute("INSERT INTO t VALUES (?)", (content,))
        store.execute(f"PRAGMA user_version={schema}")
        for name in storecopy.FILES:
            (folder / name).unlink(missing_ok=True)
            shutil.copy2(work / name, folder / name)
    shutil.rmtree(work)


def content(path: Path) -> str:
    with closing(sqlite3.connect(path)) as store:
        return str(store.execute("SELECT content FROM t").fetchone()[0])


def test_the_names_are_those_of_the_edge_store() -> None:
    assert storecopy.STORE == FILE_NAME


def test_a_version_that_could_not_read_a_newer_form_gets_its_own_again(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    assert stat.S_IMODE((tmp_path / storecopy.FOLDER).stat().st_mode) == 0o700
    write(tmp_path, 4, "new")
    assert not storecopy.put_back(tmp_path, "2.0")  # it is not for this one
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"
    assert content(tmp_path / f"{FILE_NAME}.newer") == "new"
    assert not (tmp_path / storecopy.FOLDER).exists()
    assert not storecopy.put_back(tmp_path, "1.0")


def test_where_the_form_is_the_same_nothing_is_lost(tmp_path: Path) -> None:
    """Promise P1: what was acknowledged since then stays."""
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 3, "newer")
    assert not storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "newer"
    assert not (tmp_path / storecopy.FOLDER).exists()


def test_an_older_copy_and_one_that_was_interrupted_go(tmp_path: Path) -> None:
    write(tmp_path, 2, "oldest")
    storecopy.save(tmp_path, "0.9")
    (tmp_path / f".{storecopy.FOLDER}").mkdir()
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    write(tmp_path, 4, "new")
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"


def test_an_edge_that_had_no_store_keeps_none(tmp_path: Path) -> None:
    storecopy.save(tmp_path, "1.0")
    assert list(tmp_path.iterdir()) == []
    assert not storecopy.put_back(tmp_path, "1.0")


def test_a_store_that_is_damaged_or_gone_is_put_back(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    storecopy.save(tmp_path, "1.0")
    for name in storecopy.FILES:
        (tmp_path / name).unlink()
    (tmp_path / FILE_NAME).write_text("rubbish" * 1000)
    assert storecopy.put_back(tmp_path, "1.0")
    assert content(tmp_path / FILE_NAME) == "old"


def test_a_copy_for_which_there_is_no_place_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 3, "old")
    (tmp_path / f".{storecopy.FOLDER}").write_text("in the way")
    with pytest.raises(FileExistsError):
        storecopy.save(tmp_path, "1.0")
