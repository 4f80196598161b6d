"""Fixtures of the cloud's tests."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cloudcore.kube.client import KubeClient
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore import cluster


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client of the real API server, as its administrator."""
    async with KubeClient(control_plane.kubeconfig) as client:
        yield client


@pytest.fixture(scope="module")
def own_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server for a module whose tests would disturb others at the shared one."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        running = ControlPlane(
            tmp_path_factory.mktemp("own-api"), components=(Component.ETCD, Component.API_SERVER)
        )
        runner.run(running.start())
        yield running
        runner.run(running.stop())


@pytest.fixture
async def namespace(client: KubeClient) -> str:
    """A namespace of the test's own."""
    return await cluster.make_namespace(client)
