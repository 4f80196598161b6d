"""Places that nodes share. Real: tasks and their cancellation."""

import asyncio

from cloudcore.edgecontroller.places import FairPlaces
from common.names import NodeID
from tests.cloudcore.cluster import PATIENCE_S

A, B = NodeID("a"), NodeID("b")


class Scene:
    """Tasks that take places and say so, and leave when they are told to."""

    def __init__(self, group: asyncio.TaskGroup, places: FairPlaces) -> None:
        self._group, self._places = group, places
        self.inside: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def enter(self, node: NodeID, name: str) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        return self._group.create_task(self._hold(node, name))

    def leave(self, name: str) -> None:
        self._ends[name].set()

    async def _hold(self, node: NodeID, name: str) -> None:
        async with self._places.take(node):
            self.inside.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_place_that_gets_free_goes_round() -> None:
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, FairPlaces(1, 1))
        for name in ("a1", "a2", "a3"):
            scene.enter(A, name)
        await settled()
        scene.enter(B, "b1")
        for name in ("a1", "b1", "a2", "a3"):
            await settled()
            scene.leave(name)
        await settled()
        assert scene.inside == ["a1", "b1", "a2", "a3"]


async def test_who_is_cancelled_while_waiting_is_passed_over() -> None:
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, FairPlaces(1, 1))
        scene.enter(A, "a1")
        await settled()
        waiting = scene.enter(B, "b1")
        scene.enter(A, "a2")
        await settled()
        waiting.cancel()
        await settled()
        scene.leave("a1")
        await settled()
        assert scene.inside == ["a1", "a2"]
        scene.leave("a2")


async def test_no_place_is_lost_with_one_that_is_cancelled_as_its_turn_comes() -> None:
    places = FairPlaces(1, 1)
    async with asyncio.TaskGroup() as group:
        scene = Scene(group, places)
        async with places.take(A):
            waiting = scene.enter(B, "given its place, then cancelled")
            await settled()
        waiting.cancel()
        async with asyncio.timeout(PATIENCE_S), places.take(A):
            waiting = scene.enter(B, "cancelled, then its turn comes")
            await settled()
            waiting.cancel()
        async with asyncio.timeout(PATIENCE_S), places.take(A):
            assert not scene.inside
