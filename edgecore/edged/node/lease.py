"""The node's lease: the sign that edged lives, renewed every few seconds while it does.

A cloud of ours renews it by itself, as long as the link's signs of life say that edged does its
work; then nothing is done here.

Source: https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

from common.beehive.message import raw
from common.clock import Clock, parse_rfc3339, rfc3339_micro
from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import NODE_LEASE_NAMESPACE, Operation, ResourceType
from common.resource import build_resource
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object
from edgecore.edged.requests import Answer, Link, Requests

logger = logging.getLogger(__name__)

DURATION_S: Final = 40
_RETRY: Final = BackoffPolicy(first_s=0.5, cap_s=10.0)


class Lease:
    """Renews the lease while edged makes progress, over a link that does not do so by itself."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        requests: Requests,
        link: Link,
        clock: Clock,
        node: str,
        period_s: float,
    ) -> None:
        """Args: node: its holder; period_s: seconds between two renewals."""
        self._requests, self._link, self._clock = requests, link, clock
        self._node, self._period_s = node, period_s
        self._lease: Object | None = None
        self._resource = build_resource(
            "", NODE_LEASE_NAMESPACE, ResourceType.LEASE, node, edge_site=True
        )
        self._retry = Backoff(_RETRY)
        self.node_uid = ""
        """UID of the Node, which owns the lease; empty until it is known."""
        self.makes_progress: Callable[[], Awaitable[bool]] = _always
        """Asked before each renewal."""
        self._renewer = OnDemand(tasks, "lease", self._step)

    def wake(self) -> None:
        """Renew now: there is another link."""
        self._renewer.wake()

    def close(self) -> None:
        """Renew no more."""
        self._renewer.close()

    async def _step(self) -> float | None:
        if not self._link.connected or self._link.has_beats:
            return None
        if not await self.makes_progress():
            logger.warning("edged makes no progress: its lease is not renewed")
            return self._period_s
        if self._lease is None:
            answer = await self._requests.ask(Operation.QUERY, self._resource)
            if not answer.ok and not answer.not_found:
                return self._failed(answer)
            self._lease = answer.obj  # empty where there is none yet
        operation = Operation.UPDATE if self._lease else Operation.INSERT
        lease = renewed(self._lease, self._node, self._clock.now())
        answer = await self._requests.ask(operation, self._resource, raw(self._owned(lease)))
        if not answer.ok:
            return self._failed(answer)
        self._lease = answer.obj or lease
        self._retry.reset()
        return self._period_s

    def _owned(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Return ``lease`` as a part of the Node, which it goes with."""
        if not self.node_uid:
            return lease
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": self.node_uid}
        return {**lease, "metadata": {**lease["metadata"], "ownerReferences": [owner]}}

    def _failed(self, answer: Answer) -> float:
        assert answer.status is not None
        if answer.status.is_conflict or answer.not_found:
            self._lease = None  # somebody else wrote it, or it is gone: look first
        logger.debug("lease not renewed", extra={"why": answer.status.message})
        return self._retry.next_s()


async def _always() -> bool:
    return True


def renewed(lease: Object, node: str, now: datetime) -> dict[str, Any]:
    """Return ``lease`` renewed at ``now``, or later: its time never stands still or goes back."""
    spec = lease.get("spec") or {}
    metadata = lease.get("metadata") or {"name": node, "namespace": NODE_LEASE_NAMESPACE}
    if before := spec.get("renewTime"):
        now = max(now, parse_rfc3339(before) + timedelta(microseconds=1))
    return {
        **lease,
        "metadata": metadata,
        "spec": {
            **spec,
            "holderIdentity": node,
            "leaseDurationSeconds": DURATION_S,
            "renewTime": rfc3339_micro(now),
        },
    }
