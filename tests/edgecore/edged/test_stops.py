"""Ending containers: the hollow runtime with stops that the test lets go, and a clock by hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from common.errors import RuntimeServiceError
from edgecore.edged.reconcile import StopContainer
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, ExecResult, PodObservation
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.stops import Stops
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.world import container, pod_object

PRE_STOP = {"preStop": {"exec": {"command": ["flush"]}}}


class Slow(HollowRuntime):
    """A runtime that says with which grace it is to stop what, and waits to be let go."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.clock = clock
        self.stopped: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.commands: list[list[str]] = []
        self.hook_takes_s = 0.0
        self.hook_code = 0
        self.refuse: RuntimeServiceError | None = None

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        self.stopped.put_nowait((container_id, grace_s))
        if self.refuse is not None:
            raise self.refuse
        await self.let_go.wait()

    async def exec_sync(
        self,
        container_id: str,
        command: Sequence[str],
        timeout_s: float,  # noqa: ARG002 - the clock stands still
    ) -> ExecResult:
        self.commands.append([container_id, *command])
        self.clock.seconds += self.hook_takes_s
        return ExecResult(self.hook_code, b"said")


class Stage:
    """A pod with one running container that may be stopped."""

    def __init__(self, tasks: asyncio.TaskGroup, lifecycle: dict[str, Any] | None) -> None:
        self.clock = HandClock()
        self.runtime = Slow(self.clock)
        self.ended: asyncio.Queue[None] = asyncio.Queue()
        self.events: list[tuple[str, str]] = []
        self.pod = pod_object("web", containers=[container("c", lifecycle=lifecycle or {})])
        status = ContainerStatus("id", "c", 0, ContainerState.RUNNING, "s")
        self.observed = PodObservation(
            self.pod["metadata"]["uid"],
            "default",
            "web",
            "s",
            sandbox_ready=True,
            containers=(status,),
        )
        self.stops = Stops(
            tasks,
            self.runtime,
            self.clock,
            lambda: self.ended.put_nowait(None),
            lambda _kind, reason, message, _name: self.events.append((reason, message)),
        )

    def stop(self, grace_s: float) -> None:
        action = StopContainer("id", "c", grace_s, "Stopping container c")
        self.stops.stop(self.pod, self.observed, action, "192.0.2.7")


@asynccontextmanager
async def stage(lifecycle: dict[str, Any] | None = None) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        made = Stage(tasks, lifecycle)
        yield made
        made.runtime.let_go.set()


async def test_a_container_is_stopped_once_and_its_end_is_told() -> None:
    async with stage() as s:
        s.stop(5)
        s.stop(5)
        assert await s.runtime.stopped.get() == ("id", 5)
        s.runtime.let_go.set()
        await s.ended.get()
        assert s.runtime.stopped.empty()
        assert s.events == [("Killing", "Stopping container c")]


async def test_a_grace_can_be_shortened_and_never_lengthened() -> None:
    async with stage() as s:
        s.stop(30)
        assert await s.runtime.stopped.get() == ("id", 30)
        s.stop(60)
        s.stop(1)
        assert await s.runtime.stopped.get() == ("id", 1)
        assert s.events == [("Killing", "Stopping container c")]


async def test_the_hook_comes_first_and_takes_its_time_from_the_grace() -> None:
    async with stage(PRE_STOP) as s:
        s.runtime.hook_takes_s = 3
        s.stop(5)
        assert await s.runtime.stopped.get() == ("id", 2)
        assert s.runtime.commands == [["id", "flush"]]


async def test_a_container_has_a_moment_left_after_a_hook_that_took_all() -> None:
    async with stage(PRE_STOP) as s:
        s.runtime.hook_takes_s = 100
        s.stop(5)
        assert await s.runtime.stopped.get() == ("id", 2)


async def test_a_hook_is_not_run_again_when_there_is_less_time() -> None:
    async with stage(PRE_STOP) as s:
        s.stop(30)
        await s.runtime.stopped.get()
        s.stop(1)
        assert await s.runtime.stopped.get() == ("id", 1)
        assert len(s.runtime.commands) == 1


async def test_a_hook_that_fails_is_told_and_the_container_stopped_all_the_same() -> None:
    async with stage(PRE_STOP) as s:
        s.runtime.hook_code = 1
        s.stop(5)
        await s.runtime.stopped.get()
        assert ("FailedPreStopHook", "PreStopHook failed") in s.events


async def test_what_the_runtime_says_when_it_cannot_stop_is_told() -> None:
    async with stage() as s:
        s.runtime.refuse = RuntimeServiceError("KillContainerError", "it will not die")
        s.stop(5)
        await s.runtime.stopped.get()
        await asyncio.sleep(0)
        assert ("FailedKillPod", "it will not die") in s.events
        s.runtime.refuse = None
        s.stop(0)  # another attempt does not wait for the pause
        await s.runtime.stopped.get()
