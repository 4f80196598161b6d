"""Connections with their settings: real SQLite, real files."""

import sqlite3
from pathlib import Path

import pytest

from edgecore.edgestore.connecting import (
    connect,
    fold,
    is_damage,
    is_disk_failure,
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


def test_a_folded_log_is_empty_and_what_was_in_it_is_in_the_file(tmp_path: Path) -> None:
    connection = connect(tmp_path / "file")
    connection.execute("CREATE TABLE a AS SELECT 'a word that is looked for'")
    assert b"looked for" not in (tmp_path / "file").read_bytes()
    fold(connection)
    assert b"looked for" in (tmp_path / "file").read_bytes()
    assert (tmp_path / "file-wal").stat().st_size == 0
    connection.close()


def test_a_log_that_somebody_reads_is_not_folded_and_that_is_an_error(tmp_path: Path) -> None:
    connection, reader = connect(tmp_path / "file"), connect(tmp_path / "file")
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("CREATE TABLE a AS SELECT 1 UNION SELECT 2")
    rows = reader.execute("SELECT * FROM a")
    rows.fetchone()
    with pytest.raises(sqlite3.Error, match="being read"):
        fold(connection)
    rows.close()
    fold(connection)
    connection.close()
    reader.close()


def test_text_that_is_damaged_can_be_read(tmp_path: Path) -> None:
    connection = connect(tmp_path / "file")
    assert connection.execute("SELECT CAST(x'61ff62' AS TEXT)").fetchone() == ("a\ufffdb",)
    connection.close()


def test_a_file_of_something_else_is_damage_and_closed_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no database" * 99)
    with pytest.raises(sqlite3.DatabaseError) as raised:
        connect(tmp_path / "file")
    assert is_damage(raised.value)


def test_errors_are_told_apart() -> None:
    assert is_damage(with_code(sqlite3.SQLITE_IOERR_READ))
    assert not is_damage(with_code(sqlite3.SQLITE_IOERR_WRITE))
    assert not is_damage(ValueError())
    assert is_disk_failure(with_code(sqlite3.SQLITE_IOERR_FSYNC))
    assert not is_disk_failure(with_code(sqlite3.SQLITE_FULL))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE])
def test_a_full_disk_is_said_in_words_that_tell_what_to_do(code: int) -> None:
    assert "No space left on device: free some space" in str(
        store_error(Path("f"), with_code(code))
    )
    assert str(store_error(Path("f"), with_code(sqlite3.SQLITE_IOERR))) == "f: text"
