"""A runtime that is away and comes back: hollow, with faults."""

import asyncio

from common.errors import RuntimeServiceError
from edgecore.edged.availability import Availability
from edgecore.edged.runtime.base import RuntimeVersion
from edgecore.edged.runtime.hollow import HollowRuntime

GONE = RuntimeServiceError("RuntimeUnavailable", "connection refused")


class Away(HollowRuntime):
    """Fails a number of times before it answers."""

    def __init__(self, times: int, then: RuntimeServiceError | None = None) -> None:
        super().__init__()
        self.times, self.then = times, then
        self.looks = 0

    async def version(self) -> RuntimeVersion:
        self.looks += 1
        if self.looks <= self.times:
            raise GONE
        if self.then is not None:
            raise self.then
        return await super().version()


async def test_everybody_is_told_once_when_the_runtime_answers_again() -> None:
    runtime, back = Away(2), asyncio.Queue[str]()
    async with asyncio.TaskGroup() as tasks:
        availability = Availability(tasks, runtime, lambda: back.put_nowait("back"))
        assert availability.fault == ""
        for _ in range(5):
            availability.lost(GONE)
        assert "connection refused" in availability.fault
        assert await back.get() == "back"
        assert availability.fault == ""
        assert runtime.looks == 3
        assert back.empty()
        availability.lost(GONE)
        assert await back.get() == "back"


async def test_a_runtime_that_answers_is_not_away_for_want_of_a_network() -> None:
    not_ready = RuntimeServiceError("NetworkPluginNotReady", "cni plugin not initialized")
    runtime, back = Away(1, then=not_ready), asyncio.Queue[str]()
    async with asyncio.TaskGroup() as tasks:
        availability = Availability(tasks, runtime, lambda: back.put_nowait("back"))
        availability.lost(GONE)
        assert await back.get() == "back"  # a pod of this node may be what brings the network


async def test_nobody_looks_after_the_end() -> None:
    runtime, back = Away(1000), asyncio.Queue[str]()
    async with asyncio.TaskGroup() as tasks:
        availability = Availability(tasks, runtime, lambda: back.put_nowait("back"))
        availability.lost(GONE)
        availability.close()
    assert back.empty()
