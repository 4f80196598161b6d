"""Questions to a container engine; the engine is real, and so is the place where none is."""

from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from deploy.devcluster.api import WaitError
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.sandboxes import (
    engine_fault,
    has_image,
    remove_sandboxes,
    sandboxes,
    until_empty,
    why_not_usable,
)
from tests.deploy.devcluster.pods import run_pod, running_containers


async def test_an_engine_that_runs_has_no_fault(container_engine: ContainerEngine) -> None:
    assert await engine_fault(container_engine.endpoint) == ""


async def test_where_no_engine_is_the_fault_is_told(tmp_path: Path) -> None:
    endpoint = f"unix://{tmp_path}/none.sock"
    assert "No such file" in await engine_fault(endpoint)
    with pytest.raises(RuntimeServiceError, match="No such file"):
        await sandboxes(endpoint)


async def test_images_are_found_by_the_short_name_that_pods_use(
    container_engine: ContainerEngine,
) -> None:
    assert await has_image(container_engine.endpoint, "busybox")
    assert not await has_image(container_engine.endpoint, "nginx")


async def test_an_engine_is_usable_when_it_is_there_empty_and_has_the_image(
    container_engine: ContainerEngine, tmp_path: Path
) -> None:
    endpoint = container_engine.endpoint
    assert await why_not_usable(endpoint, "busybox") == ""
    assert await why_not_usable(endpoint, "nginx") == "it has no image nginx"
    assert "No such file" in await why_not_usable(f"unix://{tmp_path}/none.sock", "busybox")


async def test_an_engine_with_pods_of_others_is_not_usable(
    container_engine: ContainerEngine,
) -> None:
    await run_pod(container_engine, "foreign", ["/bin/sleep", "1000"])
    reason = await why_not_usable(container_engine.endpoint, "busybox")
    await remove_sandboxes(container_engine.endpoint)
    assert reason == "it runs pods of others, such as tests/foreign"


async def test_all_sandboxes_are_removed_with_their_containers(
    container_engine: ContainerEngine,
) -> None:
    for name in ("one", "other"):
        await run_pod(container_engine, f"remove-{name}", ["/bin/sleep", "1000"])
    found = await sandboxes(container_engine.endpoint)
    assert sorted(found.values()) == ["tests/remove-one", "tests/remove-other"]
    with pytest.raises(WaitError, match="no tests/remove-o"):
        await until_empty(container_engine.endpoint, 0)
    await remove_sandboxes(container_engine.endpoint)
    await until_empty(container_engine.endpoint, 0)
    assert await running_containers(container_engine) == set()
