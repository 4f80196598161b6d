"""A cloudcore and its edges as real processes on the real control plane."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import Edge, is_ready, running_edge

Join = Callable[..., Awaitable[Edge]]

_numbers = itertools.count(1)


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    async with Api(control_plane) as client:
        yield client


@pytest.fixture
async def namespace(api: Api) -> AsyncIterator[str]:
    """A namespace of the test's own; its pods are gone at the end, with or without their edge."""
    name = f"e2e-{next(_numbers)}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
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
async def join(api: Api, cloud: CloudCore, tmp_path: Path) -> AsyncIterator[Join]:
    """A function that makes an edge join: ``await join(runtime="process")``; it is Ready then."""
    async with AsyncExitStack() as stack:
        nodes: list[str] = []

        async def join(*, runtime: str = "process") -> Edge:
            node = f"edge-{next(_numbers)}"
            nodes.append(node)
            edge = await stack.enter_async_context(
                running_edge(
                    node,
                    cloud,
                    tmp_path / node,
                    token=await cloud.token(),
                    options=(f"--runtime={runtime}",),
                )
            )
            await api.wait(
                f"/api/v1/nodes/{node}",
                lambda found: found is not None and is_ready(found),
                f"{node} is Ready",
            )
            return edge

        yield join
        for node in nodes:
            await api.delete(f"/api/v1/nodes/{node}")


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
