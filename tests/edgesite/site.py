"""What tests of the link share: a bus with its modules, of which the test plays most."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.message import NULL, Message, new, raw
from common.clock import Clock
from common.metrics import Figures
from common.names import UID, GroupName, ModuleName, NodeID, Operation
from common.wire import loads
from edgecore.metrics import EdgeMetrics
from edgesite.link import Link, Surroundings
from edgesite.presence import Presence

NODE = NodeID("site-1")
LIMIT_S = 20.0


class Pods:
    """Locations of one pod, ``default/web``, which names the ConfigMap ``greeting``."""

    def names(self, node: NodeID, resource_type: str, namespace: str, name: str) -> bool:
        return (node, resource_type, namespace, name) == (NODE, "configmap", "default", "greeting")

    def pod_node(self, namespace: str, name: str) -> NodeID | None:
        return NODE if (namespace, name) == ("default", "web") else None

    def pod_uid(self, namespace: str, name: str) -> UID | None:
        return UID("p1") if (namespace, name) == ("default", "web") else None


class Bench:
    """A bus on which the test is the controller and MetaManager."""

    def __init__(self, *, capacity: int = 1024) -> None:
        figures, self.bus = Figures(), MessageContext()
        self.cloud, self.edge = CloudMetrics(figures), EdgeMetrics(figures)
        self.may_connect = asyncio.Event()
        self.silence_s = 0.0
        self.refusals: list[Exception] = []
        """Raised, one after the other, by who is asked for admission."""
        for name, group in (
            (ModuleName.EDGE_CONTROLLER, GroupName.EDGE_CONTROLLER),
            (ModuleName.META_MANAGER, GroupName.META),
            (ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB),
            (ModuleName.EDGE_HUB, GroupName.HUB),
        ):
            self.bus.add_module(name, group, capacity=capacity)
        around = Surroundings(
            self.bus,
            NODE,
            Pods(),
            self.cloud,
            self.edge,
            self._admit,
            Clock(),
            "https://api",
            lambda: self.silence_s,
        )
        self.link = Link(around)
        self.presence = Presence(around, self.link)

    async def _admit(self) -> None:
        await self.may_connect.wait()
        if self.refusals:
            raise self.refusals.pop(0)

    async def at_controller(self) -> Message:
        async with asyncio.timeout(LIMIT_S):
            return await self.bus.receive(ModuleName.EDGE_CONTROLLER)

    async def at_edge(self) -> Message:
        async with asyncio.timeout(LIMIT_S):
            return await self.bus.receive(ModuleName.META_MANAGER)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[str]:
        """Be connected; yield the id of the connection."""
        self.may_connect.set()
        async with asyncio.TaskGroup() as tasks:
            staying = tasks.create_task(self.presence.run())
            hello = await self.at_controller()
            assert (await self.at_edge()).operation is Operation.CONNECT
            yield hello.msg_id
            staying.cancel()


def request(operation: Operation, resource: str, content: object = None) -> Message:
    """A message of MetaManager."""
    said = NULL if content is None else raw(content)
    return new(ModuleName.META_MANAGER, GroupName.META, operation, resource, said)


def told(operation: Operation, resource: str, content: object = None) -> Message:
    """A message of the controller."""
    said = NULL if content is None else raw(content)
    return new(ModuleName.EDGE_CONTROLLER, GroupName.RESOURCE, operation, resource, said)


def content_of(message: Message) -> Any:
    return loads(message.content)
