"""The module edged: the pods of the edge-store, run through a runtime and reported upstream.

What edged knows comes from metamanager: the stored pods when it starts, and then every change. The
rule of it all: only a delete message, or a pod's absence from a store that was read to its end, is
a reason to end a pod. What could not be asked is never read as "gone".
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common.beehive.context import MessageContext
from common.beehive.message import Message
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import EdgeError, MailboxClosedError, WireError
from common.metrics import MessageMetrics
from common.names import (
    CLUSTER_SCOPE,
    LINK_RESOURCE,
    UID,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
    ResourceType,
)
from common.resource import Resource, build_resource, parse_resource
from common.wire import loads
from edgecore.edged.events import Events
from edgecore.edged.facts import read_facts, read_readings
from edgecore.edged.lease import Lease
from edgecore.edged.node import NodeProfile
from edgecore.edged.nodeagent import Machine, NodeAgent
from edgecore.edged.objects import Ref
from edgecore.edged.podview import Object, key_of, spec_of, uid_of
from edgecore.edged.podworker import PodServices, PodWorker
from edgecore.edged.requests import Answer, Link, Requests
from edgecore.edged.runtime.base import PodObservation, Runtime

logger = logging.getLogger(__name__)

STUCK_AFTER_S: Final = 30.0
"""A message that takes longer than this stops the lease from being renewed."""

_LIST_RETRY: Final = BackoffPolicy(first_s=0.2, cap_s=10.0)


@dataclass(frozen=True, slots=True)
class EdgedConfig:
    """What edged must be told. Durations in seconds."""

    node_name: str
    node_ip: str
    data_dir: Path
    """``<data_dir>/pods`` holds volumes, ``<data_dir>/logs`` the containers' output."""
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Node beside those that every edge node has; used when it registers."""
    taints: tuple[Mapping[str, str], ...] = ()
    """``{key, value, effect}``; used when the Node registers."""
    lease_period_s: float = 10.0
    """Between two renewals of the node's lease, and two looks at the node's own state."""
    status_period_s: float = 300.0
    """After which the node's status is sent though nothing in it changed."""


