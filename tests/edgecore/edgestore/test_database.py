"""Commits and reads of the edge-store: real SQLite, a really full disk, writers really killed."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.records import (
    MAX_TOMBSTONES,
    Bury,
    Exhume,
    Identity,
    Put,
    Remove,
    SetState,
    Tombstone,
)
from edgecore.edgestore.waltail import Loss
from tests.edgecore.edgestore.objects import stored

KEY = "default/configmap/web"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "edge-store.db")
    made.open()
    yield made
    made.close()


def test_what_is_committed_is_read_back(database: Database) -> None:
    one = stored(KEY, uid="u1", version=2**62, value=b'{"data":"\xc3\xa4"}')
    database.commit([Put(one), SetState("node", "uid-1")])
    assert database.get(KEY) == one
    assert database.of_type("configmap") == [one]
    assert database.of_type("pod") == []
    assert database.state("node") == "uid-1"
    assert database.state("nothing") is None
    assert database.identities() == [Identity(KEY, "configmap", one.entry)]


def test_a_put_takes_the_place_of_what_has_its_key(database: Database) -> None:
    database.commit([Put(stored(KEY, uid="u1", version=1))])
    database.commit([Put(stored(KEY, uid="u2", version=2, value=b"[]"))])
    assert database.of_type("configmap") == [stored(KEY, uid="u2", version=2, value=b"[]")]


def test_tombstones_are_kept_in_order_and_bounded(database: Database) -> None:
    database.commit(
        [
            Bury(Tombstone(f"u{n}", f"default/pod/{n}", n, final=n == 7))
            for n in range(MAX_TOMBSTONES + 10)
        ]
    )
    tombstones = database.tombstones()
    assert len(tombstones) == MAX_TOMBSTONES
    assert tombstones[0] == Tombstone("u10", "default/pod/10", 10, final=False)
    database.commit([Exhume("default/pod/10")])
    assert database.tombstones()[0].uid == "u11"


def test_a_failing_transaction_leaves_nothing_behind(database: Database) -> None:
    too_large = stored(KEY, version=2**63)
    with pytest.raises(StoreError, match="cannot keep"):
        database.commit([Put(stored("default/pod/a")), Put(too_large)])
    assert database.of_type("pod") == []
    database.commit([Put(stored("default/pod/b"))])
    assert [pod.name for pod in database.of_type("pod")] == ["b"]


def test_text_that_cannot_be_stored_is_refused_as_any_other_failure(database: Database) -> None:
    with pytest.raises(StoreError, match="cannot keep"):
        database.commit([Put(stored("default/pod/a", uid="\ud800"))])
    assert database.of_type("pod") == []


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "edge-store.db")
    with pytest.raises(StoreError, match="not open"):
        database.commit([Remove(KEY)])
    with pytest.raises(StoreError, match="not open"):
        database.get(KEY)


def test_a_deleted_secret_does_not_linger_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "edge-store.db"
    database = Database(path)
    database.open()
    database.commit([Put(stored("default/secret/db", value=b"hunter2" * 500))])
    database.commit([Remove("default/secret/db")])
    database.close()
    assert b"hunter2" not in path.read_bytes()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


def write_pods(database: Database, number: int) -> None:
    for n in range(number):
        database.commit([Put(stored(f"default/pod/b{n}", value=bytes(20_000)))])


def test_a_full_disk_refuses_the_write_keeps_the_rest_and_recovers(small_disk: Path) -> None:
    database = Database(small_disk / "edge-store.db")
    database.open()
    database.commit([Put(stored("default/pod/a", value=b"{}"))])
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        fill(ballast)
    with pytest.raises(StoreError, match="No space left"):
        write_pods(database, 50)
    written = {pod.name for pod in database.of_type("pod")}
    assert "a" in written
    ballast.unlink()
    database.commit([Put(stored("default/pod/c"))])
    assert {pod.name for pod in database.of_type("pod")} == written | {"c"}
    database.close()


FILLER = """
import signal, sys
from pathlib import Path
from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.records import Put, StoredObject
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
database = Database(Path(sys.argv[1]))
database.open()
for n in range(1000):
    pod = StoredObject(f"d/pod/{n}", "pod", "d", str(n), f"u{n}", 1, bytes(9999))
    try:
        database.commit([Put(pod)])
    except StoreError as error:
        print("refused", flush=True)
        sys.exit(0)
    print(n, flush=True)
