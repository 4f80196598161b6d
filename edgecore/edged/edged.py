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
from common.errors import EdgeError, MailboxClosedError, ReplyTimeoutError
from common.names import (
    CLUSTER_SCOPE,
    LINK_RESOURCE,
    PROGRESS_RESOURCE,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
    ResourceType,
)
from common.resource import Resource, build_resource, parse_resource
from common.wire import loads
from edgecore.edged import orphans
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.housekeeping import Housekeeping, Job
from edgecore.edged.node.nodeagent import Machine
from edgecore.edged.nodeparts import NodeParts, Surroundings
from edgecore.edged.objects import Ref
from edgecore.edged.podkeeping import PodKeeping
from edgecore.edged.podtable import PodTable
from edgecore.edged.podview import Object
from edgecore.edged.requests import Answer, Link, Requests
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.static.manifests import StaticSet
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
        self._runtime_fault: Callable[[], str] = str

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
            self._keeping.mirrors.close()
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
        self._keeping = PodKeeping(surroundings, self._config, self._pods, self._parts)
        self._manifests: StaticPods | None = None
        if self._config.static_pods_dir is not None:
            folder = ManifestFolder(
                self._config.static_pods_dir, self._config.node_name, self._clock.now
            )
            self._manifests = StaticPods(tasks, folder, self._metrics, self._keeping.take_static)
            self._manifests.wake()
        else:
            self._keeping.take_static(StaticSet())  # mirrors of an earlier configuration go
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
        await self._keeping.static_seen.wait()
        self._keeping.loaded()
        self._housekeeping.begin()

    async def _end_orphans(self) -> None:
        if await self._keeping.end_orphans():
            asyncio.get_running_loop().call_later(orphans.SURE_S, self._housekeeping.begin)

    def _take_stored(self, answer: Answer) -> bool:
        """Take the pods of a list; return whether that is all there are."""
        items = answer.obj.get("items")
        if not isinstance(items, list):
            logger.warning("the stored pods cannot be listed: what runs is left alone")
            return False
        for pod in items:
            with self._one_at_a_time("null/pod"):
                self._keeping.stored(pod)
        return answer.obj.get("complete") is True

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
                key = f"{resource.namespace}/{resource.name}"
                self._keeping.delete(obj if isinstance(obj, dict) else {}, key)
            case ResourceType.POD:
                self._keeping.take(obj)
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
        self._keeping.mirrors.wake()
        if self._parts.services.images is not None:
            self._parts.services.images.reconnected()
        for worker in self._pods.workers.values():
            worker.relink()

    def _take_node_uid(self, uid: str) -> None:
        self._keeping.mirrors.node_uid = uid
        self._keeping.mirrors.wake()
