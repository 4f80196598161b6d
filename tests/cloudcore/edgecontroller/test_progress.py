"""How far the caches are. Real: an event loop; the events are made by hand."""

import asyncio

from cloudcore.edgecontroller.location import LocationCache
from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube.listwatch import Bookmarked, Interrupted, ListCompleted, ListStarted


async def test_all_are_in_step_when_each_has_a_list_and_follows() -> None:
    state = ClusterState(LocationCache())
    progress = Progress([state.pods, state.nodes])
    assert not progress.is_in_step
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(progress.in_step())
        for followed in (state.pods, state.nodes):
            await asyncio.sleep(0)
            assert not waiting.done()
            progress.note(followed, ListStarted())
            progress.note(followed, ListCompleted("1"))
    assert progress.is_in_step
    progress.note(state.pods, Interrupted())
    assert not progress.is_in_step
    progress.note(state.pods, ListStarted())
    assert not progress.is_in_step
    progress.note(state.pods, ListCompleted("2"))
    await progress.in_step()


async def test_a_condition_is_asked_after_each_event() -> None:
    state = ClusterState(LocationCache())
    progress = Progress([state.pods])

    def is_there() -> bool:
        return state.pods.cache.version >= 5

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(progress.until(is_there))
        given_up = group.create_task(progress.until(is_there))
        for version in ("3", "5"):
            await asyncio.sleep(0)
            assert not waiting.done()
            given_up.cancel()
            event = Bookmarked(version)
            state.pods.cache.apply(event)
            progress.note(state.pods, event)
    assert not progress._waiting
