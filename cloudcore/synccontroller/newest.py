"""Sees to it that no edge is compared with caches that are older than what it holds.

A cloudcore that is behind would take what is new for superfluous. So the edge names the highest
version that it has of each type, and waits until the cache is as far. Where the API server itself
is not as far, etcd was restored from a backup, and the edge has to follow.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from cloudcore.edgecontroller.epochs import Epochs
from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import ListWatch
from cloudcore.kube.views import number_of
from common.errors import RemoteError
from common.names import NodeID
from common.status import failure

CATCH_UP_S: Final = 10.0
"""How long an edge waits for a cache that is behind; then it is to come back."""


class Newest:
    """One for all edges."""

    def __init__(
        self, client: KubeClient, state: ClusterState, progress: Progress, epochs: Epochs
    ) -> None:
        """Compare with the caches of ``state``; note in ``epochs`` who is ahead of the cluster."""
        self._client, self._state = client, state
        self._progress, self._epochs = progress, epochs

    async def await_caches(self, node: NodeID, newest: Mapping[str, str]) -> None:
        """Return when the caches are as far as ``node``, or the API server is not.

        Args:
            node: who has the versions.
            newest: the highest version by type.

        Raises:
            RemoteError: 503, a cache is behind for longer, or the API server cannot be asked.
        """
        ahead = 0
        for resource_type, version in newest.items():
            followed, number = self._state.followed(resource_type), number_of(version)
            if followed is None or number <= followed.cache.version:
                continue
            if await ListWatch(self._client, followed.kind).present_version() < number:
                ahead = max(ahead, number)
            else:
                await self._catch_up(followed, number)
        if ahead:
            self._epochs.note(node, ahead)

    async def _catch_up(self, followed: Followed, number: int) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._progress.until(lambda: followed.cache.version >= number)
        except TimeoutError:
            raise RemoteError(
                failure(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"cloudcore has not seen version {number} of {followed.kind.plural} yet",
                )
            ) from None
