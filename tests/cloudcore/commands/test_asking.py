"""What commands share. Real: the API server."""

import asyncio
from pathlib import Path

import pytest

from cloudcore.commands.asking import ask
from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from common.errors import ConfigError
from deploy.devcluster.controlplane import ControlPlane


@pytest.mark.e2e
async def test_what_was_asked_for_is_returned(
    control_plane: ControlPlane, client: KubeClient
) -> None:
    answer = await asyncio.to_thread(ask, control_plane.kubeconfig, read_cluster_uid)
    assert answer == await read_cluster_uid(client)


def test_a_kubeconfig_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="/nowhere"):
        ask(Path("/nowhere"), read_cluster_uid)
