"""Sends a node the difference between what it holds and what it should.

An edge takes nothing for deleted that it is not told so, and it is told only after a request for
the very object has confirmed it. How much may be deleted at a time: ``holds``.
"""

import logging
from collections.abc import Sequence

from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.sender import Sender, content_of, skeleton
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import PodView
from cloudcore.synccontroller.diff import Item, diff
from cloudcore.synccontroller.everything import delivery_of
from cloudcore.synccontroller.guard import Plan
from cloudcore.synccontroller.holds import Holds
from cloudcore.synccontroller.wanted import is_wanted, wanted
from common.errors import RemoteError
from common.names import NodeID, Operation, ResourceType

logger = logging.getLogger(__name__)


class Comparison:
    """One for all nodes."""

    def __init__(
        self, state: ClusterState, reader: ObjectReader, sender: Sender, holds: Holds
    ) -> None:
        """Compare with ``state``; ``reader`` confirms what it lacks."""
        self._state, self._reader = state, reader
        self._sender, self._holds = sender, holds

    async def compare(self, node: NodeID, held: Sequence[Item]) -> dict[str, int]:
        """Send ``node`` what it lacks and take back what it should not have.

        Args:
            node: one of our own.
            held: all that it has.

        Returns:
            ``{"updated": n, "deleted": m}``, when everything is on its way.

        Raises:
            RemoteError: the API server cannot be asked. Then the edge keeps what it has.
        """
        difference = diff(held, wanted(self._state, node, services=self._state.peers.is_own(node)))
        gone, found = await self._judge(node, difference.gone)
        kept: set[tuple[ResourceType, str, str]] = set()
        if node in self._holds.admit({node: self._plan(node, held, gone)}):
            kept, gone = {_name(one) for one in gone}, []
        for item in gone:
            await self._withdraw(node, item)
        updated = 0
        for item, one in found:
            updated += await self._send_found(node, item, one)
        for operation, item in difference.send:
            # A new object of that name would end the one that is kept.
            if _name(item) not in kept:
                updated += await self._send_wanted(node, operation, item)
        if not kept:
            await self._holds.settled(node)
        self._sender.metrics.resyncs.inc("inventory")
        self._sender.metrics.resync_deletions.inc(len(gone))
        logger.info(
            "inventory answered",
            extra={"node": node, "held": len(held), "updated": updated, "deleted": len(gone)},
        )
        return {"updated": updated, "deleted": len(gone)}

    async def _judge(
        self, node: NodeID, superfluous: Sequence[Item]
    ) -> tuple[list[Item], list[tuple[Item, RawObject]]]:
        """Return what is gone, and what the caches lack but the API server has."""
        gone: list[Item] = []
        found: list[tuple[Item, RawObject]] = []
        for item in superfluous:
            if found and item.resource_type is not ResourceType.POD:
                continue  # pods that we do not know of may name it
            one = await self._find(node, item)
            if one is None:
                gone.append(item)
            else:
                found.append((item, one))
        return gone, found

    async def _find(self, node: NodeID, item: Item) -> RawObject | None:
        """Return the object that the node holds, if it may go on holding it.

        A pod is asked for by name, and so is what the node's pods name; for what they do not name
        it does not matter whether it exists.
        """
        followed = self._state.followed(item.resource_type)
        assert followed is not None
        if item.resource_type is not ResourceType.POD and not self._is_needed(node, item):
            return None
        try:
            one = await self._reader.fetch(followed, item.key)
        except RemoteError as error:
            if error.status.is_not_found:
                return None
            raise
        if one.view.metadata.uid != item.uid:
            return None
        is_elsewhere = isinstance(one.view, PodView) and one.view.node != node
        return None if is_elsewhere else one

    def _is_needed(self, node: NodeID, item: Item) -> bool:
        locations = self._state.locations
        if item.resource_type is ResourceType.SERVICE:
            return locations.needs_service(node, item.key)
        return locations.names(node, item.resource_type, *item.key)

    def _plan(self, node: NodeID, held: Sequence[Item], gone: Sequence[Item]) -> Plan:
        pods = sum(one.resource_type is ResourceType.POD for one in held)
        ended = sum(one.resource_type is ResourceType.POD for one in gone)
        named = sum(
            self._state.locations.names(node, one.resource_type, *one.key)
            for one in gone
            if one.resource_type is not ResourceType.POD
        )
        return Plan(pods, ended, ended + named)

    async def _send_wanted(self, node: NodeID, operation: Operation, item: Item) -> int:
        """Send an object that the node should have; return how many were sent."""
        try:
            one = await self._reader.read(item.resource_type, item.key)
        except RemoteError as error:
            if error.status.is_not_found:
                return 0  # deleted meanwhile, which is told by itself
            raise
        if not is_wanted(self._state, node, item, one):
            return 0  # another one, or another node's by now, which is told by itself
        await self._send(node, operation, item, one)
        return 1

    async def _send_found(self, node: NodeID, item: Item, one: RawObject) -> int:
        followed = self._state.followed(item.resource_type)
        assert followed is not None
        newest = self._reader.newest(followed, one)
        if newest is None or newest.view.metadata.uid != item.uid:
            return 0  # deleted meanwhile, which is told by itself
        await self._send(node, Operation.UPDATE, item, newest)
        return 1

    async def _send(self, node: NodeID, operation: Operation, item: Item, one: RawObject) -> None:
        await self._sender.send_object(delivery_of(node, operation, item), *content_of(one))

    async def _withdraw(self, node: NodeID, item: Item) -> None:
        followed = self._state.followed(item.resource_type)
        assert followed is not None
        delivery = delivery_of(node, Operation.DELETE, item)
        kind = followed.kind
        content = skeleton(kind.kind, kind.api_version, delivery, item.uid)
        await self._sender.send_object(delivery, content, "")


def _name(item: Item) -> tuple[ResourceType, str, str]:
    return (item.resource_type, *item.key)
