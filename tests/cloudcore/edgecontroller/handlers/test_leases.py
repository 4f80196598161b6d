"""Leases of nodes are made, read and renewed.

Real: API server, the whole controller. The hub is a module that listens.
"""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudcore.edgecontroller.leaseform import (
    BACKLOG,
    CLOUDCORE,
    CONNECTED_SINCE,
    SERVED_BY,
    renewal_in,
)
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from common.beehive.message import raw
from common.clock import parse_rfc3339, rfc3339_micro
from common.names import NODE_LEASE_NAMESPACE, Operation, PeerProtocol
from tests.cloudcore.cluster import body, controlled, load, make_edge_node

MOMENT = datetime(2026, 11, 24, 9, 31, 4, 870222, tzinfo=UTC)


def lease_object(node: str, renewed: datetime = MOMENT) -> dict[str, Any]:
    return {
        "metadata": {"name": node, "namespace": NODE_LEASE_NAMESPACE},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": 40,
            "renewTime": rfc3339_micro(renewed),
        },
    }


async def test_a_lease_is_made_read_and_renewed(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"

        missing = await cloud.hub.ask(Operation.QUERY, resource)
        assert load(missing.content)["Err"]["ErrStatus"]["reason"] == "NotFound"

        made = await cloud.hub.ask(Operation.INSERT, resource, raw(lease_object(node)))
        lease = load(made.content)["Object"]
        assert lease["spec"]["holderIdentity"] == node
        again = await cloud.hub.ask(Operation.INSERT, resource, raw(lease_object(node)))
        assert load(again.content)["Err"]["ErrStatus"]["reason"] == "AlreadyExists"

        read = await cloud.hub.ask(Operation.QUERY, resource)
        assert load(read.content) == {"Object": lease, "Err": None}
        assert read.header.resourceversion == ""

        lease["spec"]["renewTime"] = rfc3339_micro(MOMENT + timedelta(seconds=10))
        renewed = await cloud.hub.ask(Operation.UPDATE, resource, raw(lease))
        spec = load(renewed.content)["Object"]["spec"]
        assert renewal_in(spec) == MOMENT + timedelta(seconds=10)


async def test_a_lease_tells_who_serves_the_node_whatever_the_node_says(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"
        lease = lease_object(node)
        lies = {CLOUDCORE: "elsewhere", CONNECTED_SINCE: "1970", BACKLOG: "9", "own": "kept"}
        for operation in (Operation.INSERT, Operation.UPDATE, Operation.UPDATE):
            lease["metadata"]["annotations"] = lies
            answer = await cloud.hub.ask(operation, resource, raw(lease))
            lease = load(answer.content)["Object"]
            notes = dict(lease["metadata"]["annotations"])
            since = parse_rfc3339(notes.pop(CONNECTED_SINCE))
            assert notes == {CLOUDCORE: socket.gethostname(), "own": "kept"}
            assert timedelta(0) <= datetime.now(UTC) - since < timedelta(minutes=5)
        lease["metadata"]["resourceVersion"] = "1"  # not that of the API server
        lease["metadata"]["annotations"] = {SERVED_BY: "me"}
        answer = await cloud.hub.ask(Operation.UPDATE, resource, raw(lease))
        annotations = load(answer.content)["Object"]["metadata"]["annotations"]
        assert annotations[CLOUDCORE] == socket.gethostname()
        assert SERVED_BY not in annotations


async def test_a_clock_that_was_set_back_renews_all_the_same(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"
        made = await cloud.hub.ask(Operation.INSERT, resource, raw(lease_object(node)))
        lease = load(made.content)["Object"]
        lease["spec"]["renewTime"] = "1970-01-01T00:00:10.000000Z"
        answer = await cloud.hub.ask(Operation.UPDATE, resource, raw(lease))
        spec = load(answer.content)["Object"]["spec"]
        assert renewal_in(spec) == MOMENT + timedelta(microseconds=1)


async def test_a_renewal_wins_over_a_conflict(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"
        made = await cloud.hub.ask(Operation.INSERT, resource, raw(lease_object(node)))
        lease = load(made.content)["Object"]
        await client.patch(
            kinds.LEASES.path(NODE_LEASE_NAMESPACE, node),
            body({"metadata": {"annotations": {"by": "somebody"}}}),
            content_type=MERGE_PATCH,
        )
        lease["spec"]["renewTime"] = rfc3339_micro(MOMENT + timedelta(seconds=10))
        answer = await cloud.hub.ask(Operation.UPDATE, resource, raw(lease))
        renewed = load(answer.content)["Object"]
        assert renewal_in(renewed["spec"]) == MOMENT + timedelta(seconds=10)
        assert renewed["metadata"]["annotations"] == {"by": "somebody"}


async def test_a_lease_that_is_unknown_so_far_is_renewed_from_what_is_there(
    client: KubeClient,
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"
        await client.create(kinds.LEASES.path(NODE_LEASE_NAMESPACE), body(lease_object(node)))
        back = lease_object(node, MOMENT - timedelta(days=1))
        answer = await cloud.hub.ask(Operation.UPDATE, resource, raw(back))
        spec = load(answer.content)["Object"]["spec"]
        assert renewal_in(spec) == MOMENT + timedelta(microseconds=1)


@pytest.mark.parametrize("spec", ["text", None, {}, {"renewTime": "soon"}])
async def test_a_lease_without_a_time_is_refused(client: KubeClient, spec: object) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"
        lease = lease_object(node) | {"spec": spec}
        answer = await cloud.hub.ask(Operation.UPDATE, resource, raw(lease))
        assert load(answer.content)["Err"]["ErrStatus"]["code"] == 422
