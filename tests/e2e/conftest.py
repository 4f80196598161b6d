"""A cloudcore and its edges as real processes on the real control plane."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.commands import Component
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.sandboxes import remove_sandboxes
from deploy.devcluster.site import Edge, cri_options, is_ready, running_edge

Join = Callable[..., Awaitable[Edge]]

_numbers = itertools.count(1)


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    async with Api(control_plane) as client:
        yield client


@pytest.fixture
async def namespace(control_plane: ControlPlane, api: Api) -> AsyncIterator[str]:
    """A namespace of the test's own; its pods are gone at the end, with or without their edge."""
    name = f"e2e-{next(_numbers)}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    if Component.CONTROLLER_MANAGER in control_plane.pids():
        # The API server lets no pod in before, and waits for it a second or two at the most.
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        await api.wait(account, lambda found: found is not None, "pods can be made")
    yield name
    pods = f"/api/v1/namespaces/{name}/pods"
    for pod in await api.items(pods):
        await api.delete(f"{pods}/{pod['metadata']['name']}", grace_s=0)


@pytest.fixture
async def cloud(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[CloudCore]:
    daemon = CloudCore(control_plane, tmp_path / "cloudcore")
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest.fixture
async def join(
    request: pytest.FixtureRequest, api: Api, cloud: CloudCore, tmp_path: Path
) -> AsyncIterator[Join]:
    """A function that makes an edge join: ``await join(runtime="process")``; it is Ready then.

    With ``runtime="cri"`` its pods run on ``container_engine``, which the test has to take, or on
    the ``engine`` that is handed in: each edge needs one of its own. ``options`` are further
    arguments of edgecore.
    """
    async with AsyncExitStack() as stack:
        used: list[ContainerEngine] = []

        async def join(
            *,
            runtime: str = "process",
            engine: ContainerEngine | None = None,
            options: tuple[str, ...] = (),
        ) -> Edge:
            node = f"edge-{next(_numbers)}"
            arguments: tuple[str, ...] = (f"--runtime={runtime}",)
            if runtime == "cri":
                engine = engine or _shared_engine(request)
                assert engine not in used, "an engine belongs to one edge: hand in another"
                used.append(engine)
                await _take(engine, stack)
                arguments = cri_options(engine.endpoint, tmp_path / node)
            # After the edge has ended: one that runs registers its Node again.
            stack.push_async_callback(api.delete, f"/api/v1/nodes/{node}")
            edge = await stack.enter_async_context(
                running_edge(
                    node,
                    cloud,
                    tmp_path / node,
                    token=await cloud.token(),
                    options=(*arguments, *options),
                )
            )
            await api.wait(
                f"/api/v1/nodes/{node}",
                lambda found: found is not None and is_ready(found),
                f"{node} is Ready",
            )
            return edge

        yield join


def _shared_engine(request: pytest.FixtureRequest) -> ContainerEngine:
    # It runs an event loop of its own when it is made, which it cannot do inside this one.
    assert "container_engine" in request.fixturenames, "take the fixture container_engine"
    found: ContainerEngine = request.getfixturevalue("container_engine")
    return found


async def _take(engine: ContainerEngine, stack: AsyncExitStack) -> None:
    """See that an engine runs, now and at the end, and that it is left without sandboxes."""

    async def leave() -> None:
        if engine.pid is None:
            await engine.start()
        await remove_sandboxes(engine.endpoint)

    stack.push_async_callback(leave)
    if engine.pid is None:
        await engine.start()


@asynccontextmanager
async def clouds(
    control_plane: ControlPlane, folder: Path, count: int = 2
) -> AsyncIterator[list[CloudCore]]:
    """Cloudcores that start at the same moment."""
    made = [CloudCore(control_plane, folder / f"cloudcore-{number}") for number in range(count)]
    try:
        async with asyncio.TaskGroup() as group:
            for one in made:
                group.create_task(one.start())
        yield made
        for one in made:
            await one.stop()
    finally:
        for one in made:
            one.kill()


def pod(name: str, node: str, *, script: str, **spec: object) -> Object:
    """Return a pod that runs ``script`` on ``node``; the scheduler is not asked."""
    container = {"name": "c", "image": "busybox", "command": ["/bin/sh", "-c", script]}
    extra = spec.pop("container", {})
    assert isinstance(extra, dict)
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container | extra],
            **spec,
        },
    }
