"""Notices a node that holds something else than it should, though all it was sent has arrived.

A digest that differs means little: what changed a moment ago is still on its way. So the edge is
asked for another one with its next beat. Only where both sides say again what they said, and
nothing is under way to the node, something has gone wrong that nobody knows of.

A node that is compared in the midst of a connection may yet take in what was under way, and is not
wanted any more. So its next digest is looked at as well, and a difference then is no surprise.
"""

import logging
from typing import NamedTuple

from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.metrics import CloudMetrics
from cloudcore.synccontroller.diff import Item
from cloudcore.synccontroller.doubts import Doubts
from cloudcore.synccontroller.report import parse_hash
from cloudcore.synccontroller.requests import ask_digest
from cloudcore.synccontroller.wanted import wanted
from common.errors import RemoteError
from common.inventory import Row, content_hash, digest, to_hex
from common.names import CLUSTER_SCOPE, NodeID

logger = logging.getLogger(__name__)


class _Suspicion(NamedTuple):
    connection: str
    theirs: int
    ours: int


class Digests:
    """Compares digests, and remembers those that differed once."""

    def __init__(
        self,
        state: ClusterState,
        reader: ObjectReader,
        sender: Sender,
        doubts: Doubts,
        metrics: CloudMetrics,
    ) -> None:
        """Compare with ``state``; put who differs for good into ``doubts``."""
        self._state, self._reader, self._sender = state, reader, sender
        self._doubts, self._metrics = doubts, metrics
        self._suspicions: dict[NodeID, _Suspicion] = {}
        self._unconfirmed: set[NodeID] = set()  # compared, with who knows what under way
        self._repeated: set[NodeID] = set()  # to be compared a second time for that reason

    async def confirm(self, node: NodeID) -> None:
        """Have ``node``, which was compared just now, say a digest when all that was has arrived.

        Where that differs it is compared once more; only what differs then is a divergence.
        """
        if node in self._repeated:
            self._repeated.discard(node)
            return
        self._unconfirmed.add(node)
        await ask_digest(self._sender, node)

    async def expected(self, node: NodeID) -> int:
        """Return the digest of what ``node``, one of our own, should have.

        Bodies that are not kept are fetched. What is deleted meanwhile counts no more.

        Raises:
            RemoteError: the API server cannot be asked for a body.
        """
        items = list(wanted(self._state, node, services=True))
        rows = [_row(one, one.version, one.content) for one in items if one.content is not None]
        for item in items:
            if item.content is None:
                rows += await self._fetched(item)
        return digest(rows)

    async def check(self, node: NodeID, connection: str, theirs: str, *, is_quiet: bool) -> None:
        """Compare what a beat says with what ``node`` should have; see the module.

        Args:
            node: who has beaten.
            connection: the id of its connection: another one begins anew.
            theirs: the digest, 16 hexadecimal digits.
            is_quiet: nothing waits for, or awaits acknowledgement by, the node.
        """
        try:
            now = _Suspicion(connection, parse_hash(theirs), await self.expected(node))
        except (RemoteError, ValueError) as error:
            logger.info("digest cannot be compared", extra={"node": node, "reason": str(error)})
            return
        before = self._suspicions.pop(node, None)
        if now.theirs == now.ours:
            self._unconfirmed.discard(node)
            return
        if before == now and is_quiet and node in self._unconfirmed:
            self._unconfirmed.discard(node)
            self._repeated.add(node)
            self._doubts.add([node])
            return
        if before == now and is_quiet:
            self._metrics.divergence.inc()
            logger.warning(
                "node holds something else than it should: it is asked for its inventory",
                extra={"node": node, "digest": theirs, "expected": to_hex(now.ours)},
            )
            self._doubts.add([node])
            return
        self._suspicions[node] = now
        await ask_digest(self._sender, node)

    def forget(self, node: NodeID) -> None:
        """Begin anew with ``node``, which has just been compared or cannot be."""
        self._suspicions.pop(node, None)

    async def _fetched(self, item: Item) -> list[Row]:
        try:
            one = await self._reader.read(item.resource_type, item.key)
        except RemoteError as error:
            if error.status.is_not_found:
                return []
            raise
        metadata = one.view.metadata
        if metadata.uid != item.uid:
            return []  # replaced, which is told by itself
        return [_row(item, metadata.resourceVersion, content_hash(one.raw))]


def _row(item: Item, version: str, content: int) -> Row:
    namespace = item.key.namespace or CLUSTER_SCOPE
    return Row(item.resource_type, namespace, item.key.name, item.uid, version, content)
