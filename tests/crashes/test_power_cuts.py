"""P1, P2: a power cut or a kill at any write of an edge-store loses nothing that it acknowledged.

Real: the edge-store, its threads, and SQLite. Watched: what they do to the files of one folder, by
a VFS and by ``os``. Worked out: what a disk holds after each of these operations, if all of them,
none that was not synced, or some sectors of some of them have reached it. The code that opens the
store then opens that. ``CRASH_POINTS=all`` looks at every operation of longer runs.
"""

import asyncio
import random
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edgecore.edgestore import connecting
from edgecore.edgestore.records import Put, Write
from edgecore.edgestore.store import EdgeStore, StoreThreads
from edgecore.edgestore.waltail import Loss
from tests.crashes.disk import Disk, Event, Sync
from tests.crashes.recorder import Recorder, lay_out, one_fails, recorded
from tests.crashes.runs import Account, Run, assert_kept, look, read
from tests.crashes.sampling import ALL, sample
from tests.crashes.script import Held, batches, held
from tests.crashes.vfs import Look

BATCHES = 160 if ALL else 60
RESTARTS = 3


async def scripted(folder: Path, seed: int) -> tuple[list[Event], Account]:
    """Have a store do everything, stop and start in between, and stop."""
    recorder, threads = Recorder(), StoreThreads()
    run = Run(folder, recorder, threads)
    written = batches(BATCHES, seed)
    with recorded(folder, recorder):
        for part in range(RESTARTS):
            async with run.opened() as store:
                await several(run, store, written[part::RESTARTS])
                run.check(store)
    threads.close()
    assert run.refusals == []
    return recorder.events, run.account


async def several(run: Run, store: EdgeStore, written: list[list[Write]]) -> None:
    """Write one by one, but every tenth three at once, which share transactions."""
    for at in range(0, len(written), 10):
        for batch in written[at : at + 7]:
            await run.apply(store, batch)
            await store.list_type("pod")
        await at_once(run, store, written[at + 7 : at + 10])


async def at_once(run: Run, store: EdgeStore, written: list[list[Write]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for batch in written:
            tasks.create_task(run.apply(store, batch))
            await asyncio.sleep(0)  # it is handed in before the next one
            run.account.now = run.account.attempts[-1].after


@pytest.mark.parametrize("seed", range(3) if ALL else [1])
@pytest.mark.timeout(3600)
async def test_a_crash_at_any_write_loses_nothing_that_was_acknowledged(
    tmp_path: Path, seed: int
) -> None:
    events, account = await scripted(tmp_path / "run", seed)
    disk, chance, there = Disk(), random.Random(seed), tmp_path / "there"
    looked_at = set(sample(range(len(events)), 80))
    for number, event in enumerate(events):
        disk.do(event)
        if number in looked_at:
            possible, is_open = account.possible(number + 1)
            for image in (disk.killed(), disk.torn(chance)):
                assert_kept(read(there, image), possible, is_open=is_open)
            assert_kept(read(there, disk.unplugged()), possible, is_open=False)
    assert_kept(read(there, disk.unplugged()), [account.now], is_open=False)


@pytest.mark.timeout(3600)
async def test_a_power_cut_while_a_store_is_opened_after_another_loses_nothing(
    tmp_path: Path,
) -> None:
    events, account = await scripted(tmp_path / "run", seed=4)
    disk, chance, there = Disk(), random.Random(4), tmp_path / "there"
    looked_at = set(chance.sample(range(len(events)), 200 if ALL else 12))
    for number, event in enumerate(events):
        disk.do(event)
        if number in looked_at:
            possible, is_open = account.possible(number + 1)
            image = disk.torn(chance)
            first = read(there, image)
            assert_kept(first, possible, is_open=is_open)
            if first[1] is Loss.POSSIBLE:  # which is noted, for the next one to find
                possible = [*possible, *(replace(one, complete="") for one in possible)]
            again, recorder = Disk(image), Recorder()
            path = lay_out(there, image)
            with recorded(there, recorder):
                look(path)
            cuts = set(sample(range(len(recorder.events)), 6))
            for at, done in enumerate(recorder.events):
                again.do(done)
                if at in cuts:
                    assert_kept(read(there, again.torn(chance)), possible, is_open=is_open)


@pytest.mark.timeout(3600)
async def test_after_a_sync_that_failed_nothing_is_acknowledged_that_only_memory_has(
    tmp_path: Path,
) -> None:
    _, syncs = await with_a_failing_operation(tmp_path / "first", -1)
    threads = StoreThreads()
    for at in sample(syncs, 12):
        folder = tmp_path / f"failed-{at}"
        disk, _ = await with_a_failing_operation(folder, at)
        # The program is killed; the next one sees what memory has, which the disk has not.
        there, recorder = tmp_path / "there", Recorder()
        lay_out(there, disk.killed())
        run = Run(there, recorder, threads)
        with recorded(there, recorder):
            async with run.opened() as store:
                holds = held(store._database)
                await store.apply([])  # as after a message that is stored already
                for event in recorder.events:
                    disk.do(event)
        found, _ = read(tmp_path / "cut", disk.unplugged())
        assert found == holds, at
    threads.close()


async def with_a_failing_operation(folder: Path, at: int) -> tuple[Disk, list[int]]:
    """Have a store stop at the first write that fails; return the disk, and which were syncs."""
    syncs: list[int] = []
    fails = one_fails(at, sqlite3.SQLITE_IOERR_FSYNC)

    def fault(number: int, event: Event | Look) -> int:
        if isinstance(event, Sync):
            syncs.append(number)
        return fails(number, event)

    recorder, threads = Recorder(fault), StoreThreads()
    run, disk = Run(folder, recorder, threads), Disk()
    with recorded(folder, recorder):
        async with run.opened() as store:
            for batch in batches(25, 2):
                if not await run.apply(store, batch):
                    break
            # What closing does comes too late: the program was killed before.
            for event in recorder.events:
                disk.do(event)
    threads.close()
    return disk, syncs


async def test_a_store_that_does_not_wait_for_the_disk_would_be_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = tuple(s.replace("= FULL", "= NORMAL") for s in connecting._SETTINGS)
    monkeypatch.setattr(connecting, "_SETTINGS", hasty)
    events, account = await scripted(tmp_path / "run", seed=1)
    disk, lost = Disk(), 0
    for number, event in enumerate(events):
        disk.do(event)
        if number % 40 == 0:
            possible, _ = account.possible(number + 1)
            lost += read(tmp_path / "there", disk.unplugged())[0] not in possible
    assert lost > 10


def test_what_the_script_holds_is_what_it_wrote() -> None:
    one, two = batches(2, 1)
    assert Held().after(one).after(two) == Held().after([*one, *two])
    assert any(isinstance(write, Put) for batch in batches(5, 1) for write in batch)
