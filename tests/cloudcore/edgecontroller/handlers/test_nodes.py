"""Nodes register and say how they are.

Real: API server with NodeRestriction, the whole controller. The hub is a module that listens.
"""

from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from common.beehive.message import Message, raw
from common.errors import RemoteError
from common.names import AGENT_NODE_LABEL, EDGE_NODE_LABEL, Operation
from tests.cloudcore.cluster import (
    Controlled,
    controlled,
    load,
    make_edge_node,
    make_node,
    node_object,
    unique,
)


def error_of(answer: Message) -> dict[str, Any]:
    content = load(answer.content)
    assert content["Object"] is None
    error: dict[str, Any] = content["Err"]["ErrStatus"]
    return error


def initial_node(name: str) -> dict[str, Any]:
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        AGENT_NODE_LABEL: "",
        EDGE_NODE_LABEL: "",
        "site": "roof",
    }
    node = node_object(name, labels)
    node["metadata"]["creationTimestamp"] = None
    return node


async def ask_insert(cloud: Controlled, name: str, node: dict[str, Any]) -> Message:
    return await cloud.hub.ask(Operation.INSERT, f"node/{name}/null/node/{name}", raw(node))


async def test_a_node_that_registers_becomes_an_edge_node_by_cloudcore_alone(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        name = unique("n")
        answer = await ask_insert(cloud, name, initial_node(name))
        content = load(answer.content)
        assert content["Err"] is None
        labels = content["Object"]["metadata"]["labels"]
        assert labels[EDGE_NODE_LABEL] == labels[AGENT_NODE_LABEL] == ""
        assert labels["site"] == "roof"
        assert (answer.operation, answer.resource) == (
            Operation.RESPONSE,
            f"node/{name}/null/node/{name}",
        )
        assert (answer.route.source, answer.route.group) == ("edgecontroller", "resource")
        pushed = await cloud.hub.object(Operation.UPDATE, f"node/{name}/null/node/{name}")
        assert load(pushed.content)["kind"] == "Node"

        again = error_of(await ask_insert(cloud, name, initial_node(name)))
        assert (again["code"], again["reason"]) == (409, "AlreadyExists")


async def test_a_node_that_registers_with_a_reserved_label_is_refused(client: KubeClient) -> None:
    # The hub has refused it before; this is the API server's NodeRestriction.
    async with controlled(client) as cloud:
        name = unique("n")
        node = initial_node(name)
        node["metadata"]["labels"]["node-restriction.kubernetes.io/zone"] = "secret-lab"
        error = error_of(await ask_insert(cloud, name, node))
        assert error["code"] == 403
        assert "node-restriction.kubernetes.io/zone" in error["message"]
        assert await client.find(kinds.NODES.path(name=name)) is None


async def test_an_existing_node_never_becomes_an_edge_node_by_its_own_word(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        name = await make_node(client, edge=False)
        error = error_of(await ask_insert(cloud, name, initial_node(name)))
        assert error["code"] == 403
        assert f"kubectl label node {name} {EDGE_NODE_LABEL}=" in error["message"]
        stored = load(await client.get(kinds.NODES.path(name=name)))
        assert "labels" not in stored["metadata"]


async def test_nothing_is_done_for_a_node_that_is_no_edge_node(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        name = await make_node(client, edge=False)
        await make_edge_node(cloud)  # by now the other one has been seen, too
        patch = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
        answer = await cloud.hub.ask(
            Operation.PATCH, f"node/{name}/null/nodepatch/{name}", raw(patch)
        )
        assert error_of(answer)["code"] == 403
        stored = load(await client.get(kinds.NODES.path(name=name)))
        assert "True" not in [one["status"] for one in stored["status"].get("conditions", [])]


async def test_a_status_patch_is_written_and_answered_with_the_node(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/null/nodepatch/{node}"
        patch = (
            '{"status":{"$setElementOrder/conditions":[{"type":"Ready"}],'
            '"conditions":[{"type":"Ready","status":"True","reason":"EdgeReady"}]}}'
        )
        answer = await cloud.hub.ask(Operation.PATCH, resource, raw(patch))
        changed = load(answer.content)["Object"]
        assert changed["status"]["conditions"][0]["reason"] == "EdgeReady"
        assert answer.header.resourceversion == changed["metadata"]["resourceVersion"]

        current = await cloud.hub.ask(Operation.PATCH, resource, raw("{}"))
        node_now = load(current.content)["Object"]
        assert node_now["metadata"]["uid"] == changed["metadata"]["uid"]
        assert current.header.resourceversion == node_now["metadata"]["resourceVersion"]


async def test_a_node_status_that_is_there_already_is_not_written(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched: list[str] = []
    patch_object = client.patch

    async def counted(path: str, change: bytes, **options: Any) -> bytes:
        patched.append(path)
        return await patch_object(path, change, **options)

    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/null/nodepatch/{node}"
        patch = raw('{"status":{"conditions":[{"type":"Ready","status":"True"}]}}')
        monkeypatch.setattr(client, "patch", counted)
        answer = await cloud.hub.ask(Operation.PATCH, resource, patch)
        seen = int(answer.header.resourceversion)
        await cloud.hub.wait_for(
            lambda m: (
                m.resource == f"node/{node}/null/node/{node}"
                and int(m.header.resourceversion or "0") >= seen
            )
        )
        await cloud.hub.ask(Operation.PATCH, resource, patch)
        assert len(patched) == 1


async def test_a_node_patch_may_not_bring_labels_of_another_role(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        patch = '{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}'
        answer = await cloud.hub.ask(
            Operation.PATCH, f"node/{node}/null/nodepatch/{node}", raw(patch)
        )
        assert error_of(answer)["code"] == 403


@pytest.mark.parametrize(
    ("content", "code"),
    [("not json", 400), (["a", "list"], 400), (7, 400), ("[" * 10_000 + "]" * 10_000, 400)],
)
async def test_a_patch_that_is_no_patch_is_refused(
    client: KubeClient, content: object, code: int
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await cloud.hub.ask(
            Operation.PATCH, f"node/{node}/null/nodepatch/{node}", raw(content)
        )
        assert error_of(answer)["code"] == code


@pytest.mark.parametrize(
    ("node", "code"),
    [
        ({}, 422),
        ({"metadata": {"name": "another"}}, 422),
        ({"metadata": "name"}, 422),
        ("text", 400),
        (None, 400),
    ],
)
async def test_a_node_that_is_no_node_is_not_created(
    client: KubeClient, node: object, code: int
) -> None:
    async with controlled(client) as cloud:
        name = unique("n")
        answer = await cloud.hub.ask(Operation.INSERT, f"node/{name}/null/node/{name}", raw(node))
        assert error_of(answer)["code"] == code
        with pytest.raises(RemoteError, match="404"):
            await client.get(kinds.NODES.path(name=name))


async def test_an_update_takes_over_labels_and_annotations_only(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        name = await make_edge_node(cloud)
        node = node_object(name, {"site": "cellar", EDGE_NODE_LABEL: ""})
        node["metadata"]["annotations"] = {"example.com/floor": "-1"}
        node["spec"] = {"unschedulable": True}
        answer = await cloud.hub.ask(Operation.UPDATE, f"node/{name}/null/node/{name}", raw(node))
        assert load(answer.content) == "OK"
        stored = load(await client.get(kinds.NODES.path(name=name)))
        assert stored["metadata"]["labels"]["site"] == "cellar"
        assert stored["metadata"]["annotations"]["example.com/floor"] == "-1"
        assert "unschedulable" not in stored["spec"]


@pytest.mark.parametrize(
    ("label", "taint"), [("node-role.kubernetes.io/master", ""), ("", "gpu"), (None, "")]
)
async def test_an_update_that_asks_for_more_than_is_a_nodes_own_is_refused_in_words(
    client: KubeClient, label: str | None, taint: str
) -> None:
    async with controlled(client) as cloud:
        name = await make_edge_node(cloud)
        labels: dict[str, Any] = {label: ""} if label else {}
        if label is None:
            labels[EDGE_NODE_LABEL] = None
        node = node_object(name, labels | {"site": "cellar"})
        node["spec"] = {"taints": [{"key": taint, "effect": "NoSchedule"}]} if taint else {}
        answer = await cloud.hub.ask(Operation.UPDATE, f"node/{name}/null/node/{name}", raw(node))
        error = load(answer.content)["ErrStatus"]
        assert error["code"] == 403
        assert "kubectl" in error["message"]
        stored = load(await client.get(kinds.NODES.path(name=name)))
        assert "site" not in stored["metadata"]["labels"]
        assert EDGE_NODE_LABEL in stored["metadata"]["labels"]


async def test_an_update_of_another_node_of_that_name_changes_nothing(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        name = await make_edge_node(cloud)
        node = node_object(name, {"site": "cellar"})
        node["metadata"]["uid"] = "11c7745f-99b0-4f12-844f-63a1121bd211"
        answer = await cloud.hub.ask(Operation.UPDATE, f"node/{name}/null/node/{name}", raw(node))
        assert load(answer.content)["ErrStatus"]["code"] == 422


async def test_old_edges_register_and_report_by_nodestatus(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        name = unique("n")
        resource = f"node/{name}/default/nodestatus/{name}"
        answer = await cloud.hub.ask(Operation.INSERT, resource, raw(initial_node(name)))
        assert load(answer.content) == "OK"
        stored = load(await client.get(kinds.NODES.path(name=name)))
        assert EDGE_NODE_LABEL in stored["metadata"]["labels"]

        request = {
            "UID": stored["metadata"]["uid"],
            "Status": {"conditions": [{"type": "Ready", "status": "True"}]},
            "ExtendResources": None,
        }
        assert load((await cloud.hub.ask(Operation.UPDATE, resource, raw(request))).content) == "OK"
        stored = load(await client.get(kinds.NODES.path(name=name)))
        ready = [one for one in stored["status"]["conditions"] if one["type"] == "Ready"]
        assert ready[0]["status"] == "True"

        wrong = await cloud.hub.ask(Operation.UPDATE, resource, raw({"Status": 1}))
        assert load(wrong.content)["ErrStatus"]["code"] == 422


async def test_a_node_that_cannot_be_labelled_is_taken_back(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = client.patch

    async def refuse_labels(path: str, change: bytes, **options: Any) -> bytes:
        if options["content_type"] == MERGE_PATCH and "as_node" not in options:
            await client.get("/api/v1/nonsense")
        return await patched(path, change, **options)

    async with controlled(client) as cloud:
        monkeypatch.setattr(client, "patch", refuse_labels)
        name = unique("n")
        answer = await ask_insert(cloud, name, initial_node(name))
        assert load(answer.content)["Err"] is not None
        with pytest.raises(RemoteError, match="404"):
            await client.get(kinds.NODES.path(name=name))
        monkeypatch.undo()
        assert load((await ask_insert(cloud, name, initial_node(name))).content)["Err"] is None
