"""Tells the nodes that need it of a change, marked where an edge would take it for old."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from cloudcore.edgecontroller.epochs import Epochs
from cloudcore.edgecontroller.routing import Delivery, route
from cloudcore.edgecontroller.sender import Sender, content_of, skeleton
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.cache import Change
from cloudcore.kube.views import number_of
from common.names import CLUSTER_SCOPE, UID, NodeID, Operation, ResourceType


class Distribution:
    """Sends states of objects; nothing before all caches are in step."""

    def __init__(
        self, state: ClusterState, sender: Sender, epochs: Epochs, synced: asyncio.Event
    ) -> None:
        """Say by ``state`` who needs an object.

        Args:
            state: with the locations, as they are after a change that is told.
            sender: the way out.
            epochs: which nodes hold versions from before a restore.
            synced: set when all first lists are complete. What nodes lack by then is found by
                comparison.
        """
        self._state, self._sender = state, sender
        self._epochs, self._synced = epochs, synced

    async def tell(self, followed: Followed, change: Change) -> None:
        """Send a change to all nodes that it concerns; wait while the hub's mailbox is full."""
        if not self._synced.is_set():
            return
        assert followed.resource_type is not None
        deliveries = self._wanted(route(followed.resource_type, change, self._state.locations))
        if not deliveries:
            return
        if change.now is not None:
            content, version = content_of(change.now)
        else:
            kind = followed.kind
            content = skeleton(kind.kind, kind.api_version, deliveries[0], change.uid)
            version = ""
        restated, plain = self._sorted_by_epoch(change, version, deliveries)
        await self._sender.send_to_all(plain, content, version)
        await self._sender.send_to_all(restated, content, version)

    async def tell_of_end(self, followed: Followed, node: NodeID, uid: UID) -> None:
        """Tell a node whose Node had lost the label that it is gone: it may register again."""
        if self._state.peers.get(node) is None:
            return
        delivery = Delivery(node, Operation.DELETE, ResourceType.NODE, CLUSTER_SCOPE, node)
        kind = followed.kind
        content = skeleton(kind.kind, kind.api_version, delivery, uid)
        await self._sender.send_object(delivery, content, "")

    def _sorted_by_epoch(
        self, change: Change, version: str, deliveries: Sequence[Delivery]
    ) -> tuple[list[Delivery], list[Delivery]]:
        """Return what has to be marked, as edges would take it for old, and the rest."""
        number, is_overtaken = number_of(version), self._epochs.is_overtaken
        restated = {
            one.node for one in deliveries if change.is_restored or is_overtaken(one.node, number)
        }
        return (
            [replace(one, is_restated=True) for one in deliveries if one.node in restated],
            [one for one in deliveries if one.node not in restated],
        )

    def _wanted(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Leave out services for KubeEdge's edges, which would not know them."""
        return [
            one
            for one in deliveries
            if one.resource_type is not ResourceType.SERVICE or self._state.peers.is_own(one.node)
        ]
