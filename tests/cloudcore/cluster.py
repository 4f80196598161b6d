"""What tests of the controller share: objects as the API has them, and a hub that listens."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from cloudcore.edgecontroller.controller import EdgeController
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.message import NULL, Message, new, raw
from common.capabilities import Capability
from common.errors import MailboxClosedError
from common.health import Health
from common.names import (
    EDGE_NODE_LABEL,
    GroupName,
    ModuleName,
    NodeID,
    Operation,
    PeerProtocol,
)

PATIENCE_S = 50.0  # on a machine that has much else to do
_TTL = "node.alpha.kubernetes.io/ttl"


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def node_object(
    name: str, labels: Mapping[str, str] | None = None, *, edge: bool = True
) -> dict[str, Any]:
    own = {EDGE_NODE_LABEL: ""} if edge else {}
    return {"metadata": {"name": name, "labels": {**own, **(labels or {})}}, "spec": {}}


def claim_object(name: str, volume: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
            "volumeName": volume,
            "storageClassName": "",
        },
    }


def pod_object(
    namespace: str,
    name: str,
    node: str,
    *,
    configmaps: tuple[str, ...] = (),
    secrets: tuple[str, ...] = (),
) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"name": f"c{i}", "configMap": {"name": one}} for i, one in enumerate(configmaps)
    ]
    volumes += [{"name": f"s{i}", "secret": {"secretName": one}} for i, one in enumerate(secrets)]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "busybox"}],
            "tolerations": [{"operator": "Exists"}],
            "volumes": volumes,
        },
    }


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def load(text: bytes | msgspec.Raw) -> Any:
    return msgspec.json.decode(text)


async def eventually(what: Callable[[], Awaitable[bool]]) -> None:
    """Return when ``what`` has come true, which nobody tells."""
    async with asyncio.timeout(PATIENCE_S):
        while not await what():  # noqa: ASYNC110 - there is nobody to set an event
            await asyncio.sleep(0.01)


async def make_namespace(client: KubeClient) -> str:
    """A namespace of the test's own, with the service account that its pods need."""
    name = unique("t")
    await client.create(kinds.NAMESPACES.path(), body({"metadata": {"name": name}}))
    await has_account(client, name)
    return name


async def has_account(client: KubeClient, namespace: str) -> None:
    """Return when pods can be made in a namespace: the controller manager makes their account."""

    async def is_made() -> bool:
        path = kinds.SERVICE_ACCOUNTS.path(namespace, "default")
        return await client.find(path) is not None

    await eventually(is_made)


async def make_node(client: KubeClient, *, edge: bool = True) -> NodeID:
    name = unique("n")
    await client.create(kinds.NODES.path(), body(node_object(name, edge=edge)))
    return NodeID(name)


async def make_edge_node(cloud: "Controlled") -> NodeID:
    """A node that the controller knows to be an edge node, and whose Node rests.

    The controller manager writes to each new Node twice: it takes the taint away that the API
    server has put there, and notes how old Secrets may be.
    """
    node = await make_node(cloud.client)

    def rests(message: Message) -> bool:
        if message.resource != f"node/{node}/null/node/{node}":
            return False
        made = load(message.content)
        return not made["spec"].get("taints") and _TTL in made["metadata"].get("annotations", {})

    await cloud.hub.wait_for(rests)
    return node


async def make_pod(cloud: "Controlled", pod: dict[str, Any]) -> dict[str, Any]:
    """A pod that was sent to its node; as it is now."""
    metadata, node = pod["metadata"], pod["spec"]["nodeName"]
    namespace, name = metadata["namespace"], metadata["name"]
    await cloud.client.create(kinds.PODS.path(namespace), body(pod))
    sent = await cloud.hub.object(Operation.INSERT, f"node/{node}/{namespace}/pod/{name}")
    made: dict[str, Any] = load(sent.content)
    return made


@dataclass
class Hub:
    """The module that a controller sends to; it keeps what came, for the test to wait for."""

    bus: MessageContext
    seen: list[Message] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        while True:
            try:
                batch = await self.bus.receive_batch(ModuleName.CLOUD_HUB, limit=64)
            except MailboxClosedError:
                return
            async with self._arrived:
                self.seen += batch
                self._arrived.notify_all()

    async def wait_for(self, what: Callable[[Message], bool], *, since: int = 0) -> Message:
        """Return the first message from position ``since`` of which ``what`` is true."""
        async with asyncio.timeout(PATIENCE_S), self._arrived:
            while True:
                found = next((one for one in self.seen[since:] if what(one)), None)
                if found is not None:
                    return found
                await self._arrived.wait()

    async def object(self, operation: Operation, resource: str, *, since: int = 0) -> Message:
        """Return the first message of that operation about ``resource`` that is no answer."""
        return await self.wait_for(
            lambda m: not m.parent_id and (m.operation, m.resource) == (operation, resource),
            since=since,
        )

    async def ask(
        self, operation: Operation, resource: str, content: msgspec.Raw = NULL
    ) -> Message:
        """Send a message up, as a session would, and return the answer to it."""
        request = new("edged", GroupName.META, operation, resource, content)
        await self.bus.send(ModuleName.EDGE_CONTROLLER, request)
        return await self.wait_for(lambda m: m.parent_id == request.msg_id)

    async def connect(
        self, node: NodeID, protocol: PeerProtocol, capabilities: Iterable[Capability] = ()
    ) -> str:
        """Say that a node connected, as a session would; return the connection's id."""
        content = {"protocol": protocol, "capabilities": sorted(capabilities)}
        return await self.tell(Operation.CONNECTED, node, content)

    async def tell(self, operation: Operation, node: NodeID, content: Any = None) -> str:
        """Say something of a node as such; return the message's id."""
        message = new(
            ModuleName.CLOUD_HUB, GroupName.RESOURCE, operation, f"node/{node}", raw(content)
        )
        await self.bus.send(ModuleName.EDGE_CONTROLLER, message)
        return message.msg_id


@dataclass
class Controlled:
    """A controller at work, and what surrounds it."""

    client: KubeClient
    hub: Hub
    locations: LocationCache
    controller: EdgeController
    metrics: CloudMetrics
    health: Health


@asynccontextmanager
async def controlled(client: KubeClient) -> AsyncIterator[Controlled]:
    """Run an EdgeController on the real API server until the context ends; it is in step."""
    bus = MessageContext()
    bus.add_module(ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB)
    bus.add_module(ModuleName.EDGE_CONTROLLER, GroupName.EDGE_CONTROLLER)
    locations, health = LocationCache(), Health()
    metrics = CloudMetrics(CollectorRegistry())
    controller = EdgeController(bus, client, locations, metrics=metrics, health=health)
    hub = Hub(bus)
    async with asyncio.TaskGroup() as group:
        group.create_task(hub.run(), name="hub")
        running = group.create_task(controller.run(), name="controller")
        async with asyncio.timeout(PATIENCE_S):
            await controller.synced.wait()
        yield Controlled(client, hub, locations, controller, metrics, health)
        bus.close(ModuleName.EDGE_CONTROLLER)
        await running
        bus.close(ModuleName.CLOUD_HUB)
