"""Opening the file of the edge-store: real SQLite, real files, real damage.

Read-only is a real read-only mount where this machine allows one.
"""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.opening import open_sound
from edgecore.edgestore.records import Bury, Put, Tombstone
from edgecore.edgestore.schema import SCHEMA_VERSION
from edgecore.edgestore.waltail import Loss
from tests.edgecore.edgestore.objects import stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "edge-store.db"


def filled(path: Path, objects: int = 200) -> None:
    database = Database(path)
    database.open()
    database.commit(
        [
            Put(
                stored(
                    f"default/pod/p{n}", uid=f"u{n}", version=n + 1, value=b'{"a":"%d"}' % n * 99
                )
            )
            for n in range(objects)
        ]
    )
    database.close()


def reopened(path: Path) -> tuple[set[str], Loss]:
    database = Database(path)
    loss = database.open()
    keys = {pod.key for pod in database.of_type("pod")}
    database.close()
    return keys, loss


def test_a_new_file_and_its_folder_are_for_this_user_only(path: Path) -> None:
    old = os.umask(0)
    try:
        connection, loss = open_sound(path)
        connection.execute("INSERT INTO state VALUES ('a', 'b')")
    finally:
        os.umask(old)
    assert loss is Loss.NONE
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {part.name: part.stat().st_mode & 0o777 for part in path.parent.iterdir()}
    assert modes == {
        "edge-store.db": 0o600,
        "edge-store.db-wal": 0o600,
        "edge-store.db-shm": 0o600,
    }
    connection.close()


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    filled(path, 1)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert reopened(path) == ({"default/pod/p0"}, Loss.NONE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kept_bytes", [1, 99, 4096, 4097, 20_000])
def test_a_truncated_file_is_set_aside_and_a_new_one_made(path: Path, kept_bytes: int) -> None:
    filled(path)
    os.truncate(path, kept_bytes)
    keys, loss = reopened(path)
    assert loss is Loss.CERTAIN
    assert keys == set()
    assert (path.parent / "edge-store.db.damaged-1").stat().st_size == kept_bytes
    assert reopened(path) == (set(), Loss.NONE)


def test_a_second_damaged_file_does_not_overwrite_the_first(path: Path) -> None:
    for _ in range(2):
        filled(path)
        os.truncate(path, 5000)
        assert reopened(path) == (set(), Loss.CERTAIN)
    names = {part.name for part in path.parent.iterdir()}
    assert {"edge-store.db.damaged-1", "edge-store.db.damaged-2"} <= names


def test_a_file_of_something_else_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"these are not the bytes of a database" * 1000)
    assert reopened(path) == (set(), Loss.CERTAIN)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_never_makes_the_store_lie(path: Path, seed: int) -> None:
    filled(path)
    content = bytearray(path.read_bytes())
    position = (seed * 104_729 + 18) % len(content)
    content[position] ^= 1 << (seed % 8)
    path.write_bytes(content)
    database = Database(path)
    try:
        database.open()
        pods = database.of_type("pod")
    except StoreError:
        return  # it says so, which is no lie
    finally:
        database.close()
    for pod in pods:
        number = int(pod.name.removeprefix("p"))
        assert (pod.uid, pod.version) == (f"u{number}", number + 1)
        assert pod.value == b'{"a":"%d"}' % number * 99


