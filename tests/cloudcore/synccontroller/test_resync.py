"""A node that connects is brought in step.

Real: API server, the whole controller. The hub is a module that listens.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.listwatch import Interrupted, ListCompleted
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller import records, resync
from cloudcore.synccontroller.wanted import wanted
from common.beehive.message import Message, raw
from common.capabilities import ALL
from common.errors import RemoteError
from common.inventory import Row, digest, to_hex
from common.names import NodeID, Operation, PeerProtocol
from common.status import failure
from tests.cloudcore.cluster import (
    Controlled,
    body,
    controlled,
    eventually,
    load,
    make_edge_node,
    make_pod,
    node_object,
    pod_object,
    unique,
)

Row5 = tuple[str, str, str, str, str]
Row6 = tuple[str, str, str, str, str, str]


async def ask(cloud: Controlled, node: NodeID, rows: list[Row5]) -> Message:
    return await cloud.hub.ask(
        Operation.QUERY, f"node/{node}/null/inventory/{node}", raw({"objects": rows})
    )


def row(wire_type: str, one: dict[str, Any]) -> Row5:
    metadata = one["metadata"]
    namespace = metadata.get("namespace", "null")
    return (
        wire_type,
        namespace,
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
    )


def is_about(resource: str, message: Message) -> bool:
    return message.resource == resource


async def everything(
    cloud: Controlled,
    namespace: str,
    awaited: Iterable[str] = ("service/front", "configmap/conf", "secret/db"),
) -> tuple[NodeID, dict[str, Row5]]:
    """A node with a pod, a ConfigMap and a Secret, and what it would hold of them.

    What is ``awaited`` has been sent to it, and so has the pod.
    """
    node = await make_edge_node(cloud)
    conf = await cloud.client.create(
        kinds.CONFIGMAPS.path(namespace), body({"metadata": {"name": "conf"}})
    )
    secret = await cloud.client.create(
        kinds.SECRETS.path(namespace), body({"metadata": {"name": "db"}})
    )
    service = await cloud.client.create(
        kinds.SERVICES.path(namespace),
        body({"metadata": {"name": "front"}, "spec": {"ports": [{"port": 80}]}}),
    )
    await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1)
    wanted = pod_object(namespace, "web", node, configmaps=("conf",), secrets=("db",))
    pod = await make_pod(cloud, wanted)
    for one in awaited:
        resource = f"node/{node}/{namespace}/{one}"
        await cloud.hub.wait_for(partial(is_about, resource))
    stored = await cloud.client.get(kinds.NODES.path(name=node))
    api_server = await cloud.client.get(kinds.SERVICES.path("default", "kubernetes"))
    return node, {
        "node": row("node", load(stored)),
        "configmap": row("configmap", load(conf)),
        "secret": row("secret", load(secret)),
        "service": row("service", load(service)),
        "API server": row("service", load(api_server)),
        "pod": row("pod", pod),
    }


def told(cloud: Controlled, since: int) -> list[tuple[Operation, str]]:
    return [(m.operation, m.resource) for m in cloud.hub.seen[since:] if not m.parent_id]


async def test_who_is_in_step_is_sent_nothing(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node, rows = await everything(cloud, namespace)
        mark = len(cloud.hub.seen)
        answer = await ask(cloud, node, list(rows.values()))
        assert load(answer.content) == {"updated": 0, "deleted": 0}
        assert [one for one in told(cloud, mark) if f"/{node}/" in one[1]] == []


async def test_who_has_nothing_gets_everything_before_the_answer_names_before_pods(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, _ = await everything(cloud, namespace)
        mark = len(cloud.hub.seen)
        answer = await ask(cloud, node, [])
        assert load(answer.content) == {"updated": 6, "deleted": 0}
        sent = cloud.hub.seen[mark : cloud.hub.seen.index(answer)]
        # Nodes of other tests are taken for lost after a while, of which their edges are told.
        before = [m for m in sent if m.resource.startswith(f"node/{node}/")]
        assert [(m.operation, m.resource.split("/", 2)[2]) for m in before] == [
            (Operation.UPDATE, f"null/node/{node}"),
            (Operation.INSERT, f"{namespace}/configmap/conf"),
            (Operation.UPDATE, f"{namespace}/secret/db"),
            (Operation.INSERT, "default/service/kubernetes"),
            (Operation.INSERT, f"{namespace}/service/front"),
            (Operation.INSERT, f"{namespace}/pod/web"),
        ]
        assert all(load(m.content)["kind"] for m in before)


async def test_other_versions_are_updated_and_what_is_gone_is_deleted(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, rows = await everything(cloud, namespace)
        rows["configmap"] = (*rows["configmap"][:4], "999999999")  # counted down since
        rows["old pod"] = ("pod", namespace, "gone", "uid-1", "1")
        rows["old conf"] = ("configmap", namespace, "unnamed", "uid-2", "1")
        rows["replaced"] = (*rows["pod"][:3], "uid-3", "1")
        del rows["pod"]
        mark = len(cloud.hub.seen)
        answer = await ask(cloud, node, list(rows.values()))
        assert load(answer.content) == {"updated": 2, "deleted": 3}
        mine = [m for m in cloud.hub.seen[mark:] if not m.parent_id and f"/{node}/" in m.resource]
        deleted = {
            m.resource.rsplit("/", 1)[1]: load(m.content)["metadata"]["uid"]
            for m in mine
            if m.operation is Operation.DELETE
        }
        assert deleted == {"gone": "uid-1", "unnamed": "uid-2", "web": "uid-3"}
        operations = [m.operation for m in mine if m.resource.endswith("/pod/web")]
        assert operations == [Operation.DELETE, Operation.INSERT]
        assert (Operation.UPDATE, f"node/{node}/{namespace}/configmap/conf") in told(cloud, mark)


async def test_a_pod_that_the_caches_lack_and_the_api_server_has_is_not_deleted(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, rows = await everything(cloud, namespace)
        # As in a replica that is behind: the caches know of no such pod, nor what it names.
        key = next(iter(cloud.locations.pods_of(node)))
        cloud.locations.remove_pod(key)
        mark = len(cloud.hub.seen)
        answer = await ask(cloud, node, list(rows.values()))
        assert load(answer.content)["deleted"] == 0
        assert (Operation.UPDATE, f"node/{node}/{namespace}/pod/web") in told(cloud, mark)
        assert Operation.DELETE not in [
            one[0] for one in told(cloud, mark) if f"/{node}/" in one[1]
        ]


async def test_a_pod_that_is_bound_to_another_node_is_deleted(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, rows = await everything(cloud, namespace)
        other = await make_edge_node(cloud)
        await cloud.hub.connect(other, PeerProtocol.CLOUDEDGE_V1)
        answer = await ask(cloud, other, [rows["pod"]])
        assert load(answer.content)["deleted"] == 1
        await cloud.hub.object(Operation.DELETE, f"node/{other}/{namespace}/pod/web")
        assert cloud.locations.pod_node(namespace, "web") == node


async def test_without_the_api_server_nothing_is_deleted(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(path: str) -> bytes:
        raise RemoteError(failure(503, path))

    async with controlled(client) as cloud:
        node, rows = await everything(cloud, namespace)
        monkeypatch.setattr(client, "get", away)
        rows["old"] = ("pod", namespace, "unknown", "uid-1", "1")
        mark = len(cloud.hub.seen)
        answer = await ask(cloud, node, list(rows.values()))
        assert load(answer.content)["ErrStatus"]["code"] == 503
        assert Operation.DELETE not in [
            one[0] for one in told(cloud, mark) if f"/{node}/" in one[1]
        ]
        monkeypatch.undo()


@pytest.mark.parametrize(
    "content", [{}, {"objects": 7}, {"objects": [["pod"]]}, {"objects": [[1, 2, 3, 4, 5]]}]
)
async def test_what_is_no_inventory_is_refused(client: KubeClient, content: object) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await cloud.hub.ask(
            Operation.QUERY, f"node/{node}/null/inventory/{node}", raw(content)
        )
        assert load(answer.content)["ErrStatus"]["code"] == 422


async def test_types_that_are_not_compared_are_left_alone(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await ask(cloud, node, [("device", "a", "b", "c", "1")])
        assert load(answer.content) == {"updated": 1, "deleted": 0}


async def test_caches_that_lost_the_api_server_correct_nobody(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "IN_STEP_S", 0.01)
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        downstream = cloud.controller._downstream
        downstream.progress.note(cloud.controller._state.pods, Interrupted())
        mark = len(cloud.hub.seen)
        answer = await ask(cloud, node, [("pod", "a", "b", "uid-1", "1")])
        assert load(answer.content)["ErrStatus"]["code"] == 503
        assert not [one for one in cloud.hub.seen[mark:] if one.header.type == "inventory"]


@pytest.mark.parametrize(
    ("report", "answered"),
    [
        ({"digest": to_hex(7), "newest": {"pod": "1"}}, {"differs": True}),
        ({"objects": [], "newest": {"pod": "1"}}, {"updated": 1, "deleted": 0}),
        ({"objects": [("pod", "a", "b", "uid-1", "1")]}, {"updated": 1, "deleted": 1}),
    ],
)
async def test_an_edge_that_knows_something_is_answered_when_the_caches_are_in_step_again(
    client: KubeClient, report: Mapping[str, Any], answered: Mapping[str, Any]
) -> None:
    async with controlled(client) as cloud, asyncio.TaskGroup() as group:
        node = await make_edge_node(cloud)
        progress, pods = cloud.controller._downstream.progress, cloud.controller._state.pods
        progress.note(pods, Interrupted())
        resource = f"node/{node}/null/inventory/{node}"
        mark = len(cloud.hub.seen)
        asked = group.create_task(cloud.hub.ask(Operation.QUERY, resource, raw(report)))

        async def waits() -> bool:
            return bool(progress._waiting)

        await eventually(waits)
        assert not [one for one in cloud.hub.seen[mark:] if one.header.type == "inventory"]
        progress.note(pods, ListCompleted("1"))
        assert load((await asked).content) == answered


async def test_an_edge_that_has_nothing_gets_what_is_known_though_the_api_server_is_away(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        downstream = cloud.controller._downstream
        downstream.progress.note(cloud.controller._state.pods, Interrupted())
        for report, answered in (
            ({"digest": to_hex(0), "count": 0, "newest": {}}, {"differs": True}),
            ({"objects": []}, {"updated": 1, "deleted": 0}),
        ):
            answer = await cloud.hub.ask(
                Operation.QUERY, f"node/{node}/null/inventory/{node}", raw(report)
            )
            assert load(answer.content) == answered


async def test_who_holds_something_and_has_no_node_yet_is_asked_again_when_it_has(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        await make_edge_node(cloud)
        node = NodeID(unique("n"))
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1, ALL)
        answer = await ask(cloud, node, [("service", "a", "b", "c", "1")])
        assert load(answer.content) == {"updated": 0, "deleted": 1}
        await client.create(kinds.NODES.path(), body(node_object(node)))
        await cloud.hub.object(Operation.QUERY, f"node/{node}/null/inventory/{node}")


async def test_before_the_caches_are_in_step_the_answer_is_to_come_back(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "SYNC_TIMEOUT_S", 0.01)
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        cloud.controller.synced.clear()
        answer = await ask(cloud, node, [])
        assert load(answer.content)["ErrStatus"]["code"] == 503


async def test_a_kubeedge_edge_gets_all_but_services_as_updates(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, _ = await everything(cloud, namespace)
        mark = len(cloud.hub.seen)
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/pod/web", since=mark)
        sent = [one for one in told(cloud, mark) if f"/{node}/" in one[1]]
        assert sorted(sent) == sorted(
            (Operation.UPDATE, f"node/{node}/{resource}")
            for resource in (
                f"null/node/{node}",
                f"{namespace}/configmap/conf",
                f"{namespace}/secret/db",
                f"{namespace}/pod/web",
            )
        )


async def test_what_cannot_be_read_is_left_to_the_kubeedge_edge_to_ask_for(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = client.get

    async def away(path: str, **options: Any) -> bytes:
        if path.endswith(("/configmaps/conf", "/secrets/db")):
            code = 404 if path.endswith("conf") else 503
            raise RemoteError(failure(code, path))
        return await get(path, **options)

    async with controlled(client) as cloud:
        node, _ = await everything(cloud, namespace)
        state = cloud.controller._state
        state.configmaps.cache.drop(ObjectKey(namespace, "conf"))
        state.secrets.cache.drop(ObjectKey(namespace, "db"))
        monkeypatch.setattr(client, "get", away)
        mark = len(cloud.hub.seen)
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/pod/web", since=mark)
        resources = [resource for _, resource in told(cloud, mark)]
        assert f"node/{node}/{namespace}/configmap/conf" not in resources
        assert cloud.metrics.dropped.value_of("resync_failed") == 1


# --- edges that know digests ---------------------------------------------------------------------


def hashed(cloud: Controlled, node: NodeID) -> list[Row6]:
    """The rows that an edge has to have, from what the cloud keeps."""
    return [
        (
            one.resource_type,
            one.key.namespace or "null",
            one.key.name,
            one.uid,
            one.version,
            to_hex(one.content or 0),
        )
        for one in wanted(cloud.controller._state, node, services=True)
    ]


def digest_of(rows: list[Row6]) -> str:
    return to_hex(digest(Row(*row[:5], int(row[5], 16)) for row in rows))


async def test_a_digest_says_all_where_everything_is_the_same(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, _ = await everything(cloud, namespace)
        rows = hashed(cloud, node)
        resource = f"node/{node}/null/inventory/{node}"
        newest = {"pod": max((row[4] for row in rows), key=int)}
        for said, answered in (
            (digest_of(rows), {"updated": 0, "deleted": 0}),
            (digest_of(rows[1:]), {"differs": True}),
        ):
            content = raw({"digest": said, "count": len(rows), "newest": newest})
            answer = await cloud.hub.ask(Operation.QUERY, resource, content)
            assert load(answer.content) == answered
        other = [(*row[:5], to_hex(1)) if row[0] == "configmap" else row for row in rows]
        answer = await cloud.hub.ask(Operation.QUERY, resource, raw({"objects": other}))
        assert load(answer.content) == {"updated": 1, "deleted": 0}


async def test_a_digest_that_differs_for_good_has_the_edge_asked_for_its_inventory(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, _ = await everything(cloud, namespace)
        connection = await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1, ALL)
        beat = {"connection": connection, "progresses": True, "is_quiet": True}
        good = beat | {"digest": digest_of(hashed(cloud, node))}
        await cloud.hub.tell(Operation.KEEPALIVE, node, good)
        bad = beat | {"digest": to_hex(7)}
        await cloud.hub.tell(Operation.KEEPALIVE, node, bad)
        await cloud.hub.wait_for(lambda m: m.operation is Operation.KEEPALIVE)
        assert cloud.metrics.divergence.value == 0
        await cloud.hub.tell(Operation.KEEPALIVE, node, bad)
        query = await cloud.hub.wait_for(lambda m: m.operation is Operation.QUERY)
        assert query.resource == f"node/{node}/null/inventory/{node}"
        assert cloud.metrics.divergence.value == 1


class RestoredWatch:
    """Of ConfigMaps nothing is seen, until the API server seems to go back from a high version."""

    def __init__(self, client: KubeClient) -> None:
        self._watch, self._is_restored = client.watch, False
        self.restored = asyncio.Event()

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        if path == kinds.CONFIGMAPS.path() and not self._is_restored:
            await self.restored.wait()
            self._is_restored = True
            high = {"metadata": {"resourceVersion": "999999999"}}
            yield body({"type": "BOOKMARK", "object": high})
            raise RemoteError(failure(503, "restored"))
        async with aclosing(self._watch(path, params)) as lines:
            async for line in lines:
                yield line


async def test_after_a_restore_connected_edges_are_told_anew_and_asked_for_their_inventory(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring = RestoredWatch(client)
    monkeypatch.setattr(client, "watch", restoring.watch)
    async with controlled(client) as cloud:
        node, _ = await everything(cloud, namespace, awaited=())
        kubeedge = await make_edge_node(cloud)
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1, ALL)
        await cloud.hub.connect(kubeedge, PeerProtocol.KUBEEDGE)
        itself = f"node/{kubeedge}/null/node/{kubeedge}"
        first = await cloud.hub.wait_for(
            lambda m: m.resource == itself and m.header.type == "inventory"
        )
        mark = cloud.hub.seen.index(first) + 1
        restoring.restored.set()
        await cloud.hub.object(Operation.UPDATE, itself, since=mark)
        query = await cloud.hub.wait_for(lambda m: m.operation is Operation.QUERY, since=mark)
        assert query.resource == f"node/{node}/null/inventory/{node}"
        resource = f"node/{node}/{namespace}/configmap/conf"
        told = [await cloud.hub.object(Operation.INSERT, resource, since=mark)]
        patch = b'{"data":{"v":"1"}}'
        path = kinds.CONFIGMAPS.path(namespace, "conf")
        await client.patch(path, patch, content_type=MERGE_PATCH)
        told.append(await cloud.hub.object(Operation.UPDATE, resource, since=mark))
        assert [one.header.type for one in told] == ["inventory", "inventory"]


async def test_a_pod_that_was_deleted_while_a_kubeedge_edge_was_away_is_ended_when_it_comes(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LOOK_S", 0.05)
    await make_kubeedge_namespace(client)
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        uid = pod["metadata"]["uid"]

        async def is_recorded() -> bool:
            record = await client.find(kinds.CONFIGMAPS.path("kubeedge", f"pods-of-{node}"))
            return record is not None and uid in load(record)["data"]["pods"]

        await eventually(is_recorded)
    await client.delete(kinds.PODS.path(namespace, "web"), body({"gracePeriodSeconds": 0}))
    async with controlled(client) as cloud:
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        deleted = await cloud.hub.object(Operation.DELETE, f"node/{node}/{namespace}/pod/web")
        assert load(deleted.content)["metadata"]["uid"] == uid


async def make_kubeedge_namespace(client: KubeClient) -> None:
    """cloudcore makes it when it starts."""
    try:
        await client.create(kinds.NAMESPACES.path(), body({"metadata": {"name": "kubeedge"}}))
    except RemoteError as error:
        if error.status.code != 409:
            raise
