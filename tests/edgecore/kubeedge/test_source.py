"""KubeEdge's database is read and never written: real SQLite, real files."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.kubeedge import source
from edgecore.kubeedge.meta import MetaRow
from edgecore.kubeedge.source import read_meta
from tests.edgecore.kubeedge.kubeedge import CONFIGMAP, SECRET, make_database, row, state_of

ROWS = [row(CONFIGMAP), row(SECRET)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kubeedge" / "edgecore.db"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert [one for one in os.listdir("/dev/shm") if one.startswith("cloudedge-import-")] == []


@pytest.mark.parametrize("wal", [False, True])
def test_all_rows_are_read_and_nothing_is_changed(path: Path, *, wal: bool) -> None:
    make_database(path, ROWS, wal=wal)
    before = state_of(path.parent)
    assert read_meta(path) == [MetaRow(*one) for one in ROWS]
    assert state_of(path.parent) == before


def test_what_is_only_in_the_log_of_a_kubeedge_that_was_killed_is_read(
    path: Path, tmp_path: Path
) -> None:
    make_database(path, ROWS[:1], wal=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO meta VALUES (?, ?, ?)", ROWS[1])
    killed = tmp_path / "killed"
    shutil.copytree(path.parent, killed)
    connection.close()
    before = state_of(killed)
    assert f"{path.name}-wal" in before
    assert read_meta(killed / path.name) == [MetaRow(*one) for one in ROWS]
    assert state_of(killed) == before


def test_what_was_not_committed_when_it_was_killed_is_not_read(path: Path, tmp_path: Path) -> None:
    make_database(path, ROWS)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?, ?)", [(f"k{n}", "pod", "x" * 3000) for n in range(200)]
    )
    killed = tmp_path / "killed"
    shutil.copytree(path.parent, killed)
    connection.execute("ROLLBACK")
    connection.close()
    before = state_of(killed)
    assert f"{path.name}-journal" in before
    assert read_meta(killed / path.name) == [MetaRow(*one) for one in ROWS]
    assert state_of(killed) == before


def test_a_read_only_source_is_read(path: Path) -> None:
    make_database(path, ROWS, wal=True)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    assert len(read_meta(path)) == 2
    path.parent.chmod(0o700)


def test_without_a_folder_in_memory_the_usual_one_is_taken(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, ROWS)
    monkeypatch.setattr(source, "_MEMORY", tmp_path / "nowhere")
    assert len(read_meta(path)) == 2


def test_a_database_that_is_written_meanwhile_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, ROWS)
    real = shutil.copyfile

    def copy(old: str, new: Path) -> None:
        real(old, new)
        os.utime(old, ns=(1, 1))

    monkeypatch.setattr(shutil, "copyfile", copy)
    with pytest.raises(StoreError, match="stop KubeEdge's edgecore first"):
        read_meta(path)


def test_what_is_no_such_database_is_said(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read_meta(path)
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 999)
    with pytest.raises(StoreError, match="not a database"):
        read_meta(path)
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE other (a TEXT)").connection.close()
    with pytest.raises(StoreError, match="no table meta"):
        read_meta(path)


def test_a_damaged_database_is_said(path: Path) -> None:
    make_database(path, [(f"default/pod/{n}", "pod", "x" * 900) for n in range(100)])
    content = bytearray(path.read_bytes())
    content[8192:12288] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        read_meta(path)


def test_text_that_is_damaged_is_read_so_that_it_can_be_named(path: Path) -> None:
    make_database(path, ROWS)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE meta SET value = CAST(x'fffe' AS TEXT) WHERE type = 'secret'")
    connection.close()
    assert read_meta(path)[1] == MetaRow("default/secret/db", "secret", "\ufffd\ufffd")
