"""P1, P8: a disk that fails, once or for a while, at any operation of an edge-store: no lies.

Real: the edge-store, its threads, and SQLite. Made to fail: what they ask of the files of one
folder. A write that fails has written its first half; a sync that fails has lost what it was to
write, and does not say so again. ``CRASH_POINTS=all`` lets every operation fail in turn.
"""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgecore.edgestore.records import Write
from edgecore.edgestore.store import EdgeStore, StoreThreads
from tests.crashes import disk
from tests.crashes.disk import Create, Delete, Disk, Event, Rename, Sync, SyncFolder, Truncate
from tests.crashes.recorder import Fault, Recorder, nothing_fails, recorded
from tests.crashes.runs import Account, Run, assert_kept, read
from tests.crashes.sampling import sample
from tests.crashes.script import batches
from tests.crashes.vfs import OK, Look

RESTARTS = frozenset({9, 18})

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def threads() -> Iterator[StoreThreads]:
    made = StoreThreads()
    yield made
    made.close()


def error_of(event: Event | Look) -> int:
    """Return the result code of SQLite with which a bad disk refuses ``event``."""
    match event:
        case disk.Write():
            return sqlite3.SQLITE_IOERR_WRITE
        case Sync() | SyncFolder():
            return sqlite3.SQLITE_IOERR_FSYNC
        case Truncate():
            return sqlite3.SQLITE_IOERR_TRUNCATE
        case Delete() | Rename():
            return sqlite3.SQLITE_IOERR_DELETE
        case Look("read"):
            return sqlite3.SQLITE_IOERR_READ
        case Look("map"):
            return sqlite3.SQLITE_IOERR_SHMMAP
        case _:
            return sqlite3.SQLITE_CANTOPEN


async def scripted(folder: Path, recorder: Recorder, threads: StoreThreads) -> Run:
    """Have a store do everything, whatever fails, and look at it after each step."""
    run, written = Run(folder, recorder, threads), batches(26, 3)
    with recorded(folder, recorder):
        while written:
            async with run.opened() as store:
                await until_restart(run, store, written)
    return run


async def until_restart(run: Run, store: EdgeStore, written: list[list[Write]]) -> None:
    while written:
        await run.apply(store, written.pop(0))
        run.check(store)
        if len(written) in RESTARTS:
            return


async def operations(folder: Path, threads: StoreThreads) -> list[Event | Look]:
    """Return what a store asks of a disk that never fails."""
    seen: list[Event | Look] = []

    def watch(number: int, event: Event | Look) -> int:
        seen.append(event)
        return nothing_fails(number, event)

    run = await scripted(folder, Recorder(watch), threads)
    assert run.refusals == []
    return seen


async def test_one_operation_that_fails_is_said_or_made_good_and_the_store_goes_on(
    tmp_path: Path, threads: StoreThreads
) -> None:
    seen = await operations(tmp_path / "all", threads)
    said: Counter[str] = Counter()
    for at in sample(range(len(seen)), 18):
        recorder = Recorder(once(at, error_of))
        run = await scripted(tmp_path / f"run-{at}", recorder, threads)
        assert recorder.failures == 1
        assert len(run.refusals) <= 1
        said.update(run.refusals)
        check_disk(tmp_path, recorder, run.account, seed=at)
    assert any("disk I/O error" in text for text in said)


async def test_one_write_that_finds_no_room_is_said_or_made_good_and_the_store_goes_on(
    tmp_path: Path, threads: StoreThreads
) -> None:
    seen = await operations(tmp_path / "all", threads)
    writes = [at for at, event in enumerate(seen) if isinstance(event, disk.Write | Create)]
    for at in sample(writes, 10):
        recorder = Recorder(once(at, lambda _: sqlite3.SQLITE_FULL))
        run = await scripted(tmp_path / f"run-{at}", recorder, threads)
        assert len(run.refusals) <= 1
        assert all("No space left" in text for text in run.refusals)
        check_disk(tmp_path, recorder, run.account, seed=at)


def once(at: int, error: Callable[[Event | Look], int]) -> Fault:
    return lambda number, event: error(event) if number == at else OK


def check_disk(tmp_path: Path, recorder: Recorder, account: Account, seed: int) -> None:
    """Check that a power cut after the failure loses nothing that was acknowledged."""
    chance = random.Random(seed)
    cuts = {len(recorder.events) - 1, *(chance.randrange(len(recorder.events)) for _ in range(3))}
    then = Disk()
    for number, event in enumerate(recorder.events):
        then.do(event)
        if number in cuts:
            possible, is_open = account.possible(number + 1)
            assert_kept(read(tmp_path / "cut", then.unplugged()), possible, is_open=is_open)
            assert_kept(read(tmp_path / "cut", then.torn(chance)), possible, is_open=is_open)


@pytest.mark.parametrize(
    "error", [error_of, lambda _: sqlite3.SQLITE_FULL], ids=["it fails", "it is full"]
)
async def test_while_a_disk_takes_nothing_nothing_is_acknowledged_and_then_it_goes_on(
    tmp_path: Path, threads: StoreThreads, error: Callable[[Event | Look], int]
) -> None:
    written = batches(26, 3)
    for first in sample(range(1, len(written) - 4), 5):
        recorder = Recorder()
        run = Run(tmp_path / f"run-{first}", recorder, threads)
        with recorded(tmp_path / f"run-{first}", recorder):
            async with run.opened() as store:
                for batch in written[:first]:
                    assert await run.apply(store, batch)
                recorder.fault = lambda _, event: OK if isinstance(event, Look) else error(event)
                for batch in written[first : first + 4]:
                    assert not await run.apply(store, batch)
                    run.check(store)
                assert len(run.refusals) == 4  # and reading went on
                recorder.fault = nothing_fails
                for batch in written[first:]:
                    assert await run.apply(store, batch)
                run.check(store)
        check_disk(tmp_path, recorder, run.account, seed=first)