class Edged:
    """Run the pods of this node."""

    name, group = ModuleName.EDGED, GroupName.EDGED

    def __init__(
        self,
        context: MessageContext,
        runtime: Runtime,
        clock: Clock,
        config: EdgedConfig,
        metrics: MessageMetrics,
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
        self._pods: dict[UID, PodWorker] = {}
        self._is_loaded = False
        self._deleted: set[UID] = set()  # while the list of stored pods has not come
        self._busy_since_s: float | None = None

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty; containers go on running."""
        self._config.data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        await self._runtime.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._set_up(tasks)
                tasks.create_task(self._load(), name="list stored pods")
                tasks.create_task(self._follow_runtime(), name="runtime events")
                await self._serve()
        except* MailboxClosedError:  # it has ended the tasks as well
            logger.debug("mailbox is closed and empty")
        finally:
            await self._runtime.close()

    async def _serve(self) -> None:
        try:
            while True:
                message = await self._context.receive(self.name)
                self._busy_since_s = self._clock.monotonic()
                self._handle(message)
                self._busy_since_s = None
        finally:
            self._node.close()
            self._lease.close()
            self._events.close()
            for worker in self._pods.values():
                worker.close()

    async def _set_up(self, tasks: asyncio.TaskGroup) -> None:
        config, link, clock = self._config, self._link, self._clock
        requests = self._requests = Requests(self._context)
        version = await self._runtime.version()
        profile = NodeProfile(
            config.node_name,
            config.node_ip,
            config.max_pods,
            str(version),
            config.labels,
            config.taints,
        )
        machine = self._machine or Machine(
            read_facts(config.data_dir), lambda: read_readings(config.data_dir)
        )
        self._lease = Lease(tasks, requests, link, clock, config.node_name, config.lease_period_s)
        self._lease.makes_progress = self._makes_progress
        self._node = NodeAgent(
            tasks,
            requests,
            link,
            clock,
            self._runtime,
            machine=machine,
            profile=profile,
            lease=self._lease,
            look_s=config.lease_period_s,
            report_s=config.status_period_s,
        )
        self._events = Events(tasks, requests, link, self._metrics, clock.now, config.node_name)
        self._services = PodServices(
            tasks,
            self._runtime,
            requests,
            clock,
            link,
            self._events,
            config.data_dir,
            lambda: self._node.view,
        )

    def _makes_progress(self) -> bool:
        since_s = self._busy_since_s
        return since_s is None or self._clock.monotonic() - since_s < STUCK_AFTER_S

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
        for observed in await self._runtime.list_pods():
            if observed.uid not in self._pods:
                self._end_orphan(observed)
        self._is_loaded = True
        self._deleted.clear()

    def _take_stored(self, answer: Answer) -> bool:
        """Take the pods of a list; return whether that is all there are."""
        items = answer.obj.get("items")
        if not isinstance(items, list):
            logger.warning("the stored pods cannot be listed: what runs is left alone")
            return False
        for pod in items:
            if uid_of(pod) not in self._pods and uid_of(pod) not in self._deleted:
                self._take_pod(pod)
        return answer.obj.get("complete") is True

    def _end_orphan(self, observed: PodObservation) -> None:
        extra = {"pod": f"{observed.namespace}/{observed.name}", "uid": observed.uid}
        logger.warning("pod is not in the edge-store and is ended", extra=extra)
        metadata = {"uid": observed.uid, "namespace": observed.namespace, "name": observed.name}
        worker = PodWorker(self._services, {"metadata": metadata}, self._gone, blocked=False)
        self._add(worker)
        worker.vanish()

    async def _follow_runtime(self) -> None:
        async for uid in self._runtime.events():
            if worker := self._pods.get(uid):
                worker.wake()

    def _handle(self, message: Message) -> None:
        """Do what ``message`` says; one that cannot be understood must not stop the others."""
        try:
            if message.resource == LINK_RESOURCE:
                self._follow_link(loads(message.content))
            else:
                resource = parse_resource(message.resource, edge_site=True)
                self._dispatch(message.operation, resource, loads(message.data()))
        except (EdgeError, KeyError, TypeError, AttributeError, ValueError) as error:
            self._metrics.refused.labels("unusable_message").inc()
            logger.warning(
                "message cannot be used",
                extra={"resource": message.resource[:256], "why": f"{error!r}"[:256]},
            )

    def _dispatch(self, operation: Operation, resource: Resource, obj: Any) -> None:
        match resource.resource_type:
            case ResourceType.POD if operation is Operation.DELETE:
                self._delete_pod(obj if isinstance(obj, dict) else {}, resource)
            case ResourceType.POD:
                self._take_pod(obj)
            case ResourceType.CONFIGMAP | ResourceType.SECRET:
                ref = Ref(ResourceType(resource.resource_type), resource.name)
                for worker in self._pods.values():
                    if worker.names(ref, resource.namespace):
                        worker.changed()
            case ResourceType.NODE if resource.name == self._config.node_name:
                if operation is Operation.DELETE:
                    self._node.vanished()
                else:
                    self._node.pushed(obj)
            case _:
                logger.debug("nothing to do", extra={"resource": str(resource)})

    def _follow_link(self, content: Object) -> None:
        self._link.connected = content.get("state") == LinkState.CONNECTED
        if not self._link.connected:
            return
        self._link.generation += 1
        self._node.restate()
        self._lease.wake()
        self._events.wake()
        for worker in self._pods.values():
            worker.relink()

    def _take_pod(self, pod: Object) -> None:
        uid = uid_of(pod)
        if not uid or not pod["metadata"].get("name"):
            raise WireError("a pod without a UID or a name")
        if spec_of(pod).get("nodeName") != self._config.node_name:
            self._metrics.refused.labels("other_node").inc()
            logger.warning("pod of another node is ignored", extra={"pod": key_of(pod)})
            return
        if worker := self._pods.get(uid):
            worker.pushed(pod)
            return
        # A pod of the same name with another UID was deleted in the API server: it ends first.
        key = key_of(pod)
        before = [other for other in self._pods.values() if other.key == key]
        for other in before:
            other.vanish()
        self._add(PodWorker(self._services, pod, self._gone, blocked=bool(before)))

    def _delete_pod(self, pod: Object, resource: Resource) -> None:
        """End a pod for good; where a skeleton has no UID, whatever has the name is meant."""
        key, uid = f"{resource.namespace}/{resource.name}", uid_of(pod)
        if uid and not self._is_loaded:
            self._deleted.add(uid)
        for worker in list(self._pods.values()):
            if worker.uid == uid or (not uid and worker.key == key):
                worker.vanish()

    def _add(self, worker: PodWorker) -> None:
        self._pods[worker.uid] = worker
        worker.wake()

    def _gone(self, worker: PodWorker) -> None:
        """Forget a pod, and let the one begin that has waited for its name."""
        del self._pods[worker.uid]
        waiting = [other for other in self._pods.values() if other.key == worker.key]
        if waiting:
            waiting[0].release()
