"""The module MetaManager: keep the edge-store in step with the cloud and answer this node.

It receives, in one mailbox: what the cloud sends (from edgehub), the state of the link (from
edgehub), and the requests of edged. It never awaits a reply in its receive loop: every request is
served in a task of its own.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal, reply
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import EdgeError, MailboxClosedError, ReplyTimeoutError, StoreError, WireError
from common.metrics import MessageMetrics
from common.names import (
    CLUSTER_SCOPE,
    LINK_RESOURCE,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
    PeerProtocol,
    ResourceType,
)
from common.resource import build_resource
from common.status import Status, failure
from common.wire import loads_as, status_of
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager.decide import Outcome
from edgecore.metamanager.keeper import Keeper
from edgecore.metamanager.query import Queries, is_from_cloud

logger = logging.getLogger(__name__)

BATCH: Final = 64
"""Messages of one transaction at most."""

MAX_REQUESTS: Final = 256
"""Requests that are served at a time. A node has few: more is a fault, and is refused."""

REQUEST_S: Final = 10.0
"""How long the cloud may take to carry out a write."""

INVENTORY_S: Final = 60.0
"""How long the cloud may take to compare: it answers only when its caches are in step."""

SWEEP_AFTER_S: Final = 10.0
"""How long something that no pod names may wait for its pod."""

_INVENTORY_TYPES: Final = (
    ResourceType.POD,
    ResourceType.CONFIGMAP,
    ResourceType.SECRET,
    ResourceType.SERVICE,
    ResourceType.NODE,
)
_ACKNOWLEDGED: Final = frozenset({Operation.INSERT, Operation.QUERY, Operation.UPDATE})
"""Requests whose answers a KubeEdge cloud sends again until they are acknowledged."""

_INVENTORY_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=30.0)


class Link(msgspec.Struct, frozen=True):
    """Content of a message about ``LINK_RESOURCE``."""

    state: LinkState
    protocol: PeerProtocol = PeerProtocol.KUBEEDGE


class Difference(msgspec.Struct, frozen=True):
    """Answer to an inventory: how many objects the cloud sends, and how many it takes back."""

    updated: int = 0
    deleted: int = 0


class MetaManager:
    """Keep what the cloud says, acknowledge what is durable, answer what this node asks."""

    name, group = ModuleName.META_MANAGER, GroupName.META

    def __init__(
        self,
        context: MessageContext,
        store: EdgeStore,
        node_name: str,
        clock: Clock,
        metrics: MessageMetrics,
    ) -> None:
        """Serve ``node_name`` from ``store``, which must be open while ``run`` lasts."""
        self._context, self._store = context, store
        self._node, self._metrics = node_name, metrics
        self._keeper = Keeper(store)
        self._queries = Queries(store, self._keeper, self._ask_cloud, self._acknowledge, clock)
        self._connection = 0  # counts the states of the link, so that a task knows its own
        self._is_connected = False
        self._requests = 0  # that are being served

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty; requests that wait then get no answer."""
        await self._keeper.load()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sweep(), name="sweep")
                while True:
                    batch = await self._context.receive_batch(self.name, limit=BATCH)
                    await self._handle(batch, tasks)
        except* MailboxClosedError:  # it has ended the tasks as well
            logger.debug("mailbox is closed and empty")

    async def _sweep(self) -> None:
        """Forget, a while after it came, what has turned out to be needed by no pod."""
        while True:
            await self._keeper.may_have_unneeded.wait()
            await asyncio.sleep(SWEEP_AFTER_S)
            try:
                await self._keeper.sweep()
            except StoreError as error:
                logger.warning("the store cannot be swept", extra={"error": str(error)})

    async def _handle(self, batch: Sequence[Message], tasks: asyncio.TaskGroup) -> None:
        from_cloud = []
        for message in batch:
            if message.resource == LINK_RESOURCE:
                await self._follow_link(message, tasks)
            elif message.route.group == GroupName.RESOURCE:
                from_cloud.append(message)
            else:
                await self._serve(message, tasks)
        if from_cloud:
            await self._keep(from_cloud)

    async def _keep(self, messages: Sequence[Message]) -> None:
        """Store, then acknowledge, then tell edged."""
        try:
            plan = await self._keeper.keep(messages)
        except StoreError as error:
            # Not acknowledged: the cloud sends them again, perhaps when there is room.
            self._metrics.dropped.labels("store_error").inc(len(messages))
            logger.warning("messages cannot be stored", extra={"error": str(error)})
            return
        self._count(messages, plan.outcomes)
        for ack in plan.acks:
            await self._acknowledge_with(ack)
        for forward in plan.forwards:
            await self._send(ModuleName.EDGED, forward)

    def _count(self, messages: Sequence[Message], outcomes: Sequence[Outcome]) -> None:
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome in (Outcome.INVALID, Outcome.UNSUPPORTED):
                logger.warning(
                    "message is acknowledged and not stored",
                    extra={
                        "reason": outcome.value,
                        "operation": message.operation.value,
                        "resource": message.resource[:256],
                        "msg_id": message.msg_id,
                    },
                )
        for outcome, number in Counter(outcomes).items():
            if outcome is Outcome.STALE:
                self._metrics.superseded.inc(number)
            elif outcome in (Outcome.INVALID, Outcome.UNSUPPORTED):
                self._metrics.refused.labels(outcome.value).inc(number)

    async def _serve(self, request: Message, tasks: asyncio.TaskGroup) -> None:
        if _is_one_way(request) and self._is_connected:
            await self._send(ModuleName.EDGE_HUB, request)
            self._answer(reply(request, source=self.name))
        elif _is_one_way(request):
            self._refuse(request, failure(503, "not connected"), "not_connected")
        elif self._requests >= MAX_REQUESTS:
            self._refuse(request, failure(429, "too many requests"), "too_many_requests")
        else:
            self._requests += 1
            tasks.create_task(
                self._serve_alone(request, tasks), name=f"serve {request.resource}"
            ).add_done_callback(self._served)

    def _served(self, _task: asyncio.Task[None]) -> None:
        self._requests -= 1

    def _refuse(self, request: Message, status: Status, reason: str) -> None:
        self._metrics.refused.labels(reason).inc()
        self._answer(refusal(request, status, source=self.name))

    async def _serve_alone(self, request: Message, tasks: asyncio.TaskGroup) -> None:
        try:
            with self._metrics.query_seconds.labels(_type_of(request)).time():
                if request.operation is Operation.QUERY:
                    answer = await self._queries.answer(request, tasks)
                else:
                    answer = await self._pass_on(request)
        except EdgeError as error:
            answer = refusal(request, failure(500, str(error)), source=self.name)
        except Exception:
            logger.exception("request failed", extra={"resource": request.resource})
            self._metrics.refused.labels("internal_error").inc()
            answer = refusal(request, failure(500, "internal error"), source=self.name)
        self._answer(answer)

    async def _pass_on(self, request: Message) -> Message:
        response = await self._ask_cloud(request, REQUEST_S)
        if request.operation in _ACKNOWLEDGED and is_from_cloud(response):
            await self._acknowledge(response)
        return reply(
            request,
            response.content,
            source=response.route.source,
            group=response.route.group,
            resource_version=response.header.resourceversion,
        )

    async def _ask_cloud(self, request: Message, timeout_s: float) -> Message:
        """Return the answer of the cloud, or the refusal of whoever could not ask it."""
        # With an id of its own: the bus knows the request's as that of edged's call.
        asked = new(
            request.route.source,
            request.route.group,
            request.operation,
            request.resource,
            request.content,
            resource_version=request.header.resourceversion,
        )
        try:
            return await self._context.send_sync(ModuleName.EDGE_HUB, asked, timeout_s=timeout_s)
        except ReplyTimeoutError as error:
            status = failure(504, str(error))
        except MailboxClosedError:
            status = failure(503, "shutting down")
        return refusal(asked, status, source=self.name)

    async def _acknowledge(self, response: Message) -> None:
        await self._acknowledge_with(reply(response))

    async def _acknowledge_with(self, ack: Message) -> None:
        self._metrics.acknowledged.inc()
        await self._send(ModuleName.EDGE_HUB, ack)

    async def _follow_link(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        self._connection += 1
        try:
            link = loads_as(message.content, Link)
        except WireError as error:
            logger.warning("unusable state of the link", extra={"error": str(error)})
            return
        self._is_connected = link.state is LinkState.CONNECTED
        if self._is_connected:
            if link.protocol is PeerProtocol.CLOUDEDGE_V1:
                tasks.create_task(self._send_inventory(self._connection), name="inventory")
            elif self._store.was_damaged:
                logger.warning(
                    "the edge-store was damaged, and this cloud cannot be asked for everything:"
                    " delete the Node's ObjectSyncs there, or change the objects"
                )
            elif not self._store.is_complete:
                await self._store.confirm_complete()  # a new edge, which this cloud tells all
        await self._send(ModuleName.EDGED, message)

    async def _send_inventory(self, connection: int) -> None:
        """Say what this edge has until it is in step, or the connection is another one.

        Where it is not known that the store lacks nothing, it is asked again until there was no
        difference: what an answer announces may still be on its way.
        """
        backoff = Backoff(_INVENTORY_RETRY)
        while connection == self._connection:
            resource = build_resource(
                "", CLUSTER_SCOPE, ResourceType.INVENTORY, self._node, edge_site=True
            )
            request = new(
                self.name, GroupName.META, Operation.QUERY, resource, raw(self._inventory())
            )
            answer = await self._ask_cloud(request, INVENTORY_S)
            status = status_of(answer.content)
            if status is not None:
                logger.warning("the inventory was not answered", extra={"status": status.message})
            elif await self._is_in_step(answer):
                return
            await asyncio.sleep(backoff.next_s())

    async def _is_in_step(self, answer: Message) -> bool:
        """Note what the cloud says to an inventory; return whether that is enough."""
        if is_from_cloud(answer):
            await self._acknowledge(answer)
        try:
            difference = loads_as(answer.content, Difference)
            if not self._store.is_complete:
                if difference != Difference():
                    return False
                await self._store.confirm_complete()
        except (WireError, StoreError) as error:
            logger.warning("the inventory came to nothing", extra={"error": str(error)})
            return False
        logger.info(
            "in step with the cloud",
            extra={"updated": difference.updated, "deleted": difference.deleted},
        )
        return True

    def _inventory(self) -> dict[str, list[list[str]]]:
        objects = []
        for kind in _INVENTORY_TYPES:
            for key in self._store.index.keys(kind):
                namespace, _, name = key.split("/", 2)
                entry = self._store.index.entries[key]
                objects.append([kind.value, namespace, name, entry.uid, str(entry.version)])
        return {"objects": objects}

    async def _send(self, module: ModuleName, message: Message) -> None:
        try:
            await self._context.send(module, message)
        except MailboxClosedError:  # the daemon stops; what matters is in the edge-store
            self._metrics.dropped.labels("shutting_down").inc()
            logger.debug("module has stopped", extra={"component": module.value})

    def _answer(self, answer: Message) -> None:
        if answer.header.parent_msg_id and not self._context.send_resp(answer):
            self._metrics.dropped.labels("late_reply").inc()
            logger.debug("nobody waits for this reply", extra={"resource": answer.resource})


def _is_one_way(request: Message) -> bool:
    """Whether nobody answers this: a KubeEdge cloud is silent about events."""
    return _type_of(request) == ResourceType.EVENT


def _type_of(request: Message) -> str:
    parts = request.resource.split("/")
    known = parts[1] if len(parts) > 1 else ""
    return known if known in frozenset(ResourceType) else "other"
