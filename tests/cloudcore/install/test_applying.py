"""Applying objects, and what became of each. Real: an API server."""

from typing import Any

import msgspec
import pytest

from cloudcore.install.applying import InstallError, Outcome, apply, places
from cloudcore.install.kustomization import Object
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from common.errors import RemoteError
from tests.cloudcore.cluster import unique

pytestmark = pytest.mark.e2e


def configmap(namespace: str, **data: str) -> Object:
    metadata = {"name": "one", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def unserved(version: str, kind: str) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "none"}}


async def outcomes(client: KubeClient, *objects: Object, force: bool = False) -> list[str]:
    return [f"{place} {outcome}" async for place, outcome in apply(client, objects, force=force)]


async def test_each_object_is_created_then_unchanged_then_changed(client: KubeClient) -> None:
    name = unique("made")
    space: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    both = [f"Namespace {name}", f"ConfigMap {name}/one"]
    found = await outcomes(client, space, configmap(name, a="1"))
    assert found == [f"{one} created" for one in both]
    found = await outcomes(client, space, configmap(name, a="1"))
    assert found == [f"{one} unchanged" for one in both]
    assert await outcomes(client, configmap(name, a="2")) == [f"{both[1]} {Outcome.CHANGED}"]


async def test_what_others_have_set_is_left_to_them_unless_it_is_taken_over(
    client: KubeClient, namespace: str
) -> None:
    await outcomes(client, configmap(namespace, a="1", b="1"))
    path = kinds.CONFIGMAPS.path(namespace, "one")
    await client.patch(path, b'{"data":{"a":"2","c":"2"}}', content_type=MERGE_PATCH)
    with pytest.raises(InstallError, match=r"/one: others have set .*To take it over: --take"):
        await outcomes(client, configmap(namespace, a="1", b="1"))
    assert await outcomes(client, configmap(namespace, a="1"), force=True)
    assert msgspec.json.decode(await client.get(path))["data"] == {"a": "1", "c": "2"}


async def test_all_kinds_that_the_cluster_lacks_are_told_before_anything_is_done(
    client: KubeClient, namespace: str
) -> None:
    objects = [
        configmap(namespace),
        unserved("monitoring.coreos.com/v1", "ServiceMonitor"),
        unserved("apps/v1", "Thing"),
    ]
    with pytest.raises(InstallError) as refused:
        await outcomes(client, *objects)
    first, second = str(refused.value).splitlines()
    assert first.startswith("this cluster has no ServiceMonitor of monitoring.coreos.com/v1; it")
    assert first.endswith("needs the CRDs of the Prometheus operator: install it first")
    assert second == "this cluster has no Thing of apps/v1; it needs what has that kind"
    assert await client.find(kinds.CONFIGMAPS.path(namespace, "one")) is None


async def test_a_refusal_names_the_object(client: KubeClient, namespace: str) -> None:
    with pytest.raises(RemoteError, match=f"ConfigMap {namespace}/one: .*datum"):
        await outcomes(client, configmap(namespace) | {"datum": {}})


async def test_a_place_is_where_the_api_server_has_it(client: KubeClient) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    found = await places(client, [configmap("shop"), node])
    assert [one.path for one in found] == [
        "/api/v1/namespaces/shop/configmaps/one",
        "/api/v1/nodes/n",
    ]
