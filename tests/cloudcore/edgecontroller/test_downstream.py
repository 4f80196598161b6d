"""What changes at the API server reaches the nodes that need it.

Real: API server, etcd, controller manager, the whole controller. The hub is a module that listens.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import pytest

from cloudcore.edgecontroller.downstream import SYNCED_CONDITION
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.guard import Plan
from common.capabilities import ALL
from common.errors import RemoteError
from common.names import EDGE_NODE_LABEL, NodeID, Operation, PeerProtocol
from common.status import failure
from tests.cloudcore.cluster import (
    body,
    claim_object,
    controlled,
    eventually,
    load,
    make_edge_node,
    make_node,
    pod_object,
    unique,
)


async def test_a_pod_is_inserted_updated_and_deleted_on_its_node(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_node(client)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}")
        await client.create(kinds.PODS.path(namespace), body(pod_object(namespace, "web", node)))
        resource = f"node/{node}/{namespace}/pod/web"
        inserted = await cloud.hub.object(Operation.INSERT, resource)
        pod = load(inserted.content)
        assert (pod["kind"], pod["apiVersion"]) == ("Pod", "v1")
        assert inserted.header.resourceversion == pod["metadata"]["resourceVersion"]
        assert (inserted.route.source, inserted.route.group) == ("edgecontroller", "resource")
        assert bytes(inserted.content).startswith(b'{"kind":"Pod","apiVersion":"v1",')

        await client.patch(
            kinds.PODS.path(namespace, "web"),
            b'{"metadata":{"labels":{"tier":"front"}}}',
            content_type=MERGE_PATCH,
        )
        updated = await cloud.hub.object(Operation.UPDATE, resource)
        assert load(updated.content)["metadata"]["labels"] == {"tier": "front"}

        await client.delete(kinds.PODS.path(namespace, "web"), body({"gracePeriodSeconds": 0}))
        deleted = await cloud.hub.object(Operation.DELETE, resource)
        assert load(deleted.content)["metadata"]["uid"] == pod["metadata"]["uid"]
        assert cloud.locations.pods_of(node) == ()


async def test_a_pod_that_is_made_first_and_bound_later_is_an_insert(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_node(client)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}")
        pod = pod_object(namespace, "late", node)
        del pod["spec"]["nodeName"]
        pod["spec"]["schedulerName"] = "nobody"
        await client.create(kinds.PODS.path(namespace), body(pod))
        binding = {
            "metadata": {"name": "late", "namespace": namespace},
            "target": {"kind": "Node", "name": node},
        }
        await client.create(kinds.PODS.path(namespace, "late", "binding"), body(binding))
        await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/late")


async def test_configmap_and_secret_go_to_the_nodes_whose_pods_name_them(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, other = await make_node(client), await make_node(client)
        await cloud.hub.object(Operation.UPDATE, f"node/{other}/null/node/{other}")
        pod = pod_object(namespace, "web", node, configmaps=("conf",), secrets=("db",))
        await client.create(kinds.PODS.path(namespace), body(pod))
        await client.create(kinds.PODS.path(namespace), body(pod_object(namespace, "plain", other)))
        for resource in (f"{node}/{namespace}/pod/web", f"{other}/{namespace}/pod/plain"):
            await cloud.hub.object(Operation.INSERT, f"node/{resource}")

        for kind, name, operation in (
            (kinds.CONFIGMAPS, "conf", Operation.INSERT),
            (kinds.SECRETS, "db", Operation.UPDATE),
        ):
            wire_type = kind.kind.lower()
            resource = f"node/{node}/{namespace}/{wire_type}/{name}"
            created = {"metadata": {"name": name}, "data": {"k": "dg=="}}
            await client.create(kind.path(namespace), body(created))
            added = await cloud.hub.object(operation, resource)
            assert load(added.content)["data"] == {"k": "dg=="}

            mark = len(cloud.hub.seen)
            await client.patch(
                kind.path(namespace, name), b'{"data":{"k":"dw=="}}', content_type=MERGE_PATCH
            )
            changed = await cloud.hub.object(Operation.UPDATE, resource, since=mark)
            assert load(changed.content)["data"] == {"k": "dw=="}

            await client.delete(kind.path(namespace, name))
            await cloud.hub.object(Operation.DELETE, resource)

        told = [m.resource for m in cloud.hub.seen if m.resource.startswith(f"node/{other}/")]
        assert not [one for one in told if "/configmap/" in one or "/secret/" in one]


async def test_all_nodes_share_the_content_of_one_change(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        nodes = [await make_node(client) for _ in range(3)]
        for node in nodes:
            await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}")
            pod = pod_object(namespace, node, node, configmaps=("shared",))
            await client.create(kinds.PODS.path(namespace), body(pod))
            await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/{node}")
        await client.create(
            kinds.CONFIGMAPS.path(namespace), body({"metadata": {"name": "shared"}})
        )
        contents = [
            (
                await cloud.hub.object(
                    Operation.INSERT, f"node/{node}/{namespace}/configmap/shared"
                )
            ).content
            for node in nodes
        ]
        assert contents[0] is contents[1] is contents[2]


async def test_a_connected_node_hears_of_the_end_of_its_node_also_without_the_label(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1, ALL)
        bare, mark = body({"metadata": {"labels": {EDGE_NODE_LABEL: None}}}), len(cloud.hub.seen)
        await client.patch(kinds.NODES.path(name=node), bare, content_type=MERGE_PATCH)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}", since=mark)
        await client.delete(kinds.NODES.path(name=node))
        await cloud.hub.object(Operation.DELETE, f"node/{node}/null/node/{node}")


async def test_a_node_that_is_deleted_is_forgotten_with_its_pods(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_node(client)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}")
        await client.create(kinds.PODS.path(namespace), body(pod_object(namespace, "web", node)))
        await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/web")
        holds = cloud.controller._downstream.holds
        assert holds.admit({node: Plan(pods=8, ended_pods=8, deletions=8)})
        await client.delete(kinds.NODES.path(name=node))
        await cloud.hub.object(Operation.DELETE, f"node/{node}/null/node/{node}")
        assert not cloud.locations.is_edge_node(node)

        async def is_let_go() -> bool:
            return not holds.is_held(node)

        await eventually(is_let_go)
        assert cloud.locations.pod_node(namespace, "web") is None


async def test_services_go_to_our_own_edges_with_the_first_pod_and_away_with_the_last(
    client: KubeClient, namespace: str
) -> None:
    service = {"metadata": {"name": "front"}, "spec": {"ports": [{"port": 80}]}}
    async with controlled(client) as cloud:
        node, kubeedge = await make_node(client), await make_node(client)
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1)
        await cloud.hub.connect(kubeedge, PeerProtocol.KUBEEDGE)
        await cloud.hub.object(Operation.UPDATE, f"node/{kubeedge}/null/node/{kubeedge}")
        await client.create(kinds.SERVICES.path(namespace), body(service))

        async def is_known() -> bool:  # it is followed apart from pods, which may be quicker
            return ObjectKey(namespace, "front") in cloud.locations.services_in(namespace)

        await eventually(is_known)
        for one in (node, kubeedge):
            await client.create(kinds.PODS.path(namespace), body(pod_object(namespace, one, one)))
        resource = f"node/{node}/{namespace}/service/front"
        first = await cloud.hub.wait_for(lambda m: m.resource == resource)
        assert load(first.content)["kind"] == "Service"
        assert first.operation in (Operation.INSERT, Operation.UPDATE)

        back = service | {"metadata": {"name": "back"}}
        await client.create(kinds.SERVICES.path(namespace), body(back))
        await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/service/back")
        await client.delete(kinds.SERVICES.path(namespace, "back"))
        await cloud.hub.object(Operation.DELETE, f"node/{node}/{namespace}/service/back")

        await client.delete(kinds.PODS.path(namespace, node), body({"gracePeriodSeconds": 0}))
        await cloud.hub.object(Operation.DELETE, resource)
        api_server = f"node/{node}/default/service/kubernetes"
        await cloud.hub.object(Operation.DELETE, api_server)
        sent = [m.resource for m in cloud.hub.seen if f"node/{node}/" in m.resource]
        pod = sent.index(f"node/{node}/{namespace}/pod/{node}")
        # A container learns of the services when it starts.
        assert max(sent.index(resource), sent.index(api_server)) < pod
        assert not [
            m
            for m in cloud.hub.seen
            if m.resource.startswith(f"node/{kubeedge}/{namespace}/service")
        ]


async def test_endpoint_slices_and_claims_are_known(client: KubeClient, namespace: str) -> None:
    slice_object = {
        "metadata": {
            "name": "front-1",
            "labels": {"kubernetes.io/service-name": "front"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["192.0.2.7"],
                "targetRef": {"kind": "Pod", "name": "web", "namespace": namespace},
            }
        ],
        "ports": [],
    }
    async with controlled(client) as cloud:
        await client.create(kinds.ENDPOINT_SLICES.path(namespace), body(slice_object))
        node = await make_node(client)
        pod = pod_object(namespace, "web", node)
        pod["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
        volume = unique("pv")
        await client.create(
            kinds.PERSISTENT_VOLUME_CLAIMS.path(namespace), body(claim_object("data", volume))
        )
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/null/node/{node}")
        await client.create(kinds.PODS.path(namespace), body(pod))
        await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/web")
        key = ObjectKey(namespace, "front")

        async def is_known() -> bool:
            names_volume = cloud.locations.names(node, "persistentvolume", "null", volume)
            return names_volume and bool(cloud.locations.pods_of_service(key))

        await eventually(is_known)
        assert cloud.locations.endpoints_of_service(key) == {"192.0.2.7"}
        assert cloud.locations.pods_of_service(key) == {ObjectKey(namespace, "web")}

        await client.delete(kinds.ENDPOINT_SLICES.path(namespace, "front-1"))

        async def is_gone() -> bool:
            return not cloud.locations.pods_of_service(key)

        await eventually(is_gone)


async def test_readiness_tells_whether_the_caches_are_in_step(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        assert not [one for one in cloud.health.problems() if one.startswith(SYNCED_CONDITION)]


class HeldWatch:
    """Holds back every watch until the test lets go of it, and then has it forgotten."""

    def __init__(self, client: KubeClient) -> None:
        self._watch, self._held, self._let_go = client.watch, True, asyncio.Event()

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        if self._held:
            await self._let_go.wait()
            raise RemoteError(failure(410, "too old resource version"))
        async with aclosing(self._watch(path, params)) as lines:
            async for line in lines:
                yield line

    def let_go(self) -> None:
        self._held = False
        self._let_go.set()


async def prepared(client: KubeClient, namespace: str) -> NodeID:
    node = await make_node(client)
    pod = pod_object(namespace, "web", node, configmaps=("conf",))
    await client.create(kinds.PODS.path(namespace), body(pod))
    await client.create(kinds.CONFIGMAPS.path(namespace), body({"metadata": {"name": "conf"}}))
    return node


async def test_what_vanished_unseen_is_deleted_after_it_was_asked_for(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await prepared(client, namespace)
    held = HeldWatch(client)
    monkeypatch.setattr(client, "watch", held.watch)
    async with controlled(client) as cloud:
        uid = cloud.locations.pod_uid(namespace, "web")
        await client.delete(kinds.CONFIGMAPS.path(namespace, "conf"))
        await client.delete(kinds.PODS.path(namespace, "web"), body({"gracePeriodSeconds": 0}))
        held.let_go()
        deleted = await cloud.hub.object(Operation.DELETE, f"node/{node}/{namespace}/pod/web")
        assert load(deleted.content)["metadata"]["uid"] == uid
        assert cloud.locations.pod_node(namespace, "web") is None


async def test_configmaps_and_secrets_that_vanished_unseen_are_asked_for_as_well(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await prepared(client, namespace)
    held, find, failures = HeldWatch(client), client.find, [failure(503, "away")]
    asked: list[str] = []

    async def away_once(path: str) -> bytes | None:
        asked.append(path)
        if failures:
            raise RemoteError(failures.pop())
        return await find(path)

    monkeypatch.setattr(client, "watch", held.watch)
    monkeypatch.setattr(client, "find", away_once)
    async with controlled(client) as cloud:
        path = kinds.CONFIGMAPS.path(namespace, "conf")
        await client.delete(path)
        held.let_go()
        await cloud.hub.object(Operation.DELETE, f"node/{node}/{namespace}/configmap/conf")
        assert asked == [path, path]


async def test_what_cannot_be_asked_for_is_not_deleted(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await prepared(client, namespace)
    held, asked = HeldWatch(client), asyncio.Event()

    async def away(path: str) -> bytes | None:
        asked.set()
        raise RemoteError(failure(503, path))

    monkeypatch.setattr(client, "watch", held.watch)
    monkeypatch.setattr(client, "find", away)
    async with controlled(client) as cloud:
        await client.delete(kinds.PODS.path(namespace, "web"), body({"gracePeriodSeconds": 0}))
        held.let_go()
        await asked.wait()
        # What happens from here on is told as ever.
        await client.patch(
            kinds.CONFIGMAPS.path(namespace, "conf"),
            b'{"data":{"v":"1"}}',
            content_type=MERGE_PATCH,
        )
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/configmap/conf")
        mine = [m for m in cloud.hub.seen if m.resource == f"node/{node}/{namespace}/pod/web"]
        assert Operation.DELETE not in [m.operation for m in mine]
        assert cloud.locations.pod_node(namespace, "web") == node
        query = await cloud.hub.ask(Operation.QUERY, f"node/{node}/{namespace}/pod/web")
        assert load(query.content)["metadata"]["name"] == "web"


async def test_our_own_edges_get_what_a_pod_names_before_the_pod(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, kubeedge = await make_node(client), await make_node(client)
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1)
        await cloud.hub.connect(kubeedge, PeerProtocol.KUBEEDGE)
        await cloud.hub.object(Operation.UPDATE, f"node/{kubeedge}/null/node/{kubeedge}")
        for kind, name in ((kinds.CONFIGMAPS, "conf"), (kinds.SECRETS, "db")):
            await client.create(kind.path(namespace), body({"metadata": {"name": name}}))
        state = cloud.controller._state

        async def are_known() -> bool:  # each kind is followed apart from pods
            return (
                ObjectKey(namespace, "conf") in state.configmaps.cache
                and ObjectKey(namespace, "db") in state.secrets.cache
            )

        await eventually(are_known)
        for one in (node, kubeedge):
            wanted = pod_object(namespace, one, one, configmaps=("conf",), secrets=("db",))
            await client.create(kinds.PODS.path(namespace), body(wanted))
            await cloud.hub.object(Operation.INSERT, f"node/{one}/{namespace}/pod/{one}")
        conf = await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/configmap/conf")
        secret = await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/secret/db")
        assert conf.header.type == secret.header.type == "inventory"
        theirs = [m.resource for m in cloud.hub.seen if m.resource.startswith(f"node/{kubeedge}/")]
        assert f"node/{kubeedge}/{namespace}/configmap/conf" not in theirs
