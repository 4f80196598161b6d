"""The API server of a site: whether it may be listened to, and since when it is silent."""

import asyncio
from collections.abc import Callable

from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from cloudcore.kube.figures import RequestFigures
from common.errors import RemoteError
from common.health import Health
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.pin import Membership


class ApiServer:
    """Made before the controller, which is told of here by ``synced``."""

    def __init__(
        self,
        client: KubeClient,
        asked: RequestFigures,
        membership: Membership,
        synced: Callable[[], asyncio.Event],
        monotonic: Callable[[], float],
    ) -> None:
        """Know it by ``client``.

        Args:
            client: asks it.
            asked: what ``client`` notes of that.
            membership: which cluster it has to be of.
            synced: returns what is set when the controller's caches are in step.
            monotonic: the clock of ``asked``.
        """
        self._client, self._asked, self._membership = client, asked, membership
        self._synced, self._monotonic = synced, monotonic
        self.caches = Health()
        """What the controller says of its caches: the site is ready without."""

    async def admit(self) -> None:
        """Return when what it says may be listened to.

        Raises:
            LinkLostError: it is of another cluster than what is stored, or that cannot be found out
                now; the text says what to do.
        """
        await self._synced().wait()
        try:
            cluster = await read_cluster_uid(self._client)
        except RemoteError as error:
            raise LinkLostError("api_server", str(error)) from error
        await self._membership.admit(cluster)

    def silence_s(self) -> float:
        """Return the seconds since it answered anything; may be called in any thread."""
        answered_s = self._asked.answered_s
        return 0.0 if answered_s is None else self._monotonic() - answered_s

    def tell(self) -> str:
        """Return how it does, in words; may be called in any thread."""
        problems = "; ".join(self.caches.problems())
        return problems or f"answered {self.silence_s():.0f} s ago"
