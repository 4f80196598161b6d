"""Decisions made durable: a real edge-store."""

import asyncio
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgestore.records import Put
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager.decide import Outcome
from edgecore.metamanager.keeper import Keeper
from tests.edgecore.edgestore.objects import stored
from tests.edgecore.metamanager.messages import (
    CONFIGMAP,
    POD,
    delete,
    insert,
    naming,
    update,
)


async def test_what_is_kept_is_durable_when_the_plan_is_returned(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        plan = await Keeper(store).keep([insert(version=3)])
        assert plan.outcomes == (Outcome.KEPT,)
    async with EdgeStore(tmp_path) as store:
        assert store.index.entries.keys() == {CONFIGMAP}


async def test_batches_and_answers_at_the_same_time_never_go_backwards(store: EdgeStore) -> None:
    keeper = Keeper(store)
    async with asyncio.TaskGroup() as tasks:
        for version in range(1, 60):
            late = update(version=60 - version)
            tasks.create_task(keeper.keep([update(version=version)]))
            tasks.create_task(keeper.keep_answer(late))
    assert store.index.entries[CONFIGMAP].version == 59


async def test_what_pods_need_is_learned_again_at_start_and_the_rest_goes(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        keeper = Keeper(store)
        await keeper.keep([insert(CONFIGMAP), insert(POD, spec=naming("web"))])
        await keeper.keep([insert("default/secret/unneeded", uid="s", version=9)])
    async with EdgeStore(tmp_path) as store:
        keeper = Keeper(store)
        await keeper.load()
        assert store.index.entries.keys() == {CONFIGMAP, POD}
        await keeper.keep([delete(POD, version=8)])
        assert not store.index.entries


async def test_what_came_after_its_pod_had_gone_is_swept_and_what_is_needed_stays(
    store: EdgeStore,
) -> None:
    keeper = Keeper(store)
    await keeper.keep([insert(POD, spec=naming("web"))])
    assert not keeper.may_have_unneeded.is_set()
    await keeper.keep([insert(CONFIGMAP), insert("default/secret/late", uid="s", version=9)])
    assert keeper.may_have_unneeded.is_set()
    await keeper.sweep()
    assert store.index.entries.keys() == {POD, CONFIGMAP}
    assert not keeper.may_have_unneeded.is_set()


async def test_a_stored_pod_that_cannot_be_read_stops_nobody(
    store: EdgeStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.apply([Put(stored(POD, value=b"{"))])
    await Keeper(store).load()
    assert "cannot be read" in caplog.text


async def test_an_answer_that_cannot_be_written_is_an_error(store: EdgeStore) -> None:
    store._database._connection.execute("PRAGMA query_only = ON")  # type: ignore[union-attr]
    keeper = Keeper(store)
    with pytest.raises(StoreError):
        await keeper.keep_answer(insert())
    with pytest.raises(StoreError):
        await keeper.put(stored(CONFIGMAP))
    assert not store.index.entries
