"""The edge-store as modules see it: real SQLite in real threads."""

import asyncio
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.keyfile import FILE_NAME as KEY_FILE
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
        assert "readonly" in store.fault
        store._database._connection.execute("PRAGMA query_only = OFF")  # type: ignore[union-attr]
        await store.apply([Put(stored(KEY))])
        assert store.fault == ""


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


async def test_secrets_without_their_key_are_asked_for_anew_and_pods_are_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pod, db, old = stored("default/pod/a"), stored("d/secret/db"), stored("d/secret/old")
    async with EdgeStore(tmp_path) as store:
        await store.apply([Put(pod), Put(db), Put(old)])
        await store.confirm_complete()
    (tmp_path / KEY_FILE).unlink()
    async with EdgeStore(tmp_path) as store:
        assert "asked for them anew" in caplog.text
        assert not store.was_damaged
        assert not store.is_complete
        assert dict(store.index.entries) == {pod.key: pod.entry}
        assert await store.list_type("pod") == [pod]
        assert await store.get(db.key) is None
        await store.apply([Put(db)])
        assert await store.get(db.key) == db
    caplog.clear()
    async with EdgeStore(tmp_path) as store:
        assert not store.is_complete  # one is still missing
        assert await store.list_type("secret") == [db]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.apply([Put(stored(old.key, version=2))]))
            tasks.create_task(store.confirm_complete())
        assert await store.get(old.key) == stored(old.key, version=2)
    caplog.clear()
    async with EdgeStore(tmp_path) as store:
        assert store.is_complete
        assert caplog.text == ""


async def test_what_cannot_be_opened_goes_when_the_cloud_says_that_nothing_is_missing(
    tmp_path: Path,
) -> None:
    async with EdgeStore(tmp_path) as store:
        await store.apply([Put(stored("d/secret/old"))])
    (tmp_path / KEY_FILE).unlink()
    async with EdgeStore(tmp_path) as store:
        await store.confirm_complete()
        assert store._database.sealed_keys() == []
    async with EdgeStore(tmp_path) as store:
        assert store.is_complete


async def test_the_key_may_be_given(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"a key that somebody has made up.")
    async with EdgeStore(tmp_path / "data", key=given) as store:
        await store.apply([Put(stored("d/secret/a"))])
    async with EdgeStore(tmp_path / "data", key=given) as store:
        assert await store.get("d/secret/a") == stored("d/secret/a")
    assert not (tmp_path / "data" / KEY_FILE).exists()
