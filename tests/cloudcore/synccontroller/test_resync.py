"""A node that connects is brought in step.

Real: API server, the whole controller. The hub is a module that listens.
"""

from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.synccontroller import resync
from common.beehive.message import Message, raw
from common.errors import RemoteError
from common.names import NodeID, Operation, PeerProtocol
from common.status import failure
from tests.cloudcore.cluster import (
    Controlled,
    body,
    controlled,
    load,
    make_edge_node,
    make_pod,
    pod_object,
)

Row = tuple[str, str, str, str, str]


async def ask(cloud: Controlled, node: NodeID, rows: list[Row]) -> Message:
    return await cloud.hub.ask(
        Operation.QUERY, f"node/{node}/null/inventory/{node}", raw({"objects": rows})
    )


def row(wire_type: str, one: dict[str, Any]) -> Row:
    metadata = one["metadata"]
    namespace = metadata.get("namespace", "null")
    return (
        wire_type,
        namespace,
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
    )


async def everything(cloud: Controlled, namespace: str) -> tuple[NodeID, dict[str, Row]]:
    """A node with a pod, a ConfigMap and a Secret, and what it would hold of them."""
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
    await cloud.hub.wait_for(lambda m: m.resource == f"node/{node}/{namespace}/service/front")
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
        before = cloud.hub.seen[mark : cloud.hub.seen.index(answer)]
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
        assert not [one for one in told(cloud, mark) if one[0] is Operation.DELETE]


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
        assert not [one for one in told(cloud, mark) if one[0] is Operation.DELETE]
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
        monkeypatch.setattr(client, "get", away)
        mark = len(cloud.hub.seen)
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/pod/web", since=mark)
        resources = [resource for _, resource in told(cloud, mark)]
        assert f"node/{node}/{namespace}/configmap/conf" not in resources
        dropped = cloud.metrics.dropped.labels(reason="resync_failed")
        assert dropped._value.get() == 1
