"""The parts of edged that all pods of a node have in common, made and begun together."""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from common.clock import Clock
from edgecore.edged.availability import Availability
from edgecore.edged.containerstatus import Rejection
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.events import Events
from edgecore.edged.housekeeping import Housekeeping, Job
from edgecore.edged.local import logrotate
from edgecore.edged.local.logrotate import LogRotator
from edgecore.edged.node import reclaim
from edgecore.edged.node.eviction import REASON as EVICTED
from edgecore.edged.node.lease import Lease
from edgecore.edged.node.node import NodeProfile
from edgecore.edged.node.nodeagent import Machine, NodeAgent
from edgecore.edged.node.nodesetup import Setup
from edgecore.edged.node.pressure import PressureWatch
from edgecore.edged.node.reclaim import Reclaimer
from edgecore.edged.node.thismachine import ThisMachine
from edgecore.edged.podservices import PodServices
from edgecore.edged.podtable import PodTable
from edgecore.edged.podview import MIN_GRACE_S
from edgecore.edged.requests import Link, Requests
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.runtime.images import Images
from edgecore.edged.spec.cgroups import Cgroups
from edgecore.edged.spec.resources import burstable_cgroup_limits, node_cgroup_limits
from edgecore.edged.volumes import volumewriter
from edgecore.edged.volumes.mounts import Mounter
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from edgecore.edged.images.imagegc import ImageGC
    from edgecore.edged.images.imagepuller import ImagePuller

IMAGES_S: Final = 300.0
"""Between two looks at which images are used, and whether some must go."""

LIMITS_S: Final = 60.0
"""Between two looks at the size of volumes that have a limit."""

FIND_S: Final = 60.0
"""Between two attempts to learn where images are."""

LEFTOVERS_S: Final = 60.0
"""Between two looks for what pods left behind that nobody knows."""


class Surroundings(Struct, frozen=True):
    """What edged stands in."""

    tasks: asyncio.TaskGroup
    requests: Requests
    link: Link
    clock: Clock
    runtime: Runtime
    metrics: EdgeMetrics


