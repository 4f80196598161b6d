"""No edge is compared with caches that are older. The API server is in memory."""

import asyncio

import pytest

from cloudcore.edgecontroller.epochs import Epochs
from cloudcore.edgecontroller.progress import Progress
from cloudcore.kube.listwatch import Bookmarked
from cloudcore.synccontroller import newest
from cloudcore.synccontroller.newest import Newest
from common.errors import RemoteError
from tests.cloudcore.synccontroller.stage import NODE, Stage


class Scene:
    def __init__(self) -> None:
        self.stage, self.epochs = Stage(), Epochs()
        state = self.stage.state
        self.progress = Progress([state.pods])
        self.newest = Newest(self.stage.client.typed, state, self.progress, self.epochs)
        self.reach(50)

    def reach(self, version: int) -> None:
        event = Bookmarked(str(version))
        self.stage.state.pods.cache.apply(event)
        self.progress.note(self.stage.state.pods, event)


async def test_who_is_not_newer_does_not_wait_and_nobody_is_asked() -> None:
    scene = Scene()
    await scene.newest.await_caches(NODE, {"pod": "50", "unknown": "99", "secret": "nonsense"})
    assert scene.stage.client.requests == []


async def test_a_cache_that_is_behind_is_waited_for() -> None:
    scene = Scene()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(scene.newest.await_caches(NODE, {"pod": "60"}))
        for version in (55, 60):
            await asyncio.sleep(0)
            assert not waiting.done()
            scene.reach(version)
    assert not scene.epochs.is_overtaken(NODE, 1)


async def test_after_a_while_the_edge_is_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "CATCH_UP_S", 0.01)
    scene = Scene()
    with pytest.raises(RemoteError) as behind:
        await scene.newest.await_caches(NODE, {"pod": "60"})
    assert behind.value.status.code == 503


async def test_an_api_server_that_is_not_as_far_was_restored() -> None:
    scene = Scene()
    await scene.newest.await_caches(NODE, {"pod": "101", "secret": "200"})
    assert scene.epochs.is_overtaken(NODE, 200)


async def test_where_the_api_server_cannot_be_asked_the_edge_keeps_what_it_has() -> None:
    scene = Scene()
    scene.stage.client.failures = {"*": 503}
    with pytest.raises(RemoteError):
        await scene.newest.await_caches(NODE, {"pod": "60"})
