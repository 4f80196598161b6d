"""P1-P3: files of an edge-store that were damaged while nobody used them.

Real: the edge-store, SQLite, and the damage: bits that flip and ends that are gone, in the file and
in the log that a killed edge-store leaves. ``CRASH_POINTS=all`` flips a bit in every 50 bytes.
"""

import errno
import os
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import COMPLETE_STATE, Bury, SetState, Tombstone, Write
from edgecore.edgestore.store import FILE_NAME, EdgeStore
from edgecore.edgestore.waltail import FRAME_HEADER_BYTES, HEADER_BYTES, Loss
from tests.crashes import disk
from tests.crashes.disk import Image
from tests.crashes.recorder import FILE, KEY, Recorder, lay_out, nothing_fails, recorded
from tests.crashes.runs import read
from tests.crashes.sampling import ALL, sample
from tests.crashes.script import Held, batches, held, history
from tests.crashes.vfs import OK

LOG = f"{FILE}-wal"
STEP = 199 if ALL else 997
LAST: Final = [SetState(COMPLETE_STATE, "yes")]

pytestmark = pytest.mark.timeout(3600)


def left_by_a_kill(folder: Path) -> tuple[Image, list[Held]]:
    """Return the files of a store that was killed, and all that it ever held."""
    written: list[Sequence[Write]] = [*batches(30, 5), LAST]
    database = Database(folder / FILE)
    folder.mkdir()
    database.open()
    for batch in written:
        database.commit(batch)
    image = {name: (folder / name).read_bytes() for name in (FILE, LOG, KEY)}
    database.close()
    return image, history(written)


def left_by_a_stop(folder: Path) -> tuple[Image, Held]:
    """Return the file of a store that was closed, and what it holds."""
    _, states = left_by_a_kill(folder)
    return {name: (folder / name).read_bytes() for name in (FILE, KEY)}, states[-1]


def flipped(image: Image, name: str, at: int, bit: int) -> Image:
    content = bytearray(image[name])
    content[at] ^= 1 << bit
    return {**image, name: bytes(content)}


def cut_off(image: Image, name: str, length: int) -> Image:
    return {**image, name: image[name][:length]}


def sure(holds: Held, states: Sequence[Held]) -> int | None:
    """Return after which batch this was what the store held, whether it was complete aside."""
    alike = [n for n, one in enumerate(states) if one.objects == holds.objects]
    alike = [n for n in alike if states[n].tombstones == holds.tombstones]
    return max(alike, default=None)


def test_a_flipped_bit_in_the_file_is_found_and_costs_no_more_than_it_hit(tmp_path: Path) -> None:
    image, whole = left_by_a_stop(tmp_path / "run")
    chance, losses = random.Random(1), 0
    for at in sample(range(0, len(image[FILE]), STEP), 150):
        try:
            holds, loss = read(tmp_path / "there", flipped(image, FILE, at, chance.randrange(8)))
        except StoreError:
            continue  # it is said: this cannot be opened
        if loss is Loss.NONE:
            assert holds == whole
        else:
            losses += 1
            assert loss is Loss.CERTAIN
            assert holds.complete != "yes"
        assert set(holds.objects) <= set(whole.objects)
        assert set(holds.tombstones) <= set(whole.tombstones)
    assert losses > 5


def test_a_flipped_bit_in_the_log_is_said_where_it_costs_something(tmp_path: Path) -> None:
    image, states = left_by_a_kill(tmp_path / "run")
    chance, losses = random.Random(2), 0
    for at in [10, *sample(range(HEADER_BYTES, len(image[LOG]), STEP), 80)]:
        holds, loss = read(tmp_path / "there", flipped(image, LOG, at, chance.randrange(8)))
        if loss is Loss.NONE:
            assert holds == states[-1] or says_that_it_is_a_commit(at, len(image[LOG]))
        else:
            losses += 1
            assert holds.complete != "yes"
            if sure(holds, states) is None:
                # The file was behind by different steps in different pages: it had to be set aside.
                assert holds.objects == ()
                assert loss is Loss.CERTAIN
    assert losses > 20


