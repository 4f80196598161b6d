"""Fixtures of the cloud's tests."""

from collections.abc import AsyncIterator

import pytest

from cloudcore.kube.client import KubeClient
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore import cluster


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client of the real API server, as its administrator."""
    async with KubeClient(control_plane.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(client: KubeClient) -> str:
    """A namespace of the test's own."""
    return await cluster.make_namespace(client)
