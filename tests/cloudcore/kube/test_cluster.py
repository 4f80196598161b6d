"""Which cluster this is. The API server is the real one, or a double that lacks the namespace."""

import json

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from common.errors import RemoteError
from deploy.devcluster.controlplane import ControlPlane


class Young(KubeClient):
    """A client of an API server that has just been started for the first time."""

    async def find(self, path: str) -> bytes | None:
        assert path == "/api/v1/namespaces/kube-system"
        return None


async def test_it_is_the_uid_of_the_namespace_that_every_cluster_has(client: KubeClient) -> None:
    found = json.loads(await client.get(kinds.NAMESPACES.path("", "kube-system")))
    assert await read_cluster_uid(client) == found["metadata"]["uid"]


async def test_a_cluster_without_it_is_asked_again_later(control_plane: ControlPlane) -> None:
    async with Young(control_plane.kubeconfig) as client:
        with pytest.raises(RemoteError, match="kube-system") as refused:
            await read_cluster_uid(client)
    assert refused.value.status.code == 503
