"""Which certificates are revoked: what the ledger says of revoked nodes, as it is at any moment.

Each cloudcore follows these records, so that a revocation ends connections on all of them within
the time that a watch event takes. While the API server is away, what was known last holds.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import msgspec

from cloudcore.kube import kinds
from cloudcore.kube.listwatch import (
    ListCompleted,
    ListStarted,
    ListWatch,
    ObjectChanged,
    ObjectDeleted,
    PageListed,
    RawObject,
    Source,
    WatchEvent,
)
from cloudcore.metrics import CloudMetrics
from cloudcore.trust import ledgerentry
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.ledgerentry import REVOKED_LABEL, DamagedRecord, Entry
from common.clock import rfc3339
from common.names import NodeID

logger = logging.getLogger(__name__)

_SELECTOR: Final = {
    "labelSelector": f"{REVOKED_LABEL}=true",
    "fieldSelector": f"metadata.namespace={NAMESPACE}",
}


class Revocations:
    """What is revoked, known from when ``ready`` has returned."""

    def __init__(self, source: Source, metrics: CloudMetrics) -> None:
        """Know nothing yet; ``run`` finds out from ``source``."""
        self._source, self._metrics = source, metrics
        self._entries: dict[NodeID, Entry] = {}
        self._listed: dict[NodeID, Entry] = {}  # by the list that is under way
        self._is_complete = asyncio.Event()

    async def ready(self) -> None:
        """Return when all that was revoked is known."""
        await self._is_complete.wait()

    def missing(self) -> str:
        """Return why it is not known yet what is revoked; empty once it is."""
        return "" if self._is_complete.is_set() else "are not listed yet"

    def is_revoked(self, node: NodeID, serial: int) -> bool:
        """Whether the certificate of ``node`` with that serial number counts no more."""
        entry = self._entries.get(node)
        return entry is not None and not entry.accepts(serial)

    async def run(self, on_change: Callable[[NodeID], None]) -> None:
        """Follow the records until cancelled.

        Args:
            on_change: called for each node of which something else is known than before, once that
                shows in ``is_revoked``.
        """
        stream = ListWatch(self._source, kinds.CONFIGMAPS, selector=_SELECTOR).events()
        async with aclosing(stream) as events:
            async for event in events:
                for node in self._apply(event):
                    on_change(node)

    def _apply(self, event: WatchEvent) -> list[NodeID]:
        """Take an event in; return the nodes that it says something new of."""
        match event:
            case ListStarted():
                self._listed = {}
                return []
            case PageListed(objects):
                for one in objects:
                    _add(one, self._listed)
                return []
            case ListCompleted():
                changed = self._replace(self._listed)
                self._listed = {}
                self._is_complete.set()
                return changed
            case ObjectChanged(one):
                known = dict(self._entries)
                _add(one, known)
                return self._replace(known)
            case ObjectDeleted(one):
                gone: dict[NodeID, Entry] = {}
                _add(one, gone)
                return self._replace(
                    {node: entry for node, entry in self._entries.items() if node not in gone}
                )
            case _:
                return []

    def _replace(self, entries: dict[NodeID, Entry]) -> list[NodeID]:
        before, self._entries = self._entries, entries
        shut_out = sum(entry.is_shut_out for entry in entries.values())
        self._metrics.revoked_nodes.set(shut_out)
        changed = [n for n in {**before, **entries} if before.get(n) != entries.get(n)]
        for node in changed:
            _tell(node, entries.get(node))
        return changed


def _add(one: RawObject, entries: dict[NodeID, Entry]) -> None:
    configmap = msgspec.json.decode(one.raw)
    if configmap["metadata"]["namespace"] != NAMESPACE:
        return
    try:
        node = ledgerentry.node_of(configmap)
    except DamagedRecord as error:
        logger.warning("a revocation cannot be read", extra={"reason": str(error)})
        return
    try:
        entries[node] = ledgerentry.entry_of(configmap)
    except DamagedRecord as error:
        # It has the label: somebody was to be shut out.
        logger.warning("a revocation cannot be read", extra={"node": node, "reason": str(error)})
        entries[node] = ledgerentry.SHUT_OUT


def _tell(node: NodeID, entry: Entry | None) -> None:
    if entry is None:
        logger.warning("a revocation is not there any more", extra={"node": node})
    elif entry.revoked_at is not None:
        logger.info(
            "certificates revoked",
            extra={
                "node": node,
                "at": rfc3339(entry.revoked_at),
                "good_since": len(entry.since),
            },
        )
