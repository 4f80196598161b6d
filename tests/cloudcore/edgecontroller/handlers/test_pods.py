"""Status of pods, their end, and mirror pods.

Real: API server with NodeRestriction, the whole controller. The hub is a module that listens.
"""

import json
from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import STRATEGIC_MERGE_PATCH, KubeClient
from common.beehive.message import raw
from common.errors import RemoteError
from common.names import Operation
from common.status import not_found
from tests.cloudcore.cluster import (
    controlled,
    eventually,
    load,
    make_edge_node,
    make_pod,
    pod_object,
)

OTHER_UID = "11c7745f-99b0-4f12-844f-63a1121bd211"


def patch_of(uid: str, status: str = "True", **more: Any) -> str:
    change = {
        "metadata": {"uid": uid},
        "status": {
            "$setElementOrder/conditions": [{"type": "Ready"}],
            "conditions": [{"type": "Ready", "status": status}],
            **more,
        },
    }
    return json.dumps(change)


async def test_status_is_written_answered_and_pushed(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        uid = pod["metadata"]["uid"]
        answer = await cloud.hub.ask(
            Operation.PATCH,
            f"node/{node}/{namespace}/podpatch/web",
            raw(patch_of(uid, phase="Running", podIPs=[{"ip": "192.0.2.3"}])),
        )
        changed = load(answer.content)["Object"]
        assert changed["status"]["phase"] == "Running"
        assert answer.header.resourceversion == changed["metadata"]["resourceVersion"]
        pushed = await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/pod/web")
        assert pushed.header.resourceversion == answer.header.resourceversion


async def test_status_that_is_there_already_is_not_written(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        resource = f"node/{node}/{namespace}/podpatch/web"
        patch = raw(patch_of(pod["metadata"]["uid"], phase="Running"))
        first = await cloud.hub.ask(Operation.PATCH, resource, patch)
        again = await cloud.hub.ask(Operation.PATCH, resource, patch)
        assert again.header.resourceversion == first.header.resourceversion
        stored = load(await client.get(kinds.PODS.path(namespace, "web")))
        assert stored["metadata"]["resourceVersion"] == first.header.resourceversion


async def test_status_is_restated_after_somebody_else_changed_it(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        uid, resource = pod["metadata"]["uid"], f"node/{node}/{namespace}/podpatch/web"
        await cloud.hub.ask(Operation.PATCH, resource, raw(patch_of(uid)))
        mark = len(cloud.hub.seen)
        await client.patch(
            kinds.PODS.path(namespace, "web", "status"),
            patch_of(uid, "False").encode(),
            content_type=STRATEGIC_MERGE_PATCH,
        )
        await cloud.hub.object(Operation.UPDATE, f"node/{node}/{namespace}/pod/web", since=mark)
        answer = await cloud.hub.ask(Operation.PATCH, resource, raw(patch_of(uid)))
        conditions = load(answer.content)["Object"]["status"]["conditions"]
        assert [one["status"] for one in conditions if one["type"] == "Ready"] == ["True"]


async def test_status_of_a_former_pod_never_becomes_that_of_its_successor(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await make_pod(cloud, pod_object(namespace, "web", node))
        resource = f"node/{node}/{namespace}/podpatch/web"
        answer = await cloud.hub.ask(Operation.PATCH, resource, raw(patch_of(OTHER_UID)))
        content = load(answer.content)
        assert content["Object"] is None
        assert content["Err"]["ErrStatus"]["code"] == 409

        missing = await cloud.hub.ask(
            Operation.PATCH, f"node/{node}/{namespace}/podpatch/none", raw(patch_of(OTHER_UID))
        )
        assert load(missing.content)["Err"]["ErrStatus"]["code"] == 404


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ('{"status":{}}', 422),
        ('{"metadata":{},"status":{}}', 422),
        ('{"metadata":[],"status":{}}', 422),
        ("[]", 400),
        ("{", 400),
    ],
)
async def test_a_patch_without_a_uid_is_refused(client: KubeClient, patch: str, code: int) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await cloud.hub.ask(
            Operation.PATCH, f"node/{node}/default/podpatch/web", raw(patch)
        )
        assert load(answer.content)["Err"]["ErrStatus"]["code"] == code


async def test_nobody_writes_the_status_of_a_pod_on_another_node(
    client: KubeClient, namespace: str
) -> None:
    """Were ``authorize()`` to let it through, the API server would not."""
    async with controlled(client) as cloud:
        node, thief = await make_edge_node(cloud), await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        answer = await cloud.hub.ask(
            Operation.PATCH,
            f"node/{thief}/{namespace}/podpatch/web",
            raw(patch_of(pod["metadata"]["uid"])),
        )
        assert load(answer.content)["Err"]["ErrStatus"]["code"] == 403
        deleted = await cloud.hub.ask(
            Operation.DELETE,
            f"node/{thief}/{namespace}/pod/web",
            raw({"preconditions": {"uid": pod["metadata"]["uid"]}}),
        )
        assert load(deleted.content)["ErrStatus"]["code"] == 403


async def test_the_graceful_end_of_a_pod(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        resource = f"node/{node}/{namespace}/pod/web"
        await client.delete(kinds.PODS.path(namespace, "web"))
        ending = await cloud.hub.wait_for(
            lambda m: (
                m.resource == resource
                and m.operation is Operation.UPDATE
                and "deletionTimestamp" in load(m.content)["metadata"]
            )
        )
        assert ending.header.resourceversion
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        answer = await cloud.hub.ask(Operation.DELETE, resource, raw(options))
        assert load(answer.content) == "OK"
        await cloud.hub.object(Operation.DELETE, resource)
        again = await cloud.hub.ask(Operation.DELETE, resource, raw(options))
        assert load(again.content) == "OK"


@pytest.mark.parametrize(
    "content", [OTHER_UID, {"gracePeriodSeconds": 0, "preconditions": {"uid": OTHER_UID}}]
)
async def test_a_late_deletion_spares_the_successor(
    client: KubeClient, namespace: str, content: object
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        answer = await cloud.hub.ask(
            Operation.DELETE, f"node/{node}/{namespace}/pod/web", raw(content)
        )
        assert load(answer.content) == "OK"
        stored = load(await client.get(kinds.PODS.path(namespace, "web")))
        assert stored["metadata"]["uid"] == pod["metadata"]["uid"]
        assert "deletionTimestamp" not in stored["metadata"]


async def test_old_edges_delete_by_the_uid_alone(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        resource = f"node/{node}/{namespace}/pod/web"
        answer = await cloud.hub.ask(Operation.DELETE, resource, raw(pod["metadata"]["uid"]))
        assert load(answer.content) == "OK"
        await cloud.hub.object(Operation.DELETE, resource)


async def test_a_deletion_without_a_uid_is_of_the_known_pod_or_refused(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await make_pod(cloud, pod_object(namespace, "web", node))
        resource = f"node/{node}/{namespace}/pod/web"
        assert load((await cloud.hub.ask(Operation.DELETE, resource, raw({}))).content) == "OK"
        await cloud.hub.object(Operation.DELETE, resource)
        answer = await cloud.hub.ask(Operation.DELETE, resource, raw({}))
        assert load(answer.content)["ErrStatus"]["code"] == 422


@pytest.mark.parametrize(("lies", "code"), [(2, 0), (99, 503)])
async def test_a_deletion_that_comes_before_the_api_server_knows_the_pod_is_made_again(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch, lies: int, code: int
) -> None:
    """NodeRestriction says 404 of a pod that its own cache does not have yet: forced here."""
    left = lies
    delete = client.delete

    async def not_yet(path: str, options: bytes = b"", **more: Any) -> bytes:
        nonlocal left
        left -= 1
        if left >= 0:
            raise RemoteError(not_found("pods", "web"))
        return await delete(path, options, **more)

    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        monkeypatch.setattr(client, "delete", not_yet)
        resource = f"node/{node}/{namespace}/pod/web"
        answer = await cloud.hub.ask(Operation.DELETE, resource, raw(pod["metadata"]["uid"]))
        if code:
            assert load(answer.content)["ErrStatus"]["code"] == code
        else:
            await cloud.hub.object(Operation.DELETE, resource)


async def test_a_mirror_pod_is_created_in_the_nodes_name(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        uid = load(await client.get(kinds.NODES.path(name=node)))["metadata"]["uid"]
        pod = pod_object(namespace, f"static-{node}", node)
        pod["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
        pod["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": True}
        ]
        resource = f"node/{node}/{namespace}/pod/static-{node}"
        answer = await cloud.hub.ask(Operation.INSERT, resource, raw(pod))
        assert load(answer.content)["Object"]["spec"]["nodeName"] == node

        for wrong in (
            pod | {"spec": pod["spec"] | {"nodeName": "elsewhere"}},
            pod | {"spec": None},
            pod | {"metadata": {"name": f"static-{node}", "namespace": namespace}},
            pod | {"metadata": pod["metadata"] | {"name": "another"}},
            pod | {"metadata": pod["metadata"] | {"namespace": "kube-system"}},
        ):
            answer = await cloud.hub.ask(Operation.INSERT, resource, raw(wrong))
            assert load(answer.content)["Err"]["ErrStatus"]["code"] == 422


async def test_old_edges_report_by_podstatus_and_lose_what_is_not_theirs(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        pod = await make_pod(cloud, pod_object(namespace, "web", node))
        uid = pod["metadata"]["uid"]
        one = {"UID": uid, "Name": "web", "Status": {"phase": "Running"}}
        gone = {"UID": OTHER_UID, "Name": "old", "Status": {"phase": "Running"}}
        single = f"node/{node}/{namespace}/podstatus/web"
        assert load((await cloud.hub.ask(Operation.UPDATE, single, raw(one))).content) == "OK"
        whole = f"node/{node}/{namespace}/podstatus"
        answer = await cloud.hub.ask(Operation.UPDATE, whole, raw([one, gone]))
        assert load(answer.content) == "OK"
        withdrawn = await cloud.hub.object(Operation.DELETE, f"node/{node}/{namespace}/pod/old")
        assert load(withdrawn.content)["metadata"] == {
            "name": "old",
            "namespace": namespace,
            "uid": OTHER_UID,
        }

        async def is_running() -> bool:
            stored = load(await client.get(kinds.PODS.path(namespace, "web")))
            return bool(stored["status"]["phase"] == "Running")

        await eventually(is_running)


@pytest.mark.parametrize(
    "request_",
    ["text", {"Name": "web"}, {"UID": "u", "Name": "web"}, {"UID": "u", "Name": "x", "Status": {}}],
)
async def test_a_podstatus_that_is_none_is_refused(client: KubeClient, request_: object) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await cloud.hub.ask(
            Operation.UPDATE, f"node/{node}/default/podstatus/web", raw([request_])
        )
        assert load(answer.content)["ErrStatus"]["code"] == 422


async def test_a_pod_that_does_not_exist_is_not_made_by_its_status(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await cloud.hub.ask(
            Operation.PATCH, f"node/{node}/{namespace}/podpatch/web", raw(patch_of(OTHER_UID))
        )
        with pytest.raises(RemoteError, match="404"):
            await client.get(kinds.PODS.path(namespace, "web"))