def says_that_it_is_a_commit(at: int, size: int) -> bool:
    """Whether ``at`` is in those 12 bytes of the last frame."""
    return 4 <= at - (size - FRAME_HEADER_BYTES - 4096) < 16


def test_a_log_that_is_cut_off_leaves_what_was_held_at_some_time(tmp_path: Path) -> None:
    image, states = left_by_a_kill(tmp_path / "run")
    lengths = [0, 1, HEADER_BYTES, *range(HEADER_BYTES + 1, len(image[LOG]), STEP)]
    for length in sample(lengths, 60):
        holds, _ = read(tmp_path / "there", cut_off(image, LOG, length))
        assert sure(holds, states) is not None, length


def test_a_file_that_is_cut_off_is_set_aside_unless_nothing_was_there(tmp_path: Path) -> None:
    image, whole = left_by_a_stop(tmp_path / "run")
    for length in sample(range(1, len(image[FILE]), STEP), 40):
        holds, loss = read(tmp_path / "there", cut_off(image, FILE, length))
        if loss is Loss.NONE:
            assert holds == whole  # the last page is of those that are free
        else:
            assert (loss, holds.objects) == (Loss.CERTAIN, ())
            assert (tmp_path / "there" / f"{FILE}.damaged-1").exists()
    assert whole.objects


def test_an_empty_file_beside_a_log_is_a_loss(tmp_path: Path) -> None:
    image, _ = left_by_a_kill(tmp_path / "run")
    holds, loss = read(tmp_path / "there", cut_off(image, FILE, 0))
    assert (loss, holds.objects) == (Loss.CERTAIN, ())
    assert (tmp_path / "there" / f"{FILE}.damaged-1-wal").read_bytes() == image[LOG]


async def test_a_store_whose_log_was_damaged_is_not_complete_until_the_cloud_says_so(
    tmp_path: Path,
) -> None:
    assert FILE == FILE_NAME
    image, _ = left_by_a_kill(tmp_path / "run")
    lay_out(tmp_path / "there", flipped(image, LOG, len(image[LOG]) // 2, 0))
    async with EdgeStore(tmp_path / "there") as store:
        assert store.was_damaged
        assert not store.is_complete
    async with EdgeStore(tmp_path / "there") as store:
        assert not store.was_damaged
        assert not store.is_complete
        await store.confirm_complete()
    async with EdgeStore(tmp_path / "there") as store:
        assert store.is_complete


async def test_on_a_full_disk_a_damaged_log_is_said_and_noted_with_the_first_commit(
    tmp_path: Path,
) -> None:
    image, _ = left_by_a_kill(tmp_path / "run")
    there, recorder = tmp_path / "there", Recorder()
    lay_out(there, flipped(image, LOG, len(image[LOG]) // 2, 0))
    recorder.fault = lambda _, event: sqlite3.SQLITE_FULL if isinstance(event, disk.Write) else OK
    with recorded(there, recorder):
        async with EdgeStore(there) as store:
            assert store.was_damaged
            assert not store.is_complete
            assert await store.state(COMPLETE_STATE) == "yes"  # the disk could not be told
            recorder.fault = nothing_fails
            await store.apply([Bury(Tombstone("u", "default/pod/a", 1, final=True))])
            assert await store.state(COMPLETE_STATE) == ""


def test_a_log_that_the_disk_cannot_read_is_set_aside_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = left_by_a_kill(tmp_path / "run")
    path = lay_out(tmp_path / "there", image)
    tries: list[int] = []

    def fail(*arguments: int) -> bytes:
        tries.append(arguments[-1])
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    database = Database(path)
    assert database.open() is Loss.CERTAIN
    assert held(database) == Held(complete="")
    assert tries == [0, 0]
    database.close()
    assert (tmp_path / "there" / f"{FILE}.damaged-1-wal").read_bytes() == image[LOG]
