"""Which pods there are on this node: they begin, change places under a name, and end.

Pods come from the edge-store and from manifests. What runs and belongs to neither is ended too, but
only once it is sure that nobody knows it.
"""

import asyncio
import logging

from common.errors import WireError
from common.names import UID
from edgecore.edged.containerstatus import Rejection
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.node.eviction import REASON as EVICTED
from edgecore.edged.node.eviction import refuse
from edgecore.edged.nodeparts import NodeParts, Surroundings
from edgecore.edged.orphans import Orphans
from edgecore.edged.podtable import PodTable
from edgecore.edged.podview import Object, is_deleting, is_over, key_of, spec_of, uid_of
from edgecore.edged.podworker import PodWorker
from edgecore.edged.runtime.base import PodObservation
from edgecore.edged.spec.admission import AdmittingNode, admit
from edgecore.edged.spec.qos import is_static
from edgecore.edged.static.manifests import StaticSet, from_api, is_static_uid
from edgecore.edged.static.mirror import is_mirror
from edgecore.edged.static.mirrorpods import MirrorPods

logger = logging.getLogger(__name__)


class PodKeeping:
    """Begins and ends pods; how each of them does is its worker's business."""

    def __init__(
        self, surroundings: Surroundings, config: EdgedConfig, pods: PodTable, parts: NodeParts
    ) -> None:
        """Make it.

        Args:
            surroundings: what edged stands in.
            config: of this node.
            pods: the table that it keeps.
            parts: what the pods share.
        """
        self._runtime, self._clock = surroundings.runtime, surroundings.clock
        self._metrics, self._node_name = surroundings.metrics, config.node_name
        self._pods, self._parts = pods, parts
        self._orphans = Orphans()
        self._deleted: set[UID] = set()  # while the list of stored pods has not come
        self._static = StaticSet(complete=False)
        self.static_seen = asyncio.Event()
        """Whether the manifests were looked at."""
        self.mirrors = MirrorPods(
            surroundings.tasks,
            surroundings.requests,
            surroundings.link,
            surroundings.clock,
            config.node_name,
            self._mirrored,
        )

    # --- pods of the edge-store ------------------------------------------------------------------

    def stored(self, pod: Object) -> None:
        """Take a pod of the list of stored pods, unless there was news of it already."""
        if uid_of(pod) not in self._pods.workers and uid_of(pod) not in self._deleted:
            self.take(pod)

    def loaded(self) -> None:
        """Take note that all pods are here."""
        self._pods.is_loaded = True
        self._deleted.clear()

    def take(self, pod: Object) -> None:
        """Take a pod as the API server has it, new or changed.

        Raises:
            WireError: it is none.
        """
        uid = uid_of(pod)
        if not uid or not pod["metadata"].get("name"):
            raise WireError("a pod without a UID or a name")
        if spec_of(pod).get("nodeName") != self._node_name:
            self._metrics.refused.inc("other_node")
            logger.warning("pod of another node is ignored", extra={"pod": key_of(pod)})
            return
        if is_mirror(pod):
            self.mirrors.pushed(pod)
        elif self._orphans.returned(pod):
            logger.info("pod is known after all, and begins anew", extra={"pod": key_of(pod)})
        elif worker := self._pods.workers.get(uid):
            worker.pushed(from_api(pod))
        else:
            self._begin(from_api(pod))

    def delete(self, pod: Object, key: str) -> None:
        """End a pod for good; where a skeleton has no UID, whatever has the name is meant.

        Args:
            pod: what is told of it.
            key: ``<namespace>/<name>``.
        """
        uid = uid_of(pod)
        if uid and not self._pods.is_loaded:
            self._deleted.add(uid)
        self.mirrors.gone(key, uid)
        self._orphans.deleted(uid)
        for worker in list(self._pods.workers.values()):
            if worker.uid == uid or (not uid and worker.key == key and not is_static(worker.pod)):
                worker.vanish()

    # --- static pods -----------------------------------------------------------------------------

    def take_static(self, found: StaticSet) -> None:
        """Take the pods of the manifests; one whose manifest is gone ends."""
        self._static = found
        wanted = {uid_of(pod): pod for pod in found.pods}
        for uid, pod in wanted.items():
            if worker := self._pods.workers.get(uid):
                worker.pushed(pod)
            else:
                self._begin_static(pod)
        for worker in self._pods.workers.values() if found.complete else ():
            if is_static(worker.pod) and worker.uid not in wanted:
                worker.vanish()
        self.static_seen.set()
        self.mirrors.static(found)

    def _begin_static(self, pod: Object) -> None:
        self._begin(pod).mirrored(self.mirrors.mirror_of(uid_of(pod)))

    def _mirrored(self, uid: UID) -> None:
        if worker := self._pods.workers.get(uid):
            worker.mirrored(self.mirrors.mirror_of(uid))

    # --- orphans ---------------------------------------------------------------------------------

    async def end_orphans(self) -> bool:
        """End what runs and is neither in the edge-store nor in a manifest, and stays so.

        While a manifest cannot be understood, what may have come from it is left alone. Return
        whether to look again for some that it is not sure of yet.

        Raises:
            RuntimeServiceError: the runtime is away.
        """
        seen = await self._runtime.list_pods()
        workers, complete = self._pods.workers, self._static.complete
        unknown = [
            pod
            for pod in seen
            if pod.uid not in workers and (complete or not is_static_uid(pod.uid))
        ]
        names = {worker.key for worker in workers.values()}
        for observed in self._orphans.due(unknown, names, self._clock.monotonic()):
            self._end_orphan(observed)
        return self._orphans.are_waited_for

    def _end_orphan(self, observed: PodObservation) -> None:
        extra = {"pod": f"{observed.namespace}/{observed.name}", "uid": observed.uid}
        logger.warning("pod is not in the edge-store and is ended", extra=extra)
        metadata = {"uid": observed.uid, "namespace": observed.namespace, "name": observed.name}
        worker = PodWorker(self._parts.services, {"metadata": metadata}, self._gone, blocked=False)
        self._add(worker)
        worker.vanish()

    # --- each of them ----------------------------------------------------------------------------

    def _begin(self, pod: Object) -> PodWorker:
        """Take in a pod that was not here before."""
        # A pod of the same name with another UID was deleted in the API server: it ends first.
        key = key_of(pod)
        before = self._pods.named(key)
        for other in before:
            other.vanish()
        rejection = self._refusal(pod)
        worker = PodWorker(self._parts.services, pod, self._gone, blocked=bool(before))
        if rejection is not None:
            worker.reject(rejection)
        self._add(worker)
        return worker

    def _refusal(self, pod: Object) -> Rejection | None:
        """Return why the node does not take a pod; one that was here before keeps its place."""
        if is_deleting(pod) or is_over(pod) or (pod.get("status") or {}).get("startTime"):
            return None
        node = AdmittingNode(self._node_name, self._parts.node.view.allocatable)
        rejection = admit(pod, self._pods.taken(), node)
        if rejection is None and (why := refuse(pod, self._parts.watch.strain.pressures)):
            rejection = Rejection(EVICTED, why)
        if rejection is None:
            return None
        return rejection._replace(message=f"Pod was rejected: {rejection.message}")

    def _add(self, worker: PodWorker) -> None:
        self._pods.workers[worker.uid] = worker
        self._parts.share_cpu()
        worker.wake()

    def _gone(self, worker: PodWorker) -> None:
        """Forget a pod, and let the one begin that has waited for its name."""
        del self._pods.workers[worker.uid]
        self._parts.share_cpu()
        returned = self._orphans.gone(worker.uid)
        # A manifest that was away for a moment stands for the same pod, by its UID too.
        if pod := next((pod for pod in self._static.pods if uid_of(pod) == worker.uid), None):
            self._begin_static(pod)
        elif returned is not None:
            self._begin(from_api(returned))
        waiting = self._pods.named(worker.key)
        if len(waiting) == 1:  # else others that had the name are still ending
            waiting[0].release()
