"""The pods that a node had before it became an edge node come to it.

Real: API server, etcd, controller manager, the whole controller. The hub is a module that listens.
"""

import asyncio
from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from common.beehive.message import raw
from common.capabilities import ALL
from common.errors import RemoteError
from common.names import EDGE_NODE_LABEL, NodeID, Operation, PeerProtocol
from common.status import failure
from tests.cloudcore.cluster import (
    body,
    controlled,
    load,
    make_edge_node,
    make_node,
    make_pod,
    node_object,
    pod_object,
    unique,
)


async def test_a_node_that_becomes_an_edge_node_gets_the_pods_it_had(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_node(client, edge=False)
        await client.create(
            kinds.PODS.path(namespace),
            body(pod_object(namespace, "old", node, configmaps=("conf",))),
        )
        bystander = await make_node(client)
        await cloud.hub.object(Operation.UPDATE, f"node/{bystander}/null/node/{bystander}")
        assert not cloud.locations.is_edge_node(node)

        labelled = body({"metadata": {"labels": {EDGE_NODE_LABEL: ""}}})
        await client.patch(kinds.NODES.path(name=node), labelled, content_type=MERGE_PATCH)
        await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/old")
        assert cloud.locations.names(node, "configmap", namespace, "conf")

        bare = body({"metadata": {"labels": {EDGE_NODE_LABEL: None}}})
        mark = len(cloud.hub.seen)
        await client.patch(kinds.NODES.path(name=node), bare, content_type=MERGE_PATCH)
        await cloud.hub.wait_for(
            lambda m: (
                m.resource == f"node/{node}/null/node/{node}"
                # The controller manager may have changed it before that, too.
                and EDGE_NODE_LABEL not in load(m.content)["metadata"].get("labels", {})
            ),
            since=mark,
        )
        assert not cloud.locations.is_edge_node(node)
        assert not cloud.locations.names(node, "configmap", namespace, "conf")


async def test_a_node_that_becomes_an_edge_node_again_is_asked_what_it_holds(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await make_pod(cloud, pod_object(namespace, "web", node))
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1, ALL)

        async def label(value: str | None) -> None:
            mark, labels = len(cloud.hub.seen), {EDGE_NODE_LABEL: value}
            change = body({"metadata": {"labels": labels}})
            await client.patch(kinds.NODES.path(name=node), change, content_type=MERGE_PATCH)
            await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}", since=mark)

        await label(None)
        ended = body({"gracePeriodSeconds": 0})
        await client.delete(kinds.PODS.path(namespace, "web"), ended)
        await label("")
        await cloud.hub.object(Operation.QUERY, f"node/{node}/null/inventory/{node}")


async def test_the_pods_of_a_new_edge_node_are_asked_for_until_they_come(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, failures = client.get, [failure(503, "away")]

    async def away_once(path: str, **options: Any) -> bytes:
        if "fieldSelector" in options.get("params", {}) and failures:
            raise RemoteError(failures.pop())
        return await get(path, **options)

    async with controlled(client) as cloud:
        node = await make_node(client, edge=False)
        pod = pod_object(namespace, "old", node)
        await client.create(kinds.PODS.path(namespace), body(pod))
        bystander = await make_node(client)
        await cloud.hub.object(Operation.UPDATE, f"node/{bystander}/null/node/{bystander}")
        monkeypatch.setattr(client, "get", away_once)
        labelled = body({"metadata": {"labels": {EDGE_NODE_LABEL: ""}}})
        await client.patch(kinds.NODES.path(name=node), labelled, content_type=MERGE_PATCH)
        await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/old")
        assert failures == []


async def test_who_is_compared_while_the_pods_of_its_node_are_brought_in_is_asked_again(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, listing, may_go_on = client.get, asyncio.Event(), asyncio.Event()

    async def slow(path: str, **options: Any) -> bytes:
        if "fieldSelector" in options.get("params", {}):
            listing.set()
            await may_go_on.wait()
        return await get(path, **options)

    async with controlled(client) as cloud:
        await make_edge_node(cloud)
        node = NodeID(unique("n"))
        pod = await client.create(
            kinds.PODS.path(namespace), body(pod_object(namespace, "old", node))
        )
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1, ALL)
        monkeypatch.setattr(client, "get", slow)
        await client.create(kinds.NODES.path(), body(node_object(node)))
        await listing.wait()

        # What is gone stays on it: a pod that is not known yet may name it.
        inventory, metadata = f"node/{node}/null/inventory/{node}", load(pod)["metadata"]
        held = [
            ("pod", namespace, "old", metadata["uid"], metadata["resourceVersion"]),
            ("configmap", namespace, "gone", "uid-1", "1"),
        ]
        answer = await cloud.hub.ask(Operation.QUERY, inventory, raw({"objects": held}))
        assert load(answer.content)["deleted"] == 0
        assert not [one for one in cloud.hub.seen if one.operation is Operation.QUERY]
        may_go_on.set()
        await cloud.hub.object(Operation.QUERY, inventory)
