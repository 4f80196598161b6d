"""Secrets that an older edgecore has stored in the clear: real SQLite, real files, real AES."""

import logging
import shutil
import sqlite3
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.clear import seal_what_is_clear
from edgecore.edgestore.connecting import connect
from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.records import StoredObject
from edgecore.edgestore.schema import CLEAR_STATE, MIGRATIONS, migrate
from edgecore.edgestore.sealing import Sealer
from edgecore.edgestore.waltail import Loss
from tests.edgecore.edgestore.objects import stored
from tests.edgecore.edgestore.olden import open_clear, put_clear

PLAIN = b"hunter2"
OBJECTS = [
    stored("default/pod/a", uid="p"),
    stored("default/secret/large", uid="l", version=2, value=PLAIN * 3000),
    stored("default/secret/small", uid="s", version=3, value=b'{"password":"%b"}' % PLAIN),
    StoredObject("d/serviceaccounttoken/a/1", "serviceaccounttoken", "d", "a", "t", 0, PLAIN),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "edge-store.db"


def left_by_a_kill(path: Path) -> None:
    """Leave a store with Secrets in its file, in its log, and in pages that are free."""
    folder = path.parent.with_name("killed")
    connection = open_clear(folder / path.name)
    put_clear(connection, OBJECTS)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    put_clear(connection, [stored("default/secret/large", value=PLAIN * 5000)])
    put_clear(connection, OBJECTS)
    shutil.copytree(folder, path.parent)
    connection.close()


def found_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if PLAIN in file.read_bytes()]


def everything(database: Database) -> list[StoredObject]:
    kinds = ("pod", "secret", "serviceaccounttoken")
    return [one for kind in kinds for one in database.of_type(kind)]


def test_a_store_with_secrets_in_the_clear_is_sealed_and_nothing_clear_is_left(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    left_by_a_kill(path)
    assert sorted(found_in(path.parent)) == [path.name, f"{path.name}-wal"]
    database = Database(path)
    assert database.open() is Loss.NONE
    assert found_in(path.parent) == []
    assert everything(database) == OBJECTS
    assert database.state(CLEAR_STATE) is None
    assert [r.__dict__["secrets"] for r in caplog.records if "is sealed" in r.message] == [3]
    assert database.get("default/secret/small") == OBJECTS[2]
    database.close()
    assert found_in(path.parent) == []
    again = Database(path)
    assert again.open() is Loss.NONE
    assert everything(again) == OBJECTS
    again.close()
    assert len([r for r in caplog.records if "is sealed" in r.message]) == 1


def test_where_no_key_can_be_made_the_store_opens_and_is_sealed_later(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_by_a_kill(path)
    (tmp_path / "file").touch()
    without = Database(path, KeyFile(tmp_path / "file" / "key"))
    assert without.open() is Loss.NONE
    assert "not sealed yet" in caplog.text
    assert everything(without) == OBJECTS
    without.close()
    database = Database(path)
    database.open()
    assert everything(database) == OBJECTS
    assert found_in(path.parent) == []
    database.close()


def test_a_new_store_has_nothing_to_seal_and_needs_no_key(path: Path) -> None:
    database = Database(path)
    database.open()
    database.close()
    assert not path.with_suffix(".key").exists()


def test_a_log_that_somebody_else_reads_is_emptied_later(path: Path) -> None:
    connection = open_clear(path)
    put_clear(connection, OBJECTS)
    migrate(connection, path, MIGRATIONS)
    sealer = Sealer(KeyFile(path.with_suffix(".key")))
    other = connect(path)
    other.execute("BEGIN")
    other.execute("SELECT * FROM objects").fetchall()
    connection.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(sqlite3.OperationalError, match="in use"):
        seal_what_is_clear(connection, sealer)
    other.close()
    assert seal_what_is_clear(connection, sealer) == 0
    assert seal_what_is_clear(connection, sealer) is None
    assert found_in(path.parent) == []
    connection.close()


def test_a_failure_seals_nothing(path: Path, tmp_path: Path) -> None:
    connection = open_clear(path)
    put_clear(connection, OBJECTS)
    migrate(connection, path, MIGRATIONS)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        seal_what_is_clear(connection, Sealer(KeyFile(tmp_path / "file" / "key")))
    assert not connection.in_transaction
    connection.close()
