"""What is asked before anything is changed. Real: an API server without controllers.

So that a Deployment that is deleted goes when the test says so.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloudcore.install import choices, preflight
from cloudcore.install.applying import InstallError
from cloudcore.install.choices import Choices, ServiceType
from cloudcore.install.manifests import read_manifests
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.trust.keptsecrets import NAMESPACE
from common.errors import RemoteError
from deploy.devcluster import credentials
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import body, eventually, load

pytestmark = pytest.mark.e2e

CHOSEN = Choices("image", 2, ("cloud",), ServiceType.CLUSTER_IP, ("cloud-daemonsets",))
OBJECTS = choices.objects(read_manifests(), CHOSEN)


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    async with KubeClient(own_api.kubeconfig) as client:
        if await client.find(kinds.NAMESPACES.path(name=NAMESPACE)) is None:
            await client.create(kinds.NAMESPACES.path(), body({"metadata": {"name": NAMESPACE}}))
        yield client


def deployment(**labels: str) -> dict[str, Any]:
    containers = [{"name": "cloudcore", "image": "cloudcore"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "metadata": {"name": "cloudcore"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


async def test_a_cluster_that_has_all_tells_its_version(api: KubeClient) -> None:
    assert (await preflight.check(api, CHOSEN, OBJECTS)).startswith("v1.")


async def test_a_cluster_that_is_too_old_is_refused(
    api: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.COMPONENTS, "cloud-daemonsets", 99)
    with pytest.raises(InstallError, match=r"cloud-daemonsets needs Kubernetes 1\.99 or newer"):
        await preflight.check(api, CHOSEN, OBJECTS)


async def test_missing_rights_are_told_all_at_once(
    own_api: ControlPlane, api: KubeClient, tmp_path: Path
) -> None:
    accounts = kinds.SERVICE_ACCOUNTS.path("default")
    await api.create(accounts, body({"metadata": {"name": "nobody"}}))
    token = load(await api.create(f"{accounts}/nobody/token", body({"spec": {}})))
    kubeconfig = tmp_path / "nobody.kubeconfig"
    credentials.write_kubeconfig(
        kubeconfig,
        server=own_api.server,
        ca_file=own_api.ca_file,
        user="nobody",
        token=token["status"]["token"],
    )
    async with KubeClient(kubeconfig) as nobody:
        with pytest.raises(InstallError) as refused:
            await preflight.check(nobody, CHOSEN, OBJECTS)
    for right in ("patch deployments in kubeedge", "create clusterroles", "get namespaces"):
        assert right in str(refused.value)


async def test_a_deployment_of_another_selector_is_anothers_and_goes_with_its_pods(
    api: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await preflight.is_anothers(api, OBJECTS)
    path = preflight.DEPLOYMENTS.path(NAMESPACE)
    await api.create(path, body(deployment(kubeedge="cloudcore")))
    assert await preflight.is_anothers(api, OBJECTS)

    async def is_being_deleted() -> bool:
        return "deletionTimestamp" in load(await api.get(preflight.DEPLOYMENT))["metadata"]

    async with asyncio.TaskGroup() as group:
        removing = group.create_task(preflight.remove_anothers(api))
        await eventually(is_being_deleted)
        assert not removing.done()
        await collect_garbage(api)
    with pytest.raises(RemoteError):
        await api.get(preflight.DEPLOYMENT)
    await api.create(path, body(deployment(app="cloudcore")))
    assert not await preflight.is_anothers(api, OBJECTS)

    monkeypatch.setattr(preflight, "_DELETION_TIMEOUT_S", 0.1)
    with pytest.raises(InstallError, match="does not go"):
        await preflight.remove_anothers(api)
    await collect_garbage(api)


async def collect_garbage(api: KubeClient) -> None:
    """Let a Deployment go, as the garbage collector does when its pods are gone."""
    await api.patch(
        preflight.DEPLOYMENT, b'{"metadata":{"finalizers":null}}', content_type=MERGE_PATCH
    )
