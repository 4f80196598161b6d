"""Brings in the pods that a node had before it became an edge node.

Their bodies were not kept, as they concerned nobody. Until they are known, nobody knows what the
node should hold: whoever holds something is compared once they are.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import ListWatch, RawObject
from cloudcore.kube.views import PodView
from cloudcore.synccontroller.doubts import Doubts
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.names import NodeID

logger = logging.getLogger(__name__)


class Adoption:
    """Knows which nodes wait for their pods to be brought in, and brings them in."""

    def __init__(
        self,
        client: KubeClient,
        state: ClusterState,
        turn: asyncio.Lock,
        take: Callable[[Followed, Change], Awaitable[None]],
        doubts: Doubts,
    ) -> None:
        """List pods by ``client``.

        Args:
            client: of the API server.
            state: says which nodes are edge nodes, and keeps the pods.
            turn: held by whoever takes changes of pods.
            take: takes one in; called with ``turn`` held.
            doubts: hears of nodes that are to be compared.
        """
        self._client, self._state = client, state
        self._turn, self._take, self._doubts = turn, take, doubts
        self._strayed: set[NodeID] = set()
        """Nodes whose pods are not known at present, and which may hold what ended meanwhile."""
        self._adopting: set[NodeID] = set()
        """New edge nodes, the pods of which are being brought in."""

    def begin(self, node: NodeID) -> None:
        """Note that ``node`` has become an edge node; ``adopt`` follows."""
        self._adopting.add(node)

    def lost(self, node: NodeID, *, exists: bool) -> None:
        """Note that ``node`` is no edge node now; called before its location is removed.

        Args:
            node: which one.
            exists: it still has a Node.
        """
        is_away = self._state.peers.get(node) is None
        if self._state.locations.is_edge_node(node) or (exists and is_away):
            self._strayed.add(node)
        elif is_away:  # whoever comes is compared anyway
            self._strayed.discard(node)
        self._adopting.discard(node)

    def note_stray(self, node: NodeID) -> None:
        """Have ``node``, which holds something, compared when it is an edge node with its pods.

        Until then nobody knows what it should hold. Where it is one, this does nothing.
        """
        if not self._state.locations.is_edge_node(node) or node in self._adopting:
            self._strayed.add(node)

    async def adopt(self, node: NodeID) -> None:
        """Bring in the pods of ``node``; try until it is done, or it is no edge node any more."""
        backoff = Backoff(BackoffPolicy())
        while self._state.locations.is_edge_node(node):
            try:
                bodies = await self._pods_bound_to(node)
            except RemoteError as error:
                logger.warning(
                    "cannot list the pods of a new edge node",
                    extra={"node": node, "code": error.status.code},
                )
                await asyncio.sleep(backoff.next_s())
                continue
            for one in bodies:
                async with self._turn:
                    await self._bring_in(one)
            self._adopting.discard(node)
            if node in self._strayed:
                self._strayed.discard(node)
                self._doubts.add([node])
            return

    async def _bring_in(self, one: RawObject) -> None:
        """Take in a pod that was listed for its node, unless it is known or is another by now."""
        pods, locations = self._state.pods, self._state.locations
        pods.cache.keep(one)
        key = one.view.metadata.key
        # A list of all pods, made at the same time, may have kept it already, which is no change.
        kept = pods.cache.get(key)
        if kept is None or locations.pod_uid(*key) == kept.view.metadata.uid:
            return
        # Where the node is no edge node any more, this does nothing.
        await self._take(pods, Change(ChangeType.ADDED, key, kept.view.metadata.uid, kept, None))

    async def _pods_bound_to(self, node: NodeID) -> list[RawObject]:
        """List consistently what is bound to ``node``, as ``ListWatch`` would."""
        selector = {"fieldSelector": f"spec.nodeName={node}"}
        return await ListWatch(
            self._client, self._state.pods.kind, view=PodView, selector=selector
        ).list_all()