"""


def test_a_file_that_may_not_grow_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    limit = 400_000
    child = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path / "edge-store.db")],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    *committed, last = child.stdout.split()
    assert last == "refused"
    assert_holds(tmp_path / "edge-store.db", committed)


WRITER = """
import sys
from pathlib import Path
from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.records import Put, StoredObject
database = Database(Path(sys.argv[1]))
database.open()
n = 0
while True:
    objects = [StoredObject(f"d/pod/{n}", "pod", "d", str(n), f"u{n}", 1, bytes(3000)),
               StoredObject("d/node/n", "node", "d", "n", "u", n + 1, str(n).encode())]
    database.commit([Put(o) for o in objects])
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("lines", [1, 3, 40, 333, 700])
def test_what_was_committed_survives_a_kill_of_the_writer(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "edge-store.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        committed = [child.stdout.readline().strip() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        committed += child.stdout.read().split("\n")[:-1]
    assert_holds(path, committed)
    database = Database(path)
    database.open()
    node = database.get("d/node/n")
    pods = database.of_type("pod")
    # Whole transactions only: as many pods as the node says.
    assert node is not None
    assert node.version == len(pods)
    database.close()


def assert_holds(path: Path, names: list[str]) -> None:
    database = Database(path)
    assert database.open() is Loss.NONE
    present = {pod.name for pod in database.of_type("pod")}
    assert set(names) <= present
    database.close()


def test_no_value_of_a_secret_ever_reaches_the_files(tmp_path: Path) -> None:
    path = tmp_path / "edge-store.db"
    secret, token = b'{"password":"hunter2"}' * 400, b'{"status":{"token":"hunter2"}}'
    database = Database(path)
    database.open()
    database.commit(
        [Put(stored("default/secret/db", uid="u", version=n, value=secret)) for n in (1, 2)]
    )
    database.commit([Put(stored("default/serviceaccounttoken/a", value=token))])
    assert database.get("default/secret/db") == stored(
        "default/secret/db", uid="u", version=2, value=secret
    )
    assert [one.value for one in database.of_type("serviceaccounttoken")] == [token]
    for file in tmp_path.iterdir():
        assert b"hunter2" not in file.read_bytes()
    database.close()
    assert b"hunter2" not in path.read_bytes()


def test_what_another_key_has_sealed_is_as_if_not_there_and_comes_back_with_it(
    tmp_path: Path,
) -> None:
    path, key = tmp_path / "edge-store.db", tmp_path / "edge-store.key"
    secret, pod = stored("default/secret/db", value=b"hunter2"), stored("default/pod/a")
    database = Database(path)
    database.open()
    database.commit([Put(secret), Put(pod)])
    database.close()
    kept = key.read_bytes()
    for wrong in (None, b"another key, which is long enough\n"):
        key.unlink()
        if wrong is not None:
            key.write_bytes(wrong)
        database = Database(path)
        assert database.open() is Loss.NONE
        assert [one.key for one in database.identities()] == [pod.key]
        assert database.get(secret.key) is None
        assert database.of_type("secret") == []
        assert database.sealed_keys() == [secret.key]
        database.commit([Put(stored("default/secret/new", value=b"other"))])
        assert [one.key for one in database.of_type("secret")] == ["default/secret/new"]
        database.commit([Remove("default/secret/new")])
        database.close()
    key.write_bytes(kept)
    database = Database(path)
    database.open()
    assert database.get(secret.key) == secret
    database.close()


def test_a_credential_that_is_no_key_keeps_the_store_from_opening(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"short")
    database = Database(tmp_path / "edge-store.db", KeyFile(tmp_path / "edge-store.key", given))
    with pytest.raises(StoreError, match="no key"):
        database.open()
    assert not (tmp_path / "edge-store.db").exists()
