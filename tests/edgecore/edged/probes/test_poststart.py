"""Hooks after a start: the hollow runtime, whose commands end as the test wants."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from edgecore.edged.probes.poststart import PostStarts
from edgecore.edged.probes.probes import BEGINS
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, ExecResult, PodObservation
from edgecore.edged.runtime.hollow import HollowRuntime
from tests.edgecore.edged.world import container, pod_object

RUNNING, EXITED = ContainerState.RUNNING, ContainerState.EXITED


class Commands(HollowRuntime):
    """Notes commands, and ends them with ``code``."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code
        self.run: list[tuple[str, list[str]]] = []

    async def exec_sync(
        self,
        container_id: str,
        command: Sequence[str],
        timeout_s: float,  # noqa: ARG002 - nothing takes time
    ) -> ExecResult:
        self.run.append((container_id, list(command)))
        return ExecResult(self.code, b"")


def pod() -> dict[str, Any]:
    lifecycle = {"postStart": {"exec": {"command": ["announce"]}}}
    return pod_object("web", containers=[container("c", lifecycle=lifecycle), container("d")])


def observed(state: ContainerState = RUNNING) -> PodObservation:
    containers = tuple(ContainerStatus(f"id-{name}", name, 0, state, "s") for name in ("c", "d"))
    return PodObservation(
        pod()["metadata"]["uid"], "default", "web", "s", sandbox_ready=True, containers=containers
    )


async def play(
    code: int, started: set[str], seen: PodObservation
) -> tuple[Commands, list[str], PostStarts]:
    runtime, events, ended = Commands(code), list[str](), list[bool]()
    async with asyncio.TaskGroup() as tasks:
        hooks = PostStarts(
            tasks,
            runtime,
            lambda _kind, reason, _message, _name: events.append(reason),
            lambda: ended.append(True),
        )
        hooks.begin(pod(), seen, started, "192.0.2.7")
        hooks.begin(pod(), seen, started, "192.0.2.7")
    assert len(ended) == len(runtime.run)
    return runtime, events, hooks


async def test_a_hook_runs_once_after_the_start_of_its_container() -> None:
    runtime, events, hooks = await play(0, {"id-c", "id-d", "not-seen-yet"}, observed())
    assert runtime.run == [("id-c", ["announce"])]
    assert events == []
    assert hooks.verdict("id-c") is None


async def test_a_container_whose_hook_fails_is_ended_until_it_has_ended() -> None:
    _, events, hooks = await play(1, {"id-c"}, observed())
    assert events == ["FailedPostStartHook"]
    verdict = hooks.verdict("id-c")
    assert verdict is not None
    assert verdict.restart is not None
    assert (verdict.restart.message, verdict.has_begun) == ("FailedPostStartHook", False)
    hooks.begin(pod(), observed(EXITED), set(), "192.0.2.7")
    assert hooks.verdict("id-c") is None


async def test_a_container_has_not_begun_while_its_hook_goes_on() -> None:
    async with asyncio.TaskGroup() as tasks:
        hooks = PostStarts(tasks, Commands(0), lambda *_: None, lambda: None)
        hooks.begin(pod(), observed(), {"id-c", "id-d"}, "192.0.2.7")
        assert hooks.verdict("id-c") == BEGINS
        assert hooks.verdict("id-d") is None


@pytest.mark.parametrize(
    ("started", "state"), [(set[str](), RUNNING), ({"id-c"}, EXITED), ({"id-d"}, RUNNING)]
)
async def test_there_is_no_hook_for_what_was_adopted_or_has_ended_or_has_none(
    started: set[str], state: ContainerState
) -> None:
    runtime, _, _ = await play(0, started, observed(state))
    assert runtime.run == []
