"""Every message gets exactly one answer, in order by object, with leases never behind objects.

Real: API server, the whole controller, unless a test says that a handler is in its place.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from types import MappingProxyType

import pytest

from cloudcore.edgecontroller import leasekeeper, upstream
from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.handlers.table import TABLE, Entry, Places
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.beehive.message import Message, new, raw
from common.capabilities import Capability
from common.errors import RemoteError
from common.names import NODE_LEASE_NAMESPACE, ModuleName, Operation, PeerProtocol
from tests.cloudcore.cluster import (
    PATIENCE_S,
    Controlled,
    controlled,
    eventually,
    load,
    make_edge_node,
    make_pod,
    pod_object,
)


def put_in_place(
    monkeypatch: pytest.MonkeyPatch, operation: Operation, resource_type: str, entry: Entry
) -> None:
    table = MappingProxyType({**TABLE, (operation, resource_type): entry})
    monkeypatch.setattr(upstream, "TABLE", table)


def refusals(cloud: Controlled, reason: str) -> float:
    return float(cloud.metrics.refused.value_of(reason))


@pytest.mark.parametrize(
    ("operation", "resource", "code"),
    [
        (Operation.QUERY, "default/volume/v", 405),
        (Operation.DELETE, "default/configmap/web", 405),
        (Operation.UPLOAD, "default/pod/web", 405),
        (Operation.QUERY, "default/configmap", 400),
        (Operation.QUERY, "configmap", 400),
        (Operation.QUERY, "a/b/c/d/e", 400),
        (Operation.PATCH, "null/nodepatch", 400),
    ],
)
async def test_what_cannot_be_served_is_refused_and_counted(
    client: KubeClient, operation: Operation, resource: str, code: int
) -> None:
    reason = {400: "BadRequest", 405: "MethodNotAllowed"}[code]
    async with controlled(client) as cloud:
        answer = await cloud.hub.ask(operation, f"node/n1/{resource}")
        content = load(answer.content)
        error = content.get("Err", content)
        assert error["ErrStatus"]["code"] == code
        assert (answer.operation, answer.resource) == (
            Operation.RESPONSE,
            f"node/n1/{resource}",
        )
        assert refusals(cloud, reason) == 1


async def test_a_handler_that_fails_answers_and_harms_nobody(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(call: Call, services: Services) -> Answer:
        raise ZeroDivisionError(call.node, services)

    put_in_place(monkeypatch, Operation.QUERY, "configmap", Entry(fail))
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        for name in ("a", "a", "b"):
            answer = await cloud.hub.ask(Operation.QUERY, f"node/{node}/default/configmap/{name}")
            error = load(answer.content)["ErrStatus"]
            assert error["code"] == 500
            assert "ZeroDivision" not in error["message"]
        answer = await cloud.hub.ask(Operation.QUERY, f"node/{node}/null/node/{node}")
        assert load(answer.content)["kind"] == "Node"


async def test_messages_about_one_object_keep_their_order_and_others_do_not_wait(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    gate = asyncio.Event()

    async def handle(call: Call, services: Services) -> Answer:
        assert services.client is client
        if call.message.content == raw("first"):
            await gate.wait()
        done.append(f"{call.resource.name} {load(call.message.content)}")
        return Answer()

    put_in_place(monkeypatch, Operation.UPDATE, "event", Entry(handle))
    async with controlled(client) as cloud:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(ask(cloud, "n1", "a", "first"))
            second = group.create_task(ask(cloud, "n1", "a", "second"))
            for other in (("n1", "b"), ("n2", "a")):
                await ask(cloud, *other, "other")
            assert done == ["b other", "a other"]
            gate.set()
        assert done[2:] == ["a first", "a second"]
        assert first.result().parent_id != second.result().parent_id


async def ask(cloud: Controlled, node: str, name: str, content: str) -> Message:
    resource = f"node/{node}/default/event/{name}"
    return await cloud.hub.ask(Operation.UPDATE, resource, raw(content))


class Blocked:
    """A handler that lets nobody out until it is told to."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self._gate, self._changed = asyncio.Event(), asyncio.Condition()

    async def handle(self, call: Call, services: Services) -> Answer:
        del services
        async with self._changed:
            self.inside[call.node] += 1
            self._changed.notify_all()
        await self._gate.wait()
        return Answer()

    async def hold(self, count: int) -> None:
        """Return when so many are inside."""
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: self.inside.total() >= count)

    def release(self) -> None:
        self._gate.set()


OBJECT_PLACES, PLACES_OF_A_NODE = upstream.PLACES[Places.OBJECTS]


