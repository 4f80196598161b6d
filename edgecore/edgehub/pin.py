"""Which cluster this edge belongs to: that of the first cloud it met, until it is told otherwise.

A cloud of another cluster knows nothing of the pods here, and would have them all end: one that was
made anew under the old address, say, or restored from the backup of another. Such a cloud is told
so and left, before anything else is said; the edge goes on as it does without a link.

Clusters are told apart by the UID of their namespace ``kube-system``. A cloud that names none, as
KubeEdge's do, is taken for the right one: there is nothing else to go by.
"""

import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

from common.errors import StoreError
from edgecore.edgehub.link import NOT_OURS, LinkLostError
from edgecore.edgehub.network import Dial, OpenLink

logger = logging.getLogger(__name__)

CLUSTER_STATE: Final = "cluster"
"""Key of the state that holds the UID."""


class Memory(Protocol):
    """What outlives the process; ``edgecore.edgestore.store.EdgeStore``."""

    async def state(self, key: str) -> str | None:
        """Return what is kept under ``key``."""

    async def set_state(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key``, durably."""


class Membership:
    """Knows the cluster that this edge belongs to, and refuses all others."""

    def __init__(self, memory: Memory, accepted: str = "") -> None:
        """Belong to the cluster that ``memory`` names.

        Args:
            memory: must be open when ``admit`` is called.
            accepted: UID of another cluster that this edge may change over to; "" for none.
        """
        self._memory, self._accepted = memory, accepted
        self._cluster: str | None = None  # as far as it was read

    async def admit(self, named: str) -> None:
        """Return if the cloud of cluster ``named`` may be listened to, which is then kept.

        Raises:
            AnotherClusterError: it is another one's; the text says what to do.
            LinkLostError: the store does not say which cluster is ours.
        """
        try:
            own = self._cluster or await self._memory.state(CLUSTER_STATE)
        except StoreError as error:
            text = f"it is not known which cluster this edge belongs to: {error}"
            raise LinkLostError("store_error", text) from error
        if own and named not in (own, self._accepted):
            raise AnotherClusterError(own, named)
        self._cluster = named
        if named != own:
            await self._keep(named, own)

    async def _keep(self, named: str, own: str | None) -> None:
        fields = {"cluster": named, "before": own or "none"}
        logger.info("this edge belongs to this cluster from now on", extra=fields)
        try:
            await self._memory.set_state(CLUSTER_STATE, named)
        except StoreError as error:  # nothing can be stored: no reason to be without a link
            logger.warning("the cluster cannot be stored", extra={"error": str(error)})


class AnotherClusterError(LinkLostError):
    """The cloud is one of another cluster."""

    def __init__(self, own: str, named: str) -> None:
        """Say which is ours, and which the cloud's."""
        super().__init__("another_cluster", _advice(own, named))
        self.own = own


class Pin:
    """Dials, and lets only clouds of one cluster in."""

    def __init__(self, dial: Dial, memory: Memory, accepted: str = "") -> None:
        """Make connections by ``dial``; the rest as for ``Membership``."""
        self._dial, self._membership = dial, Membership(memory, accepted)

    @asynccontextmanager
    async def dial(
        self, uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
    ) -> AsyncIterator[OpenLink]:
        """Open a connection to a cloud of this edge's cluster; a ``Dial``.

        Raises:
            LinkLostError: there is none, or it is another cluster's; the text says what to do.
        """
        async with self._dial(uri, headers, tls, handshake_s=handshake_s) as link:
            await self._admit(link)
            yield link

    async def _admit(self, link: OpenLink) -> None:
        if not link.cluster:
            return
        try:
            await self._membership.admit(link.cluster)
        except AnotherClusterError as error:
            await link.close(NOT_OURS, f"this edge belongs to cluster {error.own}")
            raise


def _advice(own: str, named: str) -> str:
    return (
        f"this edge belongs to cluster {own}, and the cloud to {named}: nothing of it is taken."
        f" If the edge is to change over, and lose its pods, start it with --accept-cluster {named}"
    )
