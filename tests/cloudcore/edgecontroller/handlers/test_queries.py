"""Queries are answered at once, by the object or by a Status.

Real: API server, the whole controller. The hub is a module that listens.
"""

import asyncio

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from common.beehive.message import raw
from common.names import Operation
from tests.cloudcore.cluster import (
    body,
    claim_object,
    controlled,
    load,
    make_edge_node,
    make_pod,
    pod_object,
    unique,
)


async def test_a_configmap_is_the_bare_object_with_its_version(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await client.create(
            kinds.CONFIGMAPS.path(namespace),
            body({"metadata": {"name": "conf"}, "data": {"a": "b"}}),
        )
        await make_pod(cloud, pod_object(namespace, "web", node, configmaps=("conf",)))
        resource = f"node/{node}/{namespace}/configmap/conf"
        first = await cloud.hub.ask(Operation.QUERY, resource)
        configmap = load(first.content)
        assert (configmap["kind"], configmap["data"]) == ("ConfigMap", {"a": "b"})
        assert first.header.resourceversion == configmap["metadata"]["resourceVersion"]
        assert load((await cloud.hub.ask(Operation.QUERY, resource)).content) == configmap


async def test_many_that_ask_for_one_object_cost_one_request(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        nodes = [await make_edge_node(cloud) for _ in range(4)]
        await client.create(kinds.SECRETS.path(namespace), body({"metadata": {"name": "db"}}))
        for node in nodes:
            await make_pod(cloud, pod_object(namespace, node, node, secrets=("db",)))
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(
                    cloud.hub.ask(Operation.QUERY, f"node/{node}/{namespace}/secret/db")
                )
                for node in nodes
            ]
        contents = [one.result().content for one in asked]
        assert all(one is contents[0] for one in contents)


async def test_what_does_not_exist_is_a_404_in_the_edges_words(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await cloud.hub.ask(Operation.QUERY, f"node/{node}/{namespace}/configmap/nowhere")
        assert load(answer.content) == {
            "ErrStatus": {
                "status": "Failure",
                "message": 'configmap "nowhere" not found',
                "reason": "NotFound",
                "details": {"name": "nowhere", "kind": "configmap"},
                "code": 404,
            }
        }
        assert answer.header.resourceversion == ""


async def test_a_kept_configmap_is_the_newest(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        path = kinds.CONFIGMAPS.path(namespace)
        await client.create(path, body({"metadata": {"name": "conf"}, "data": {"v": "0"}}))
        await make_pod(cloud, pod_object(namespace, "web", node, configmaps=("conf",)))
        resource = f"node/{node}/{namespace}/configmap/conf"
        await cloud.hub.ask(Operation.QUERY, resource)
        await client.patch(f"{path}/conf", b'{"data":{"v":"1"}}', content_type=MERGE_PATCH)
        await cloud.hub.object(Operation.UPDATE, resource)
        answer = await cloud.hub.ask(Operation.QUERY, resource)
        assert load(answer.content)["data"] == {"v": "1"}


async def test_node_and_pod_are_answered_from_what_is_kept(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        asked = await cloud.hub.ask(Operation.QUERY, f"node/{node}/{namespace}/pod/web")
        assert load(asked.content)["metadata"]["uid"] == pod["metadata"]["uid"]
        asked = await cloud.hub.ask(Operation.QUERY, f"node/{node}/null/node/{node}")
        assert load(asked.content)["kind"] == "Node"


async def test_what_a_node_may_no_longer_read_when_it_is_answered_is_refused(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:  # it asks on behalf of whoever was let through
        node, former = await make_edge_node(cloud), await make_edge_node(cloud)
        await client.create(kinds.SECRETS.path(namespace), body({"metadata": {"name": "db"}}))
        await make_pod(cloud, pod_object(namespace, "web", node, secrets=("db",)))
        for resource in (f"{namespace}/pod/web", f"{namespace}/secret/db", f"null/node/{node}"):
            answer = await cloud.hub.ask(Operation.QUERY, f"node/{node}/{resource}")
            assert "metadata" in load(answer.content)
            answer = await cloud.hub.ask(Operation.QUERY, f"node/{former}/{resource}")
            assert load(answer.content)["ErrStatus"]["code"] == 403


async def test_volumes_are_for_the_nodes_that_the_api_server_lets_have_them(
    client: KubeClient, namespace: str
) -> None:
    name = unique("pv")
    volume = {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/tmp/x"},
        },
    }
    claim = claim_object("data", name)
    async with controlled(client) as cloud:
        node, other = await make_edge_node(cloud), await make_edge_node(cloud)
        await client.create(kinds.PERSISTENT_VOLUMES.path(), body(volume))
        await client.create(kinds.PERSISTENT_VOLUME_CLAIMS.path(namespace), body(claim))
        pod = pod_object(namespace, "web", node)
        pod["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
        await make_pod(cloud, pod)
        resource = f"{namespace}/persistentvolumeclaim/data"
        mine = await cloud.hub.ask(Operation.QUERY, f"node/{node}/{resource}")
        assert load(mine.content)["spec"]["volumeName"] == name
        assert mine.header.resourceversion
        for foreign in (
            resource,
            f"null/persistentvolume/{name}",
            "default/volumeattachment/none",
        ):
            answer = await cloud.hub.ask(Operation.QUERY, f"node/{other}/{foreign}")
            assert load(answer.content)["ErrStatus"]["code"] == 403


async def test_the_certificate_authority_of_the_api_server_is_text(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        answer = await cloud.hub.ask(Operation.QUERY, "node/n1/k8s/ca.crt")
        assert load(answer.content).startswith("-----BEGIN CERTIFICATE-----")
        assert answer.route.source == "cloudhub"


async def test_an_inventory_is_answered_with_the_size_of_the_difference(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/null/inventory/{node}"
        answer = await cloud.hub.ask(Operation.QUERY, resource, raw({"objects": []}))
        assert load(answer.content) == {"updated": 1, "deleted": 0}
        wrong = await cloud.hub.ask(Operation.QUERY, resource, raw([]))
        assert load(wrong.content)["ErrStatus"]["code"] == 400
