"""Keeps comparisons from doing great damage, says so, and lets people release what is held.

Which are held: ``guard``. A node is released by an annotation on its Node, and the annotation is
taken away once the node is in step::

    kubectl annotate node edge-1 cloudedge.io/release-resync=true
    kubectl annotate nodes -l node-role.kubernetes.io/edge cloudedge.io/release-resync=true
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.views import NodeView
from cloudcore.metrics import CloudMetrics
from cloudcore.synccontroller.guard import Guard, Plan
from common.errors import RemoteError
from common.names import NodeID

logger = logging.getLogger(__name__)

RELEASE: Final = "cloudedge.io/release-resync"
"""The annotation on a Node; its value is ``true``."""

_IS_RELEASED: Final = "true"
_HELD: Final = (
    "resync held: nothing is deleted on this node; if it is right,"
    f" annotate the Node with {RELEASE}={_IS_RELEASED}"
)
_NO_RELEASE: Final = msgspec.json.encode({"metadata": {"annotations": {RELEASE: None}}})


class Holds:
    """One for all comparisons of a cloudcore."""

    def __init__(self, client: KubeClient, locations: LocationCache, metrics: CloudMetrics) -> None:
        """Hold nothing yet; ``locations`` tells how many edge nodes there are."""
        self._client, self._locations, self._metrics = client, locations, metrics
        self._guard = Guard()
        self._kept_back: frozenset[NodeID] = frozenset()

    def admit(self, plans: Mapping[NodeID, Plan]) -> frozenset[NodeID]:
        """Return on which nodes nothing of what ``plans`` say may be deleted."""
        before = set(self._guard.held)
        now_s = asyncio.get_running_loop().time()
        held = self._guard.admit(plans, len(self._locations.nodes()), now_s)
        self._metrics.held_resyncs.set(len(self._guard.held))
        for node, reason in held.items():
            if node not in before:
                logger.error(_HELD, extra={"node": node, "reason": reason})
        return frozenset(held)

    def keep_back(self, nodes: frozenset[NodeID]) -> None:
        """Note which nodes keep something that is known to be deleted, all of them."""
        self._kept_back = nodes

    def is_held(self, node: NodeID) -> bool:
        """Whether something is kept on ``node`` that should not be there."""
        return node in self._guard.held or node in self._kept_back

    def is_released(self, node: NodeID) -> bool:
        """Whether whatever is deleted on ``node`` is right."""
        return self._guard.is_released(node)

    def note(self, view: NodeView) -> bool:
        """Look at a Node as it is now; return whether it has been released just now."""
        node = NodeID(view.metadata.name)
        is_asked = view.metadata.annotations.get(RELEASE) == _IS_RELEASED
        if is_asked and not self._guard.is_released(node):
            logger.warning("resync released", extra={"node": node})
            self._guard.release(node)
            self._metrics.held_resyncs.set(len(self._guard.held))
            return True
        if not is_asked and self._guard.is_released(node):
            self._guard.settled(node)  # another cloudcore has brought it in step
        return False

    def forget(self, node: NodeID) -> None:
        """Hold nothing on ``node`` any more: it was deleted, and is compared anew if it returns."""
        self._kept_back -= {node}
        self._guard.settled(node)
        self._metrics.held_resyncs.set(len(self._guard.held))

    async def settled(self, node: NodeID) -> None:
        """Note that ``node`` was compared and told everything; its release is used up."""
        if node in self._kept_back:
            return
        was_released = self._guard.is_released(node)
        self._guard.settled(node)
        self._metrics.held_resyncs.set(len(self._guard.held))
        if not was_released:
            return
        try:
            await self._client.patch(
                kinds.NODES.path(name=node), _NO_RELEASE, content_type=MERGE_PATCH
            )
        except RemoteError as error:
            logger.warning(
                "cannot take away the annotation that releases the node",
                extra={"node": node, "code": error.status.code, "annotation": RELEASE},
            )
