"""Sends a node everything that it should have, in slices: to an edge that has no inventory.

A slice waits until the one before it has gone out, so that an edge is never sent more than it
takes, and no node fills the hub's mailbox. Each node has a task of its own meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.edgecontroller.sender import Sender, content_of
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.synccontroller.diff import SEND_ORDER, Item
from cloudcore.synccontroller.wanted import is_wanted, wanted
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.names import CLUSTER_SCOPE, NodeID, Operation

logger = logging.getLogger(__name__)

SLICE: Final = 32
"""Objects that are sent together: as many as a KubeEdge edge may have unacknowledged."""

LOOK_S: Final = 0.1
"""After this time it is first looked whether a slice has gone out, then after longer and longer."""

_LONGER: Final = 1.5
_LONGEST: Final = 20

FETCHED_AT_A_TIME: Final = 8


class Everything:
    """One for all nodes. A node that comes again begins anew."""

    def __init__(
        self,
        state: ClusterState,
        reader: ObjectReader,
        sender: Sender,
        backlog: Callable[[NodeID], int],
    ) -> None:
        """Send what ``state`` says; ``backlog`` tells how many objects wait for a node."""
        self._state, self._reader, self._sender = state, reader, sender
        self._backlog = backlog
        self._places = asyncio.Semaphore(FETCHED_AT_A_TIME)
        self._sending: dict[NodeID, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        """Be there for the tasks until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.Event().wait()

    def send(self, node: NodeID) -> None:
        """Begin to send ``node`` everything; it does not wait."""
        before = self._sending.pop(node, None)
        if before is not None:
            before.cancel()
        task = self._tasks.create_task(self._send(node), name=f"everything for {node}")
        self._sending[node] = task
        task.add_done_callback(lambda done: self._forget(node, done))

    def _forget(self, node: NodeID, task: asyncio.Task[None]) -> None:
        if self._sending.get(node) is task:
            del self._sending[node]

    async def _send(self, node: NodeID) -> None:
        state = self._state
        items = sorted(
            wanted(state, node, services=state.peers.is_own(node)),
            key=lambda item: (SEND_ORDER[item.resource_type], item.key),
        )
        for start in range(0, len(items), SLICE):
            for item in items[start : start + SLICE]:
                await self._send_one(node, item)
            if start + SLICE < len(items):
                await self._until_sent(node)
            if state.peers.get(node) is None:
                return  # it is sent everything when it comes again
        self._sender.metrics.resyncs.inc("everything")
        logger.info("node brought in step", extra={"node": node, "objects": len(items)})

    async def _until_sent(self, node: NodeID) -> None:
        policy = BackoffPolicy(LOOK_S, _LONGER, _LONGEST * LOOK_S, jitter=0.2)
        looks = Backoff(policy)
        while True:
            await asyncio.sleep(looks.next_s())  # before the first look: the hub takes its time
            if self._backlog(node) < SLICE:
                return

    async def _send_one(self, node: NodeID, item: Item) -> None:
        try:
            async with self._places:
                one = await self._reader.read(item.resource_type, item.key)
        except RemoteError as error:
            if error.status.is_not_found:
                return  # deleted meanwhile, which is told by itself
            self._sender.metrics.dropped.inc("resync_failed")
            logger.warning(  # the edge asks for it by itself
                "cannot read an object to resync",
                extra={"node": node, "key": "/".join(item.key), "code": error.status.code},
            )
            return
        if not is_wanted(self._state, node, item, one):
            return  # as a slice may wait long: another one by now, or another node's
        delivery = delivery_of(node, Operation.UPDATE, item)
        await self._sender.send_object(delivery, *content_of(one))


def delivery_of(node: NodeID, operation: Operation, item: Item) -> Delivery:
    """Return how to tell ``node`` what it should hold."""
    namespace = item.key.namespace or CLUSTER_SCOPE
    return Delivery(node, operation, item.resource_type, namespace, item.key.name, is_restated=True)
