"""Connections with their settings: real SQLite, real files."""

import sqlite3
from pathlib import Path

import pytest

from edgecore.edgestore.connecting import (
    connect,
    is_damage,
    store_error,
)


def with_code(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    return error


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    connection = connect(tmp_path / "file")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_text_that_is_damaged_can_be_read(tmp_path: Path) -> None:
    connection = connect(tmp_path / "file")
    assert connection.execute("SELECT CAST(x'61ff62' AS TEXT)").fetchone() == ("a\ufffdb",)
    connection.close()


def test_a_file_of_something_else_is_damage_and_closed_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no database" * 99)
    with pytest.raises(sqlite3.DatabaseError) as raised:
        connect(tmp_path / "file")
    assert is_damage(raised.value)


def test_what_cannot_be_read_is_damage_and_what_cannot_be_written_is_not() -> None:
    assert is_damage(with_code(sqlite3.SQLITE_IOERR_READ))
    assert not is_damage(with_code(sqlite3.SQLITE_IOERR_WRITE))
    assert not is_damage(ValueError())


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE])
def test_a_full_disk_is_said_in_words_that_tell_what_to_do(code: int) -> None:
    assert "No space left on device: free some space" in str(
        store_error(Path("f"), with_code(code))
    )
    assert str(store_error(Path("f"), with_code(sqlite3.SQLITE_IOERR))) == "f: text"
