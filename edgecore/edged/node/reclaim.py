"""Relief for a node that is short of something: what nobody misses goes first, then a pod.

Source: Kubernetes pkg/kubelet/eviction/eviction_manager.go (synchronize).
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Protocol

from common.clock import Clock
from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.containerstatus import Rejection
from edgecore.edged.crashloop import latest
from edgecore.edged.node.eviction import REASON, PodUsage, Step, Usages, choose, next_step
from edgecore.edged.node.facts import Readings
from edgecore.edged.node.pressure import PressureWatch, Shortage
from edgecore.edged.podview import Object
from edgecore.edged.runtime.base import ContainerState, Runtime

if TYPE_CHECKING:
    from edgecore.edged.images.imagegc import ImageGC

logger = logging.getLogger(__name__)

PERIOD_S: Final = 10.0
"""Seconds between two looks, as kubelet's."""


class Tenant(Protocol):
    """A pod of this node, as far as it matters here."""

    uid: UID

    @property
    def pod(self) -> Object:
        """The pod."""

    @property
    def is_given_up(self) -> bool:
        """Whether it has to go already."""

    @property
    def has_ended(self) -> bool:
        """Whether it takes nothing any more."""

    def reject(self, rejection: Rejection) -> None:
        """Have it ended."""

    def disk_usage(self) -> PodUsage:
        """Return what it takes of the disk; blocks for as long as it takes to count."""


class Reclaimer:
    """Keeps one node from running out of something. One call at a time."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        watch: PressureWatch,
        readings: Callable[[], Readings],
        tenants: Callable[[], Collection[Tenant]],
        images: "ImageGC | None" = None,
    ) -> None:
        """Make it; nothing happens by itself.

        Args:
            runtime: what containers and their usage are in.
            clock: for graces and transitions.
            watch: what readings mean.
            readings: of the machine.
            tenants: the pods that there are.
            images: that may go; None where there are none.
        """
        self._runtime, self._clock, self._watch = runtime, clock, watch
        self._readings, self._tenants, self._images = readings, tenants, images

    async def look(self) -> None:
        """Look at the machine, and do what is due, until nothing is or a pod was evicted.

        Raises:
            RuntimeServiceError: the runtime is away.
        """
        tried: set[Step] = set()
        while True:
            readings = self._readings()
            strain = self._watch.look(readings, self._clock.monotonic())
            dedicated = readings.dedicated_image_disk
            step = next_step(
                strain.due,
                frozenset(tried),
                is_ending=self._is_ending(),
                dedicated_image_disk=dedicated,
            )
            tried.add(step)
            match step:
                case Step.NOTHING | Step.WAIT:
                    return
                case Step.REMOVE_CONTAINERS:
                    await self._remove_containers()
                case Step.REMOVE_IMAGES:
                    if self._images is not None:
                        await self._images.remove_unused()
                case Step.EVICT:
                    await self._evict(strain.due[0], dedicated=dedicated)
                    return

    def _is_ending(self) -> bool:
        return any(one.is_given_up and not one.has_ended for one in self._tenants())

    async def _remove_containers(self) -> None:
        """Remove containers that have ended and that no status needs."""
        for pod in await self._runtime.list_pods():
            newest = latest(pod.containers)
            for container in pod.containers:
                is_last = newest[container.name].attempt == container.attempt
                if container.state is ContainerState.EXITED and not is_last:
                    await self._remove_container(container.id)

    async def _remove_container(self, container_id: str) -> None:
        try:
            await self._runtime.remove_container(container_id)
        except RuntimeServiceError as error:
            if error.is_unavailable:
                raise
            # One that stays must not keep all other relief from the node.
            extra = {"container": container_id, "why": str(error)[:256]}
            logger.warning("container cannot be removed", extra=extra)

    async def _evict(self, shortage: Shortage, *, dedicated: bool) -> None:
        tenants = {one.uid: one for one in self._tenants() if not one.has_ended}
        usages = await self._usages(tenants)
        pods = [one.pod for one in tenants.values()]
        eviction = choose(shortage, pods, usages, dedicated_image_disk=dedicated)
        if eviction is None:
            logger.warning("short, and no pod to evict", extra={"of": shortage.threshold.signal})
            return
        tenant = next(one for one in tenants.values() if one.pod is eviction.pod)
        logger.warning("pod is evicted", extra={"uid": tenant.uid, "why": eviction.message})
        tenant.reject(Rejection(REASON, eviction.message, disrupts=True, grace_s=eviction.grace_s))

    async def _usages(self, tenants: dict[UID, Tenant]) -> Usages:
        try:
            stats = {pod.uid: pod.containers for pod in await self._runtime.stats()}
        except RuntimeServiceError:
            stats = {}  # then what they take of the disk decides
        usages: dict[UID, PodUsage] = {}
        for uid, tenant in tenants.items():
            disk = await asyncio.to_thread(tenant.disk_usage)
            usages[uid] = PodUsage(
                stats.get(uid, ()), disk.logs, disk.volumes, disk.volumes_inodes, disk.processes
            )
        return usages
