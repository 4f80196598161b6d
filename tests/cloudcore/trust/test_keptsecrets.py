"""Secrets that many cloudcores share. Real: the API server."""

from contextlib import suppress

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import keptsecrets
from cloudcore.trust.keptsecrets import Kept
from common.errors import RemoteError
from deploy.devcluster.controlplane import API_ONLY, ControlPlane
from tests.cloudcore.cluster import unique

pytestmark = pytest.mark.e2e


@pytest.fixture
def name() -> str:
    return unique("kept")


async def kept(client: KubeClient, name: str) -> Kept:
    found = await keptsecrets.read(client, name)
    assert found is not None
    return found


async def test_what_is_written_is_read(client: KubeClient, name: str) -> None:
    assert await keptsecrets.read(client, name) is None
    assert await keptsecrets.write(client, name, {"a": b"\x00\xff", "b": b""}, None)
    found = await kept(client, name)
    assert found.data == {"a": b"\x00\xff", "b": b""}
    assert await keptsecrets.write(client, name, {"c": b"3"}, found)
    assert (await kept(client, name)).data == {"c": b"3"}


async def test_a_secret_is_created_once_and_replaced_only_as_it_was_read(
    client: KubeClient, name: str
) -> None:
    assert await keptsecrets.write(client, name, {"a": b"1"}, None)
    assert not await keptsecrets.write(client, name, {"a": b"2"}, None)
    seen = await kept(client, name)
    assert await keptsecrets.write(client, name, {"a": b"3"}, seen)
    assert not await keptsecrets.write(client, name, {"a": b"4"}, seen)
    assert (await kept(client, name)).data == {"a": b"3"}


async def test_the_namespace_is_made_only_where_it_is_not_there(name: str) -> None:
    async with ControlPlane(components=API_ONLY) as own, KubeClient(own.kubeconfig) as client:
        path = kinds.NAMESPACES.path("", keptsecrets.NAMESPACE)
        assert await client.find(path) is None
        assert await keptsecrets.write(client, name, {"a": b"1"}, None)
        assert await client.find(path) is not None
        assert (await kept(client, name)).data == {"a": b"1"}


async def test_a_secret_that_is_gone_is_not_replaced(client: KubeClient, name: str) -> None:
    assert await keptsecrets.write(client, name, {"a": b"1"}, None)
    seen = await kept(client, name)
    with suppress(RemoteError):
        await client.delete(kinds.SECRETS.path(keptsecrets.NAMESPACE, name))
    assert not await keptsecrets.write(client, name, {"a": b"2"}, seen)


async def test_what_the_api_server_refuses_otherwise_is_raised(client: KubeClient) -> None:
    with pytest.raises(RemoteError, match="422"):
        await keptsecrets.write(client, "Not_A_Name", {"a": b"1"}, None)


def test_a_secret_does_not_show_what_it_holds() -> None:
    assert "hidden" not in repr(Kept({"key": b"hidden"}, "1"))


def test_who_is_always_late_is_told_of_which_secret() -> None:
    assert "Secret kubeedge/x is written by others" in str(keptsecrets.contended("x"))