class NodeParts:
    """What speaks for the node, what its pods share, and what keeps it clean."""

    def __init__(
        self,
        surroundings: Surroundings,
        config: EdgedConfig,
        pods: PodTable,
        machine: Machine | None = None,
    ) -> None:
        """Make all of it; nothing happens before ``begin``.

        Args:
            surroundings: what it stands in.
            config: of this node.
            pods: of this node.
            machine: a made-up one; this machine if None.
        """
        self._surroundings, self._config, self._pods = surroundings, config, pods
        self._this_machine = ThisMachine(config.root_dir)
        self._machine = machine or self._this_machine.machine()
        near = surroundings
        self.watch = PressureWatch(config.thresholds)
        self.events = Events(
            near.tasks,
            near.requests,
            near.link,
            near.metrics,
            near.clock.now,
            config.node_name,
            lag_s=config.event_lag_s,
        )
        self.lease = Lease(
            near.tasks,
            near.requests,
            near.link,
            near.clock,
            config.node_name,
            config.lease_period_s,
        )
        self.node = self._node_agent()
        self._availability = Availability(near.tasks, near.runtime, self._is_back)
        self.services = self._pod_services()
        self._housekeeping = Housekeeping(near.tasks, self._jobs())

    def begin(self) -> None:
        """Begin what goes on by itself."""
        if (cgroups := self.services.cgroups) is not None:
            cgroups.prepare(node_cgroup_limits(self.node.view.allocatable))
        self._housekeeping.begin()

    def close(self) -> None:
        """Do no more."""
        self.node.close()
        self.lease.close()
        self.events.close()
        self._availability.close()
        self._housekeeping.close()

    def share_cpu(self) -> None:
        """Give the burstable pods together the part of the CPU that they ask for."""
        if (cgroups := self.services.cgroups) is not None:
            pods = [worker.pod for worker in self._pods.workers.values()]
            cgroups.set_burstable(burstable_cgroup_limits(pods))

    def _node_agent(self) -> NodeAgent:
        near, config = self._surroundings, self._config
        profile = NodeProfile(
            config.node_name,
            config.node_ip,
            config.max_pods,
            labels=config.labels,
            taints=config.taints,
            thresholds=config.thresholds,
            kubelet_port=config.local_address[1] if config.local_address else 0,
        )
        return NodeAgent(
            near.tasks,
            near.requests,
            near.link,
            near.clock,
            near.runtime,
            machine=self._machine,
            profile=profile,
            lease=self.lease,
            look_s=config.lease_period_s,
            report_s=config.status_period_s,
            watch=self.watch,
        )

    def _pod_services(self) -> PodServices:
        near, config = self._surroundings, self._config
        images = near.runtime.images
        memory_bytes = self._machine.facts.memory_bytes
        return PodServices(
            near.tasks,
            near.runtime,
            near.requests,
            near.clock,
            near.link,
            self.events,
            config.root_dir,
            config.logs_dir,
            self._availability,
            Setup(lambda: self.node.view, memory_bytes, config.network),
            Mounter(),
            self._image_puller(images) if images is not None else None,
            Cgroups(config.network.cgroup_root) if images is not None else None,
            near.metrics.pod_start_seconds.observe,
        )

    def runtime_fault(self) -> str:
        """Return why the runtime cannot be asked; empty where it can be, as far as is known."""
        return self._availability.fault

    def _image_puller(self, images: Images) -> "ImagePuller":
        # Not at the top, as below: an edge without a container engine does without.
        from edgecore.edged.images.imagepuller import ImagePuller  # noqa: PLC0415

        near = self._surroundings
        return ImagePuller(
            near.tasks,
            images,
            near.clock,
            parallel=self._config.parallel_pulls,
            online=lambda: near.link.connected,
        )

    # --- now and then ----------------------------------------------------------------------------

    def _jobs(self) -> list[Job]:
        near, config = self._surroundings, self._config
        jobs: list[Job] = []
        collector: ImageGC | None = None
        if (images := near.runtime.images) is not None:
            from edgecore.edged.images import imagegc  # noqa: PLC0415

            collector = imagegc.ImageGC(
                near.runtime,
                images,
                near.clock,
                config.images,
                pods=self._pods.assigned,
                event=self.events.record_of_node,
            )
            rotator = LogRotator(near.runtime, near.clock, config.logs_dir, config.logs)
            jobs = [
                Job("find images", FIND_S, partial(self._this_machine.find, images)),
                Job("look at images", IMAGES_S, partial(self._collect_images, collector)),
                Job("rotate logs", logrotate.PERIOD_S, partial(self._rotate, rotator)),
            ]
        reclaimer = Reclaimer(
            near.runtime,
            near.clock,
            self.watch,
            self._machine.readings,
            self._pods.workers.values,
            collector,
        )
        if near.runtime.wants_files:
            jobs.append(Job("volume limits", LIMITS_S, self._enforce_limits))
            jobs.append(Job("clear away", LEFTOVERS_S, self._clear_away))
        return [*jobs, Job("node pressure", reclaim.PERIOD_S, reclaimer.look)]

    async def _rotate(self, rotator: LogRotator) -> None:
        seen = (worker.observed for worker in self._pods.workers.values())
        await rotator.rotate([observed for observed in seen if observed is not None])

    async def _collect_images(self, collector: "ImageGC") -> None:
        await collector.look()
        disk = self._machine.readings().image_disk
        if disk is not None:
            await collector.collect(disk)

    async def _clear_away(self) -> None:
        """Remove cgroups and files of pods that nobody knows, once it is known which there are."""
        if not self._pods.is_loaded:
            return
        services = self.services
        # What still runs needs its files, whoever it belongs to.
        running = {pod.uid for pod in await self._surroundings.runtime.list_pods()}
        known = self._pods.workers.keys() | running
        if services.cgroups is not None:
            for uid in services.cgroups.uids() - known:
                await asyncio.to_thread(services.cgroups.remove_pod, uid)
        for uid in volumewriter.pods_on_disk(services.root_dir) - known:
            if uid in self._pods.workers:
                continue  # a static pod that has come back meanwhile
            try:
                await asyncio.to_thread(volumewriter.tear_down, services.root_dir / "pods" / uid)
            except OSError as error:
                # What is in use must not keep the others from being cleared away.
                extra = {"uid": uid, "why": str(error)}
                logger.warning("files of a pod that is gone cannot be removed", extra=extra)

    async def _enforce_limits(self) -> None:
        """Give up pods whose volumes have become larger than they said."""
        for worker in list(self._pods.workers.values()):
            why = await asyncio.to_thread(worker.volume_over_limit)
            if why and not worker.has_ended:
                worker.reject(Rejection(EVICTED, why, grace_s=MIN_GRACE_S))

    def _is_back(self) -> None:
        """Look at everything: the runtime was away."""
        for worker in self._pods.workers.values():
            worker.wake()
        self.node.wake()