async def test_leases_do_not_wait_behind_objects(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked()
    put_in_place(monkeypatch, Operation.UPDATE, "event", Entry(blocked.handle))
    async with controlled(client) as cloud:
        async with asyncio.TaskGroup() as group:
            for number in range(400):
                group.create_task(ask(cloud, f"n{number % 20}", f"e{number}", "x"))
            await blocked.hold(OBJECT_PLACES)
            answer = await cloud.hub.ask(Operation.QUERY, "node/n1/kube-node-lease/lease/n1")
            assert load(answer.content)["Err"]["ErrStatus"]["code"] in (403, 404)
            assert blocked.inside.total() == OBJECT_PLACES
            blocked.release()
        assert blocked.inside.total() == 400


async def test_a_node_that_floods_waits_behind_itself_alone(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked()
    put_in_place(monkeypatch, Operation.UPDATE, "event", Entry(blocked.handle))
    async with controlled(client) as cloud, asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(ask(cloud, "flood", f"e{number}", "x"))
        await blocked.hold(PLACES_OF_A_NODE)
        answer = await cloud.hub.ask(Operation.QUERY, "node/other/default/configmap/none")
        assert load(answer.content)["ErrStatus"]["code"] == 404
        assert blocked.inside == {"flood": PLACES_OF_A_NODE}
        blocked.release()


async def test_each_message_is_answered_exactly_once(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        requests = [
            new("edged", "meta", Operation.QUERY, f"node/{node}/{namespace}/configmap/c{i % 7}")
            for i in range(100)
        ]
        for request in requests:
            await cloud.hub.bus.send(ModuleName.EDGE_CONTROLLER, request)
        asked = {request.msg_id for request in requests}
        await cloud.hub.wait_for(lambda _: asked <= {m.parent_id for m in cloud.hub.seen})
        answered = Counter(m.parent_id for m in cloud.hub.seen if m.parent_id)
        assert answered == dict.fromkeys(asked, 1)


async def test_what_was_accepted_is_answered_before_the_end(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        request = new("edged", "meta", Operation.QUERY, "node/n1/default/configmap/none")
        await cloud.hub.bus.send(ModuleName.EDGE_CONTROLLER, request)
    assert [m.parent_id for m in cloud.hub.seen if m.parent_id] == [request.msg_id]


async def test_a_kubeedge_edge_that_connects_gets_everything_it_should_have(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await make_pod(cloud, pod_object(namespace, "web", node))
        mark = len(cloud.hub.seen)
        await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        for resource in (f"null/node/{node}", f"{namespace}/pod/web"):
            await cloud.hub.object(Operation.UPDATE, f"node/{node}/{resource}", since=mark)


async def test_our_own_edge_that_connects_is_waited_for(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node, kubeedge = await make_edge_node(cloud), await make_edge_node(cloud)
        await make_pod(cloud, pod_object(namespace, "web", node))
        mark = len(cloud.hub.seen)
        await cloud.hub.connect(node, PeerProtocol.CLOUDEDGE_V1)
        await cloud.hub.connect(kubeedge, PeerProtocol.KUBEEDGE)
        await cloud.hub.object(
            Operation.UPDATE, f"node/{kubeedge}/null/node/{kubeedge}", since=mark
        )
        assert not [m for m in cloud.hub.seen[mark:] if m.resource.startswith(f"node/{node}/")]


async def test_a_beat_renews_the_lease_of_its_node(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasekeeper, "LEAST_S", 0.0)
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        path = kinds.LEASES.path(NODE_LEASE_NAMESPACE, node)

        async def renewed() -> str:
            try:
                return str(load(await client.get(path))["spec"]["renewTime"])
            except RemoteError:
                return ""

        connection = await cloud.hub.connect(
            node, PeerProtocol.CLOUDEDGE_V1, {Capability.BEATS, Capability.ACKS}
        )
        last = ""
        for _ in range(3):
            beat = {"connection": connection, "progresses": True, "digest": None, "is_quiet": True}
            await cloud.hub.tell(Operation.KEEPALIVE, node, beat)
            await eventually(partial(is_later, renewed, last))
            last = await renewed()
        await cloud.hub.tell(Operation.DISCONNECTED, node, {"connection": connection})


async def is_later(renewed: Callable[[], Awaitable[str]], last: str) -> bool:
    return await renewed() > last


async def test_a_node_that_is_gone_leaves_nothing_of_its_lease_behind(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/{NODE_LEASE_NAMESPACE}/lease/{node}"
        spec = {"holderIdentity": node, "renewTime": "2026-11-24T09:31:04.870222Z"}
        lease = {"metadata": {"name": node, "namespace": NODE_LEASE_NAMESPACE}, "spec": spec}
        connection = await cloud.hub.connect(node, PeerProtocol.KUBEEDGE)
        await cloud.hub.ask(Operation.INSERT, resource, raw(lease))
        renewals = cloud.controller._upstream._services.renewals
        assert node in renewals
        await cloud.hub.tell(Operation.DISCONNECTED, node, {"connection": connection})

        async def is_forgotten() -> bool:
            return node not in renewals

        await eventually(is_forgotten)
