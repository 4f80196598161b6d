"""The hollow runtime: all of it is real, since nothing of it is."""

from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.runtime.base import ContainerState
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig

U = UID("u")


async def started() -> tuple[HollowRuntime, str]:
    runtime = HollowRuntime()
    await runtime.open()
    await runtime.run_sandbox(SandboxConfig(U, "default", "web", 0, Path("/logs")))
    created = await runtime.create_container(U, ContainerConfig("c", 0, "img", "h", Path("/log")))
    await runtime.start_container(created)
    return runtime, created


async def state(runtime: HollowRuntime) -> ContainerState:
    observed = await runtime.pod(U)
    assert observed is not None
    return observed.containers[0].state


async def test_a_container_runs_at_once_and_ends_when_it_is_told_to() -> None:
    runtime, container_id = await started()
    assert await state(runtime) is ContainerState.RUNNING
    await runtime.stop_container(container_id, 30)
    assert await state(runtime) is ContainerState.EXITED
    await runtime.stop_container(container_id, 30)


async def test_an_end_by_itself_is_an_event() -> None:
    runtime, container_id = await started()
    runtime.end(container_id, exit_code=3)
    assert await anext(aiter(runtime.events())) == U
    [observed] = await runtime.list_pods()
    assert (observed.containers[0].exit_code, observed.containers[0].reason) == (3, "Error")


async def test_a_sandbox_takes_its_containers_with_it() -> None:
    runtime, container_id = await started()
    await runtime.stop_sandbox(U)
    assert await state(runtime) is ContainerState.EXITED
    await runtime.remove_container(container_id)
    await runtime.remove_container(container_id)
    await runtime.remove_sandbox(U)
    await runtime.remove_sandbox(U)
    assert await runtime.pod(U) is None
    assert await runtime.list_pods() == []


async def test_a_container_that_is_not_there_cannot_be_started() -> None:
    runtime, _ = await started()
    with pytest.raises(RuntimeServiceError, match="no container"):
        await runtime.start_container("other")


async def test_the_node_says_that_it_is_hollow() -> None:
    assert str(await HollowRuntime().version()).startswith("hollow://")


async def test_probes_of_what_does_not_run_succeed_and_take_nothing() -> None:
    runtime, container_id = await started()
    assert (await runtime.exec_sync(container_id, ["false"], 1)).exit_code == 0
    await runtime.reopen_log(container_id)
    assert await runtime.stats() == []
