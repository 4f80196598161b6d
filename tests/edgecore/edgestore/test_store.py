"""The edge-store as modules see it: real SQLite in real threads."""

import asyncio
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.records import Bury, Put, Remove, Tombstone
from edgecore.edgestore.store import FILE_NAME, EdgeStore, StoreThreads
from tests.edgecore.edgestore.objects import stored

KEY = "default/configmap/web"


@pytest.mark.both_loops
async def test_what_was_applied_is_there_after_a_restart(tmp_path: Path) -> None:
    one = stored(KEY, uid="u1", version=3)
    async with EdgeStore(tmp_path) as store:
        await store.apply([Put(one), Bury(Tombstone("u0", KEY, 2, final=True))])
        assert store.index.entry(KEY) == one.entry
        assert not store.is_complete
        await store.confirm_complete()
    async with EdgeStore(tmp_path) as store:
        assert not store.was_damaged
        assert store.is_complete
        assert store.index.entry(KEY) == one.entry
        assert store.index.tombstone("u0") == Tombstone("u0", KEY, 2, final=True)
        assert await store.get(KEY) == one
        assert await store.list_type("configmap") == [one]
        await store.apply([])
        await store.apply([Remove(KEY)])
        assert await store.get(KEY) is None


async def test_a_write_is_durable_and_indexed_though_its_caller_has_gone(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        async with asyncio.TaskGroup() as tasks:
            applying = tasks.create_task(store.apply([Put(stored(KEY))]))
            await asyncio.sleep(0)
            applying.cancel()
        await store.apply([Put(stored("default/configmap/other"))])
        assert store.index.entry(KEY) is not None
        assert await store.get(KEY) == stored(KEY)


async def test_a_failed_write_is_not_indexed(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        store._database._connection.execute("PRAGMA query_only = ON")  # type: ignore[union-attr]
        with pytest.raises(StoreError):
            await store.apply([Put(stored(KEY))])
        assert store.index.entry(KEY) is None


async def test_a_damaged_file_is_replaced_and_the_loss_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"nonsense" * 999)
    async with EdgeStore(tmp_path) as store:
        assert store.was_damaged
        assert not store.is_complete
        assert not store.index.entries


async def test_stores_share_threads(tmp_path: Path) -> None:
    threads = StoreThreads()
    async with EdgeStore(tmp_path / "a", threads) as a, EdgeStore(tmp_path / "b", threads) as b:
        await a.apply([Put(stored(KEY))])
        assert b.index.entry(KEY) is None
    threads.close()


async def test_a_store_that_cannot_be_opened_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        async with EdgeStore(tmp_path / "file"):
            pass
