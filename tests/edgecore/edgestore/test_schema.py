"""The tables of the edge-store: real SQLite, real files."""

import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.connecting import DamagedError, connect
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put, Tombstone
from edgecore.edgestore.schema import MIGRATIONS, SCHEMA_VERSION, check_schema, migrate
from edgecore.edgestore.waltail import Loss
from tests.edgecore.edgestore.objects import stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "edge-store.db"


@pytest.fixture
def new() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, Path(), MIGRATIONS)
    yield connection
    connection.close()


def filled(path: Path) -> None:
    database = Database(path)
    database.open()
    database.commit([Put(stored("default/pod/a"))])
    database.close()


def test_a_schema_is_brought_up_to_date_step_by_step(path: Path) -> None:
    filled(path)
    connection = connect(path)
    steps = {
        3: "ALTER TABLE state ADD COLUMN note TEXT",
        4: "CREATE TABLE later (a TEXT); INSERT INTO later VALUES ('b')",
    }
    migrate(connection, path, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (5,)
    assert connection.execute("SELECT a FROM later").fetchall() == [("b",)]
    assert connection.execute("SELECT count(*) FROM objects").fetchone() == (1,)
    connection.close()


def test_a_step_that_fails_leaves_the_schema_before_it(path: Path) -> None:
    filled(path)
    connection = connect(path)
    with pytest.raises(sqlite3.Error):
        migrate(connection, path, {3: "CREATE TABLE later (a TEXT); SELECT * FROM nowhere"})
    connection.close()
    database = Database(path)
    assert database.open() is Loss.NONE
    assert [pod.key for pod in database.of_type("pod")] == ["default/pod/a"]
    database.close()


def test_a_file_of_the_first_schema_is_taken_over_with_its_tombstones(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    schema = resources.files("edgecore.edgestore").joinpath("schema.sql").read_text("utf-8")
    connection = sqlite3.connect(path)
    connection.executescript(f"{schema} PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO tombstones (uid, key, resource_version, final) VALUES ('u', 'd/pod/a', 7, 1)"
    )
    connection.commit()
    connection.close()
    database = Database(path)
    assert database.open() is Loss.NONE
    assert database.tombstones() == [Tombstone("u", "d/pod/a", 7, final=True)]
    database.close()


def test_the_newest_schema_is_what_the_migrations_lead_to(new: sqlite3.Connection) -> None:
    assert new.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    check_schema(new)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE state RENAME TO st_te",
        "ALTER TABLE objects RENAME COLUMN uid TO uie",
        "DROP TABLE tombstones",
        "CREATE TABLE more (a TEXT)",
    ],
)
def test_other_tables_than_those_of_the_schema_are_damage(
    new: sqlite3.Connection, change: str
) -> None:
    new.execute(change)
    with pytest.raises(DamagedError, match="tables"):
        check_schema(new)


def test_a_file_with_tables_that_says_it_is_new_is_damage(new: sqlite3.Connection) -> None:
    new.execute("PRAGMA user_version = 0")
    with pytest.raises(DamagedError, match="version"):
        migrate(new, Path(), MIGRATIONS)


def test_a_newer_schema_is_no_damage(new: sqlite3.Connection) -> None:
    new.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="use the edgecore that made it"):
        migrate(new, Path(), MIGRATIONS)
