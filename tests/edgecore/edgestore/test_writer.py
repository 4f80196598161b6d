"""The thread that writes: real SQLite behind it, unless a test wants a commit to fail or wait."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put, Write
from edgecore.edgestore.writer import Writer
from tests.edgecore.edgestore.objects import stored


class WatchedDatabase(Database):
    """Counts its commits, holds them up, and refuses those that contain a forbidden key."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.commits: list[int] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.forbidden = ""

    def commit(self, writes: Iterable[Write]) -> None:
        self.may_go.wait()
        listed = list(writes)
        self.commits.append(len(listed))
        if any(isinstance(w, Put) and w.stored.key == self.forbidden for w in listed):
            raise StoreError("forbidden")
        super().commit(listed)


@pytest.fixture
def writer() -> Iterator[Writer]:
    made = Writer()
    yield made
    made.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[WatchedDatabase]:
    made = WatchedDatabase(tmp_path / "edge-store.db")
    made.open()
    yield made
    made.close()


def put(name: str) -> list[Write]:
    return [Put(stored(f"default/pod/{name}"))]


async def test_writes_that_gather_during_a_commit_share_the_next_one(
    writer: Writer, database: WatchedDatabase
) -> None:
    database.may_go.clear()
    done = [writer.submit(database, put("first"))]
    done += [writer.submit(database, put(str(number))) for number in range(50)]
    database.may_go.set()
    await asyncio.wait(done)
    assert sum(database.commits) == 51
    assert len(database.commits) <= 3
    assert len(database.of_type("pod")) == 51


async def test_one_callers_failure_is_not_anothers(
    writer: Writer, database: WatchedDatabase
) -> None:
    database.may_go.clear()
    database.forbidden = "default/pod/bad"
    done = [writer.submit(database, put(name)) for name in ("a", "bad", "b")]
    database.may_go.set()
    await asyncio.wait(done)
    assert [future.exception() is None for future in done] == [True, False, True]
    assert [pod.name for pod in database.of_type("pod")] == ["a", "b"]


async def test_a_fault_of_ours_is_raised_where_it_was_made_and_the_writer_goes_on(
    writer: Writer, database: WatchedDatabase
) -> None:
    wrong = writer.submit(database, [Put("no object")])  # type: ignore[arg-type]
    await asyncio.wait([wrong])
    assert isinstance(wrong.exception(), AttributeError)
    await writer.submit(database, put("a"))
    assert [pod.name for pod in database.of_type("pod")] == ["a"]


async def test_one_thread_serves_many_stores(writer: Writer, tmp_path: Path) -> None:
    databases = [WatchedDatabase(tmp_path / str(n) / "edge-store.db") for n in range(3)]
    for one in databases:
        one.open()
    await asyncio.wait([writer.submit(one, put("a")) for one in databases])
    assert [len(one.of_type("pod")) for one in databases] == [1, 1, 1]
    for one in databases:
        one.close()


async def test_a_caller_that_has_gone_does_not_stop_the_writer(
    writer: Writer, database: WatchedDatabase
) -> None:
    database.may_go.clear()
    writer.submit(database, put("a")).cancel()
    database.may_go.set()
    await writer.submit(database, put("b"))
    assert [pod.name for pod in database.of_type("pod")] == ["a", "b"]


def test_closing_waits_for_what_was_submitted(database: WatchedDatabase) -> None:
    writer = Writer()

    async def submit() -> None:
        for number in range(20):
            writer.submit(database, put(str(number)))

    asyncio.run(submit())  # the loop is gone before the writer can tell it anything
    writer.close()
    assert len(database.of_type("pod")) == 20
