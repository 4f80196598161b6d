"""What commands share. Real: the API server."""

import asyncio
from pathlib import Path

import pytest

from cloudcore.commands.asking import ask, found_kubeconfig
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


def test_where_no_kubeconfig_is_given_it_is_the_one_that_kubectl_takes(tmp_path: Path) -> None:
    usual, home = tmp_path / ".kube" / "config", {"HOME": str(tmp_path)}
    pod = home | {"KUBERNETES_SERVICE_HOST": "192.0.2.1"}
    assert found_kubeconfig(None, home) is None
    usual.parent.mkdir()
    usual.touch()
    assert found_kubeconfig(None, home) == usual
    assert found_kubeconfig(None, pod) is None
    assert found_kubeconfig(None, pod | {"KUBECONFIG": "/a:/b"}) == Path("/a")
    assert found_kubeconfig(Path("/given"), home | {"KUBECONFIG": "/a"}) == Path("/given")
