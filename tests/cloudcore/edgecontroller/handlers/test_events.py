"""Events of the edge are written in the node's name.

Real: API server, the whole controller. The hub is a module that listens.
"""

import json
from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.beehive.message import raw
from common.names import Operation
from tests.cloudcore.cluster import controlled, load, make_edge_node


def event_object(namespace: str, node: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "web.17a", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": namespace},
        "reason": "Started",
        "message": "started",
        "type": "Normal",
        "count": 1,
        "source": {"component": "edged", "host": node},
    }


async def test_an_event_is_made_replaced_and_counted_up(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        event, resource = event_object(namespace, node), f"node/{node}/{namespace}/event/web.17a"
        answer = await cloud.hub.ask(Operation.INSERT, resource, raw(event))
        assert load(answer.content) == "OK"
        path = kinds.EVENTS.path(namespace, "web.17a")
        stored = load(await client.get(path))
        assert stored["reason"] == "Started"

        stored["message"] = "started again"
        answer = await cloud.hub.ask(Operation.UPDATE, resource, raw(stored))
        assert load(answer.content) == "OK"
        patch = {"event": event, "patchData": json.dumps({"count": 7})}
        answer = await cloud.hub.ask(Operation.PATCH, resource, raw(patch))
        assert load(answer.content) == "OK"
        stored = load(await client.get(path))
        assert (stored["message"], stored["count"]) == ("started again", 7)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({}, 422),
        ({"patchData": 7}, 422),
        ({"patchData": "[" * 10_000 + "]" * 10_000}, 400),
        ("{}", 422),
    ],
)
async def test_a_patch_of_no_event_is_refused(
    client: KubeClient, content: object, code: int
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        answer = await cloud.hub.ask(Operation.PATCH, f"node/{node}/default/event/x", raw(content))
        assert load(answer.content)["ErrStatus"]["code"] == code
