"""Reading an edge-store from outside: real SQLite, a real writer beside; nothing is faked."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.errors import StoreError
from common.names import CLUSTER_SCOPE
from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.reading import Held, StoreReader, read_store
from edgecore.edgestore.records import Put, SetState
from edgecore.edgestore.schema import SCHEMA_VERSION
from tests.edgecore.edgestore.objects import stored

WEB = stored("default/configmap/web", uid="u1", version=7, value=b'{"data":1}')
SECRET = stored("shop/secret/tls", uid="u2", version=8, value=b'{"data":{"a":"Yg=="}}')
VOLUME = stored(f"{CLUSTER_SCOPE}/persistentvolume/disk", uid="u3", version=9, value=b"{}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge store.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = Database(path)
    made.open()
    made.commit([Put(WEB), Put(SECRET), Put(VOLUME), SetState("time", "now")])
    yield made
    made.close()


def names(reader: StoreReader) -> list[str]:
    return [held.name for held in reader.listing()]


def files_of(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.parent.iterdir() if "-shm" not in one.name}


def test_what_a_running_edge_holds_is_listed(database: Database, path: Path) -> None:
    listed = read_store(path, lambda reader: reader.listing())
    assert listed[0] == Held("configmap", "default", "web", "u1", 7, len(WEB.value))
    assert [(held.kind, held.namespace) for held in listed] == [
        ("configmap", "default"),
        ("persistentvolume", ""),
        ("secret", "shop"),
    ]
    assert len(read_store(path, lambda reader: reader.listing("secret"))) == 1
    assert len(read_store(path, lambda reader: reader.listing(namespace="default"))) == 1
    database.commit([Put(stored("default/configmap/new"))])
    assert "new" in read_store(path, names)


def test_the_writer_does_not_wait_for_a_reader_who_sees_one_moment(
    database: Database, path: Path
) -> None:
    def read(reader: StoreReader) -> tuple[list[str], list[str]]:
        before = names(reader)
        database.commit([Put(stored("default/configmap/new"))])
        return before, names(reader)

    before, after = read_store(path, read)
    assert before == after


def test_reading_writes_nothing(database: Database, path: Path) -> None:
    before = files_of(path)
    read_store(path, names)
    assert files_of(path) == before
    database.close()
    before = files_of(path)
    assert read_store(path, names) == ["web", "disk", "tls"]
    assert files_of(path) == before


@pytest.mark.usefixtures("database")
def test_what_a_killed_edge_left_in_its_log_is_read(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "killed" / "edge-store.db"
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    assert read_store(copy, names) == ["web", "disk", "tls"]


def test_an_edge_that_starts_meanwhile_is_read_anew(database: Database, path: Path) -> None:
    database.close()
    reads = []

    def read(reader: StoreReader) -> list[str]:
        reads.append(names(reader))
        if len(reads) == 1:
            database.open()
            database.commit([Put(stored("default/configmap/new"))])
        return reads[-1]

    assert "new" in read_store(path, read)
    assert len(reads) == 2


def test_what_seems_damaged_while_an_edge_starts_is_read_anew(
    database: Database, path: Path
) -> None:
    database.close()
    reads = []

    def read(reader: StoreReader) -> list[str]:
        reads.append(names(reader))
        if len(reads) == 1:
            database.open()
            raise StoreError("half of it is older")
        return reads[-1]

    assert read_store(path, read) == ["web", "disk", "tls"]
    assert len(reads) == 2


@pytest.mark.usefixtures("database")
def test_a_value_is_returned_by_its_name(path: Path) -> None:
    keys = KeyFile(path.with_suffix(".key"))
    found = read_store(path, lambda reader: reader.get("configmap", "default", "web", keys))
    assert found is not None
    assert found.value == WEB.value
    disk = read_store(path, lambda reader: reader.get("persistentvolume", "", "disk", keys))
    assert disk is not None
    assert disk.held.namespace == ""
    assert read_store(path, lambda reader: reader.get("pod", "default", "web", keys)) is None


@pytest.mark.usefixtures("database")
def test_a_secret_is_opened_by_its_key_only(path: Path) -> None:
    keys, none = KeyFile(path.with_suffix(".key")), KeyFile(path.with_name("none"))
    found = read_store(path, lambda reader: reader.get("secret", "shop", "tls", keys))
    assert found is not None
    assert found.value == SECRET.value
    found = read_store(path, lambda reader: reader.get("secret", "shop", "tls", none))
    assert found is not None
    assert found.value is None
    assert found.held.uid == "u2"
    assert read_store(path, lambda reader: reader.is_opened_by(keys)) is True
    assert read_store(path, lambda reader: reader.is_opened_by(none)) is False


def test_a_store_without_secrets_needs_no_key(path: Path) -> None:
    database = Database(path)
    database.open()
    database.commit([Put(WEB)])
    keys = KeyFile(path.with_name("none"))
    assert read_store(path, lambda reader: reader.is_opened_by(keys)) is None
    database.close()


@pytest.mark.usefixtures("database")
def test_state_and_structure_can_be_asked(path: Path) -> None:
    assert read_store(path, lambda reader: reader.state("time")) == "now"
    assert read_store(path, lambda reader: reader.state("nothing")) is None
    assert read_store(path, lambda reader: reader.check()) == ""


def test_a_damaged_value_is_told(database: Database, path: Path) -> None:
    database.close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE objects SET value = x'00' WHERE name = 'web'")
    keys = KeyFile(path.with_suffix(".key"))
    with pytest.raises(StoreError, match="is damaged: restart edgecore"):
        read_store(path, lambda reader: reader.get("configmap", "default", "web", keys))
    assert read_store(path, lambda reader: reader.is_opened_by(keys)) in (None, True)


def test_a_damaged_file_is_told(database: Database, path: Path) -> None:
    database.close()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        read_store(path, names)


def test_no_store_is_told(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no edge-store"):
        read_store(path, names)
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        read_store(path, names)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        (SCHEMA_VERSION + 1, "use the edgecore that made it"),
        (SCHEMA_VERSION - 1, "start this edgecore once"),
        (0, "start edgecore"),
    ],
)
def test_another_schema_says_what_to_do(
    database: Database, path: Path, version: int, advice: str
) -> None:
    database.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=advice):
        read_store(path, names)
