"""Credentials and the connections that show them.

Real: API server, kubeconfig files. Nothing is faked.
"""

import asyncio
from pathlib import Path

import pytest
import yaml

from cloudcore.kube.transport import Request, Transport
from common.errors import ConfigError, RemoteError
from deploy.devcluster.controlplane import ControlPlane

NODES = Request("GET", "/api/v1/nodes")


def copy_of(control_plane: ControlPlane, folder: Path, token: str) -> Path:
    """A kubeconfig in which the token stands in a file of its own."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    token_file = folder / "token"
    token_file.write_text(token)
    config["users"][0]["user"] = {"tokenFile": str(token_file)}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    return kubeconfig


async def status_of(transport: Transport) -> int:
    async with transport.send(NODES) as response:
        await response.read()
        return response.status


async def test_a_rotated_token_is_picked_up(control_plane: ControlPlane, tmp_path: Path) -> None:
    transport = Transport(copy_of(control_plane, tmp_path, "expired"))
    await transport.open()
    try:
        assert await status_of(transport) == 401
        (tmp_path / "token").write_text(control_plane.token)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(status_of(transport)) for _ in range(5)]
        assert [one.result() for one in asked] == [200] * 5
        transport._configuration.api_key["BearerToken"] = "Bearer expired"
        (tmp_path / "kubeconfig").write_text("[")
        with pytest.raises(RemoteError, match="401"):
            await status_of(transport)
    finally:
        await transport.close()


@pytest.mark.parametrize("text", ["", "[", "contexts: []\ncurrent-context: x\n", "a: {b"])
async def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigError, match="kubeconfig"):
        await Transport(path).open()


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        await Transport(tmp_path / "nowhere").open()


async def test_outside_a_cluster_a_kubeconfig_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="in-cluster"):
        await Transport(None).open()
