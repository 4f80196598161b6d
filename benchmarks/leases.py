"""How long it takes from a node's beat until the API server shows its lease renewed."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Final

from benchmarks.fleet import Fleet
from common.clock import parse_rfc3339
from common.names import NODE_LEASE_NAMESPACE, NodeID
from deploy.devcluster.api import Api

_LEASES: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NODE_LEASE_NAMESPACE}/leases"


class LeaseWatch:
    """Follows the leases of a fleet's nodes; only the oldest beat that is not served yet counts."""

    def __init__(self, fleet: Fleet) -> None:
        """Take note of the fleet's beats from now on."""
        self._beats: dict[NodeID, deque[float]] = defaultdict(deque)
        self.seconds: list[float] = []
        """From each beat until its renewal was seen."""
        self._wanted: set[NodeID] = set()
        self._all_renewed = asyncio.Event()
        fleet.on_beat = self._note_beat

    async def until_renewed(self, nodes: Iterable[NodeID]) -> None:
        """Return when a renewal of each of ``nodes`` was seen."""
        self._wanted = set(nodes)
        self._all_renewed.clear()
        await self._all_renewed.wait()

    def longest_open_s(self) -> float:
        """Return how long the oldest beat has waited that no renewal was seen for."""
        now = time.time()
        return max((now - beats[0] for beats in self._beats.values() if beats), default=0.0)

    def note_renewal(self, node: NodeID, renewed: datetime, seen: float) -> None:
        """Take in that the lease of ``node`` was ``renewed``, as was ``seen`` at that time."""
        self._wanted.discard(node)
        if not self._wanted:
            self._all_renewed.set()
        beats = self._beats.get(node)
        if not beats or renewed.timestamp() < beats[0]:
            return
        self.seconds.append(seen - beats[0])
        while beats and beats[0] <= renewed.timestamp():
            beats.popleft()

    def _note_beat(self, node: NodeID) -> None:
        self._beats[node].append(time.time())


@asynccontextmanager
async def watched_leases(api: Api, fleet: Fleet) -> AsyncIterator[LeaseWatch]:
    """Follow the leases while the context lasts."""
    version = await api.version(_LEASES)
    watch = LeaseWatch(fleet)  # not before: it would wait for renewals that the version has

    async def follow() -> None:
        async with aclosing(api.follow(_LEASES, version)) as leases:
            async for lease in leases:
                renewed = parse_rfc3339(lease["spec"]["renewTime"])
                watch.note_renewal(NodeID(lease["metadata"]["name"]), renewed, time.time())

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow(), name="leases")
        yield watch
        following.cancel()