def test_a_damaged_value_is_forgotten_alone_and_the_loss_is_told(path: Path) -> None:
    filled(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE objects SET value = x'7b7d' WHERE name = 'p1'")
    connection.close()
    assert reopened(path) == ({"default/pod/p0", "default/pod/p2"}, Loss.CERTAIN)
    assert reopened(path) == ({"default/pod/p0", "default/pod/p2"}, Loss.NONE)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE objects SET uid = CAST(x'61ff62' AS TEXT) WHERE name = 'p1'",
        "UPDATE objects SET namespace = 'other' WHERE name = 'p1'",
        "UPDATE objects SET value = '{}' WHERE name = 'p1'",
    ],
    ids=["a text that is none", "a name that is not the key's", "a value of another type"],
)
def test_a_damaged_row_is_forgotten_alone_whatever_is_damaged(path: Path, damage: str) -> None:
    filled(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    assert reopened(path) == ({"default/pod/p0", "default/pod/p2"}, Loss.CERTAIN)


def test_a_damaged_tombstone_is_forgotten_alone_and_the_loss_is_told(path: Path) -> None:
    database = Database(path)
    database.open()
    kept, damaged = (Tombstone(uid, "default/pod/web", 7, final=False) for uid in ("u1", "u2"))
    database.commit([Bury(kept), Bury(damaged)])
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE tombstones SET resource_version = 9 WHERE uid = 'u2'")
    connection.close()
    assert database.open() is Loss.CERTAIN
    assert database.tombstones() == [kept]
    database.close()


def test_an_index_that_does_not_match_is_damage(path: Path) -> None:
    filled(path, 3)
    with sqlite3.connect(path) as connection:
        # As if a page of the index were one of an earlier time.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX objects_by_type ON objects (name)'"
            " WHERE name = 'objects_by_type'"
        )
    connection.close()
    assert reopened(path) == (set(), Loss.CERTAIN)


def test_a_name_in_the_schema_that_is_another_is_damage(path: Path) -> None:
    filled(path, 3)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE state", b"CREATE TABLE st_te"))
    assert reopened(path) == (set(), Loss.CERTAIN)


def test_a_schema_that_is_no_text_any_more_is_damage(path: Path) -> None:
    filled(path, 3)
    content = path.read_bytes()
    assert content.count(b"CREATE TABLE state") == 1
    path.write_bytes(content.replace(b"CREATE TABLE state", b"CREATE TABLE st\xe5te"))
    assert reopened(path) == (set(), Loss.CERTAIN)


def test_a_log_that_a_killed_store_left_is_written_again_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(path)
    database.open()
    database.commit([Put(stored("default/pod/a", value=bytes(200_000)))])
    files = {part.name: part.read_bytes() for part in path.parent.iterdir()}
    database.close()
    for part in path.parent.iterdir():
        part.unlink()
    for name in ("edge-store.db", "edge-store.db-wal"):
        (path.parent / name).write_bytes(files[name])
    written = bytearray()
    write = os.pwrite

    def write_a_part(file: int, data: bytes, offset: int) -> int:
        assert offset == len(written)
        part = data[: len(data) // 2 + 1]  # as it may be when a signal comes
        written.extend(part)
        return write(file, part, offset)

    monkeypatch.setattr(os, "pwrite", write_a_part)
    assert reopened(path) == ({"default/pod/a"}, Loss.NONE)
    assert bytes(written) == files["edge-store.db-wal"]


def test_a_file_of_a_newer_edgecore_is_refused_and_left_alone(path: Path) -> None:
    filled(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="use the edgecore that made it"):
        open_sound(path)
    assert list(path.parent.glob("*damaged*")) == []


@pytest.fixture
def read_only(path: Path) -> Iterator[Path]:
    filled(path, 1)
    folder = str(path.parent)
    bound = subprocess.run(
        ["/bin/mount", "--bind", folder, folder], check=False, capture_output=True
    )
    if bound.returncode != 0:
        pytest.skip("this machine allows no mounts")
    subprocess.run(["/bin/mount", "-o", "remount,ro,bind", folder], check=True)
    yield path
    subprocess.run(["/bin/umount", folder], check=True)


def test_a_read_only_disk_is_an_error_and_no_damage(read_only: Path) -> None:
    with pytest.raises(StoreError, match=r"Read-only|readonly"):
        Database(read_only).open()
    assert list(read_only.parent.glob("*damaged*")) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        open_sound(tmp_path / "file" / "edge-store.db")
