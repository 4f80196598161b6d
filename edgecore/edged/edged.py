"""The module edged: the pods of the edge-store, run through a runtime and reported upstream.

What edged knows comes from metamanager: the stored pods when it starts, and then every change. The
rule of it all: only a delete message, or a pod's absence from a store that was read to its end, is
a reason to end a pod. What could not be asked is never read as "gone".
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final

from common.beehive.context import MessageContext
from common.beehive.message import Message, new, reply
from common.capabilities import Capability
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import EdgeError, MailboxClosedError, ReplyTimeoutError, WireError
from common.names import (
    CLUSTER_SCOPE,
    LINK_RESOURCE,
    PROGRESS_RESOURCE,
    UID,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
    ResourceType,
)
from common.resource import Resource, build_resource, parse_resource
from common.wire import loads
from edgecore.edged import orphans
from edgecore.edged.containerstatus import Rejection
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.housekeeping import Housekeeping, Job
from edgecore.edged.node.eviction import REASON as EVICTED
from edgecore.edged.node.eviction import refuse
from edgecore.edged.node.nodeagent import Machine
from edgecore.edged.nodeparts import NodeParts, Surroundings
from edgecore.edged.objects import Ref
from edgecore.edged.orphans import Orphans
from edgecore.edged.podtable import PodTable
from edgecore.edged.podview import Object, is_deleting, is_over, key_of, spec_of, uid_of
from edgecore.edged.podworker import PodWorker
from edgecore.edged.requests import Answer, Link, Requests
from edgecore.edged.runtime.base import PodObservation, Runtime
from edgecore.edged.spec.admission import AdmittingNode, admit
from edgecore.edged.spec.qos import is_static
from edgecore.edged.static.manifests import StaticSet, from_api, is_static_uid
from edgecore.edged.static.mirror import is_mirror
from edgecore.edged.static.mirrorpods import MirrorPods
from edgecore.edged.static.staticpods import ManifestFolder, StaticPods
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

STUCK_AFTER_S: Final = 30.0
"""A look at the runtime that lasts longer than this stops the lease from being renewed."""

TURN_S: Final = 5.0
"""How long edged may take to get to a message, before it is said to make no progress."""

ORPHANS_S: Final = 30.0
"""Between two looks for pods that run and should not be here."""

_LIST_RETRY: Final = BackoffPolicy(first_s=0.2, cap_s=10.0)


class Edged:
    """Run the pods of this node."""

    name, group = ModuleName.EDGED, GroupName.EDGED

    def __init__(
        self,
        context: MessageContext,
        runtime: Runtime,
        clock: Clock,
        config: EdgedConfig,
        metrics: EdgeMetrics,
        *,
        machine: Machine | None = None,
    ) -> None:
        """Make the module; nothing happens before ``run``.

        Args:
            context: the bus.
            runtime: what containers run in; opened and closed by ``run``.
            clock: for times and durations.
            config: of this node.
            metrics: of this daemon.
            machine: what the node says it is; this machine where not given.
        """
        self._context, self._runtime, self._clock = context, runtime, clock
        self._config, self._metrics = config, metrics
        self._machine = machine
        self._link = Link()
        self._pods = PodTable()
        self._orphans = Orphans()
        self._runtime_fault: Callable[[], str] = str
        self._deleted: set[UID] = set()  # while the list of stored pods has not come
        self._static = StaticSet(complete=False)
        self._static_seen = asyncio.Event()  # whether the manifests were looked at

    def tell(self) -> Mapping[str, object]:
        """Return how many pods there are, by phase; may be called in any thread."""
        return {"pods": self.phases()}

    def phases(self) -> dict[str, int]:
        """Return how many pods there are, by phase; may be called in any thread."""
        phases = (worker.status().get("phase") for worker in tuple(self._pods.workers.values()))
        return dict(sorted(Counter(phase or "Pending" for phase in phases).items()))

    def runtime_fault(self) -> str:
        """Return why the runtime cannot be asked; empty where it can be, as far as is known."""
        return self._runtime_fault()

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty; containers go on running."""
        for folder in (self._config.root_dir, self._config.logs_dir):
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        await self._runtime.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._set_up(tasks)
                tasks.create_task(self._load(), name="list stored pods")
                tasks.create_task(self._follow_runtime(), name="runtime events")
                async with self._endpoint():
                    await self._serve()
        except* MailboxClosedError:  # it has ended the tasks as well
            logger.debug("mailbox is closed and empty")
        finally:
            await self._runtime.close()

    @asynccontextmanager
    async def _endpoint(self) -> AsyncIterator[None]:
        """Have people on this machine answered while the context lasts, if that is wanted."""
        config = self._config
        if config.local_address is None:
            yield
            return
        # Not at the top: an edge without the endpoint does without this MiB.
        from edgecore.edged.local.localapi import local_api  # noqa: PLC0415
        from edgecore.edged.local.localservice import LocalService  # noqa: PLC0415
        from edgecore.edged.local.localview import EdgedView  # noqa: PLC0415

        view = EdgedView(self._pods, self._runtime, self._clock, config.root_dir)
        service = LocalService(view, config.node_name, self._clock.now)
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    local_api(config.local_address, service, config.data_dir)
                )
            except OSError as error:
                # Pods do not wait for those who only want to look.
                logger.error("the local endpoint cannot be served", extra={"why": str(error)})  # noqa: TRY400 - the reason says it all
            yield

    async def _serve(self) -> None:
        try:
            while True:
                self._handle(await self._context.receive(self.name))
        finally:
            self._housekeeping.close()
            self._parts.close()
            self._mirrors.close()
            if self._manifests is not None:
                self._manifests.close()
            for worker in self._pods.workers.values():
                worker.close()

    def _set_up(self, tasks: asyncio.TaskGroup) -> None:
        requests = self._requests = Requests(self._context)
        surroundings = Surroundings(
            tasks, requests, self._link, self._clock, self._runtime, self._metrics
        )
        self._parts = NodeParts(surroundings, self._config, self._pods, self._machine)
        self._runtime_fault = self._parts.runtime_fault
        self._parts.lease.makes_progress = self._makes_progress
        self._parts.node.renamed = self._take_node_uid
        self._mirrors = MirrorPods(
            tasks, requests, self._link, self._clock, self._config.node_name, self._mirrored
        )
        self._manifests: StaticPods | None = None
        if self._config.static_pods_dir is not None:
            folder = ManifestFolder(
                self._config.static_pods_dir, self._config.node_name, self._clock.now
            )
            self._manifests = StaticPods(tasks, folder, self._metrics, self._take_static)
            self._manifests.wake()
        else:
            self._take_static(StaticSet())  # mirrors of an earlier configuration go
        self._housekeeping = Housekeeping(tasks, [Job("end orphans", ORPHANS_S, self._end_orphans)])
        self._parts.begin()

    async def _makes_progress(self) -> bool:
        """Whether edged does its work; asked as metamanager asks, by way of the mailbox."""
        question = new(self.name, self.group, Operation.KEEPALIVE, PROGRESS_RESOURCE)
        try:
            await self._context.send_sync(self.name, question, timeout_s=TURN_S)
        except (ReplyTimeoutError, MailboxClosedError):
            return False
        return True

    def _answer_for_progress(self, question: Message) -> None:
        """Say that edged does its work: it got to this message, and nothing hangs."""
        if self._parts.node.looks_for_s() < STUCK_AFTER_S:
            self._context.send_resp(reply(question))
        else:
            logger.warning("the runtime does not answer, and edged makes no progress")

    async def _load(self) -> None:
        """Take the stored pods; then end what the runtime has and the store does not.

        The latter only once the store is known to lack nothing: after it was lost or damaged,
        what runs is left alone until the cloud has said what there is.
        """
        resource = build_resource("", CLUSTER_SCOPE, ResourceType.POD, edge_site=True)
        backoff = Backoff(_LIST_RETRY)
        while True:
            if self._take_stored(await self._requests.ask(Operation.QUERY, resource)):
                break
            await asyncio.sleep(backoff.next_s())
        await self._static_seen.wait()
        self._pods.is_loaded = True
        self._deleted.clear()
        self._housekeeping.begin()

    async def _end_orphans(self) -> None:
        """End what runs and is neither in the edge-store nor in a manifest, and stays so.

        While a manifest cannot be understood, what may have come from it is left alone.

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
        if self._orphans.are_waited_for:
            asyncio.get_running_loop().call_later(orphans.SURE_S, self._housekeeping.begin)

    def _take_stored(self, answer: Answer) -> bool:
        """Take the pods of a list; return whether that is all there are."""
        items = answer.obj.get("items")
        if not isinstance(items, list):
            logger.warning("the stored pods cannot be listed: what runs is left alone")
            return False
        for pod in items:
            with self._one_at_a_time("null/pod"):
                if uid_of(pod) not in self._pods.workers and uid_of(pod) not in self._deleted:
                    self._take_pod(pod)
        return answer.obj.get("complete") is True

    def _end_orphan(self, observed: PodObservation) -> None:
        extra = {"pod": f"{observed.namespace}/{observed.name}", "uid": observed.uid}
        logger.warning("pod is not in the edge-store and is ended", extra=extra)
        metadata = {"uid": observed.uid, "namespace": observed.namespace, "name": observed.name}
        worker = PodWorker(self._parts.services, {"metadata": metadata}, self._gone, blocked=False)
        self._add(worker)
        worker.vanish()

    async def _follow_runtime(self) -> None:
        async for uid in self._runtime.events():
            if worker := self._pods.workers.get(uid):
                worker.wake()

    def _handle(self, message: Message) -> None:
        """Do what ``message`` says."""
        with self._one_at_a_time(message.resource):
            if message.resource == LINK_RESOURCE:
                self._follow_link(loads(message.content))
            elif message.resource == PROGRESS_RESOURCE:
                self._answer_for_progress(message)
            else:
                resource = parse_resource(message.resource, edge_site=True)
                self._dispatch(message.operation, resource, loads(message.data()))

    @contextmanager
    def _one_at_a_time(self, resource: str) -> Iterator[None]:
        """Say that what comes from ``resource`` cannot be used: it must not stop the others."""
        try:
            yield
        except (EdgeError, KeyError, TypeError, AttributeError, ValueError) as error:
            self._metrics.refused.inc("unusable_message")
            logger.warning(
                "message cannot be used",
                extra={"resource": resource[:256], "why": f"{error!r}"[:256]},
            )

    def _dispatch(self, operation: Operation, resource: Resource, obj: Any) -> None:
        match resource.resource_type:
            case ResourceType.POD if operation is Operation.DELETE:
                self._delete_pod(obj if isinstance(obj, dict) else {}, resource)
            case ResourceType.POD:
                self._take_pod(obj)
            case ResourceType.CONFIGMAP | ResourceType.SECRET:
                ref = Ref(ResourceType(resource.resource_type), resource.name)
                for worker in self._pods.workers.values():
                    if worker.names(ref, resource.namespace):
                        worker.changed()
            case ResourceType.NODE if resource.name == self._config.node_name:
                if operation is Operation.DELETE:
                    self._parts.node.vanished()
                else:
                    self._parts.node.pushed(obj)
            case _:
                logger.debug("nothing to do", extra={"resource": str(resource)})

    def _follow_link(self, content: Object) -> None:
        self._link.connected = content.get("state") == LinkState.CONNECTED
        if not self._link.connected:
            return
        self._link.has_beats = Capability.BEATS in content.get("capabilities", ())
        self._link.generation += 1
        self._parts.node.restate()
        self._parts.lease.wake()
        self._parts.events.wake()
        self._mirrors.wake()
        if self._parts.services.images is not None:
            self._parts.services.images.reconnected()
        for worker in self._pods.workers.values():
            worker.relink()

    def _take_pod(self, pod: Object) -> None:
        uid = uid_of(pod)
        if not uid or not pod["metadata"].get("name"):
            raise WireError("a pod without a UID or a name")
        if spec_of(pod).get("nodeName") != self._config.node_name:
            self._metrics.refused.inc("other_node")
            logger.warning("pod of another node is ignored", extra={"pod": key_of(pod)})
            return
        if is_mirror(pod):
            self._mirrors.pushed(pod)
        elif self._orphans.returned(pod):
            logger.info("pod is known after all, and begins anew", extra={"pod": key_of(pod)})
        elif worker := self._pods.workers.get(uid):
            worker.pushed(from_api(pod))
        else:
            self._begin(from_api(pod))

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
        node = AdmittingNode(self._config.node_name, self._parts.node.view.allocatable)
        rejection = admit(pod, self._pods.taken(), node)
        if rejection is None and (why := refuse(pod, self._parts.watch.strain.pressures)):
            rejection = Rejection(EVICTED, why)
        if rejection is None:
            return None
        return rejection._replace(message=f"Pod was rejected: {rejection.message}")

    # --- static pods -----------------------------------------------------------------------------

    def _take_static(self, found: StaticSet) -> None:
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
        self._static_seen.set()
        self._mirrors.static(found)

    def _begin_static(self, pod: Object) -> None:
        self._begin(pod).mirrored(self._mirrors.mirror_of(uid_of(pod)))

    def _take_node_uid(self, uid: str) -> None:
        self._mirrors.node_uid = uid
        self._mirrors.wake()

    def _mirrored(self, uid: UID) -> None:
        if worker := self._pods.workers.get(uid):
            worker.mirrored(self._mirrors.mirror_of(uid))

    def _delete_pod(self, pod: Object, resource: Resource) -> None:
        """End a pod for good; where a skeleton has no UID, whatever has the name is meant."""
        key, uid = f"{resource.namespace}/{resource.name}", uid_of(pod)
        if uid and not self._pods.is_loaded:
            self._deleted.add(uid)
        self._mirrors.gone(key, uid)
        self._orphans.deleted(uid)
        for worker in list(self._pods.workers.values()):
            if worker.uid == uid or (not uid and worker.key == key and not is_static(worker.pod)):
                worker.vanish()

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
