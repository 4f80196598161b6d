"""The module MetaManager: keep the edge-store in step with the cloud and answer this node.

It receives, in one mailbox: what the cloud sends (from edgehub), the state of the link (from
edgehub), the requests of edged, and edgehub's question whether this edge does its work, which is
passed on to edged and answered only if both modules take part. It never awaits a reply in its
receive loop: every request is served in a task of its own.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from common import capabilities
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal, reply
from common.capabilities import Capability
from common.clock import Clock, rfc3339
from common.errors import EdgeError, MailboxClosedError, ReplyTimeoutError, StoreError, WireError
from common.names import (
    LINK_RESOURCE,
    PROGRESS_RESOURCE,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
    PeerProtocol,
    ResourceType,
)
from common.status import Status, failure
from common.wire import loads_as
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import inventory
from edgecore.metamanager.acks import acknowledgements, needs_acknowledgement
from edgecore.metamanager.decide import Outcome
from edgecore.metamanager.keeper import Keeper
from edgecore.metamanager.query import Queries, is_from_cloud
from edgecore.metamanager.resync import Resync
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

BATCH: Final = 64
"""Messages of one transaction at most."""

MAX_REQUESTS: Final = 256
"""Requests that are served at a time. A node has few: more is a fault, and is refused."""

REQUEST_S: Final = 10.0
"""How long the cloud may take to carry out a write."""

SWEEP_AFTER_S: Final = 10.0
"""How long something that no pod names may wait for its pod."""

_ACKNOWLEDGED: Final = frozenset({Operation.INSERT, Operation.QUERY, Operation.UPDATE})
"""Requests whose answers a KubeEdge cloud sends again until they are acknowledged."""

_PROGRESS_S: Final = 10.0
"""How long edged may take to say that it does its work. Edgehub waits less long."""


class Link(msgspec.Struct, frozen=True):
    """Content of a message about ``LINK_RESOURCE``."""

    state: LinkState
    protocol: PeerProtocol = PeerProtocol.KUBEEDGE
    capabilities: frozenset[Capability] = capabilities.NONE


class Asked(msgspec.Struct, frozen=True):
    """Content of edgehub's question whether this edge does its work."""

    digest: bool = False
    """The digest of all that is stored is wanted with the answer."""


class MetaManager:
    """Keep what the cloud says, acknowledge what is durable, answer what this node asks."""

    name, group = ModuleName.META_MANAGER, GroupName.META

    def __init__(
        self,
        context: MessageContext,
        store: EdgeStore,
        node_name: str,
        clock: Clock,
        metrics: EdgeMetrics,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        """Make the module.

        Args:
            context: the bus.
            store: must be open while ``run`` lasts.
            node_name: whom to serve.
            clock: judges whether a token is fresh.
            metrics: of this daemon.
            random_unit: numbers in [0, 1) for the pauses.
        """
        self._context, self._store = context, store
        self._metrics = metrics
        self._keeper = Keeper(store)
        self._node = node_name
        self._queries = Queries(store, self._keeper, self._ask_cloud, self._acknowledge, clock)
        self._queries.count = metrics.queries.inc
        self._resync = Resync(store, node_name, self._ask_cloud, self._acknowledge, random_unit)
        self._clock = clock
        self._in_step_since: datetime | None = None
        self._resync.told = self._note_in_step
        self._is_connected = False
        self._capabilities = capabilities.NONE
        self._requests = 0  # that are being served

    def tell(self) -> Mapping[str, object]:
        """Return what is held, and since when it is in step; may be called in any thread."""
        since = self._in_step_since
        return {
            "objects": len(self._store.index.entries),
            "complete": self._store.is_complete,
            "inStepSince": rfc3339(since) if since else None,
        }

    def _note_in_step(self) -> None:
        self._in_step_since = self._in_step_since or self._clock.now()

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
            elif message.resource == PROGRESS_RESOURCE:
                tasks.create_task(self._tell_progress(message), name="progress")
            elif message.route.group == GroupName.RESOURCE:
                if _wants_inventory(message):
                    self._resync.asked(tasks)
                else:
                    from_cloud.append(message)
            else:
                await self._serve(message, tasks)
        if from_cloud:
            await self._keep(from_cloud)

    async def _keep(self, messages: Sequence[Message]) -> None:
        """Store, then acknowledge, then tell edged; what cannot be stored is counted.

        On a full disk what is small, or makes room, must not wait for the rest of its batch.
        """
        lost, error = 0, await self._try_to_keep(messages)
        if error is not None and len(messages) > 1:
            for message in messages:
                lost += await self._try_to_keep([message]) is not None
        elif error is not None:
            lost = 1
        if lost:
            # Not acknowledged: the cloud sends them again, perhaps when there is room.
            self._metrics.dropped.inc("store_error", lost)
            logger.warning("messages cannot be stored", extra={"error": str(error)})

    async def _try_to_keep(self, messages: Sequence[Message]) -> StoreError | None:
        """Keep all of ``messages``, or none; return why they cannot be kept."""
        began_s = self._clock.monotonic()
        try:
            plan = await self._keeper.keep(messages)
        except StoreError as error:
            return error
        self._metrics.store_seconds.observe(self._clock.monotonic() - began_s)
        self._count(messages, plan.outcomes)
        if logger.isEnabledFor(logging.DEBUG):
            for message, outcome in zip(messages, plan.outcomes, strict=True):
                logger.debug("durable: %s", outcome.value, extra=message.traced(self._node))
        self._metrics.acknowledged.inc(len(messages))
        for ack in acknowledgements(messages, self._capabilities):
            await self._send(ModuleName.EDGE_HUB, ack)
        for forward in plan.forwards:
            await self._send(ModuleName.EDGED, forward)
        return None

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
                self._metrics.refused.inc(outcome.value, number)

    async def _serve(self, request: Message, tasks: asyncio.TaskGroup) -> None:
        if _is_one_way(request) and self._is_connected:
            # Whoever asked waits for us; the cloud answers nobody, and the hub would wait for it.
            await self._send(ModuleName.EDGE_HUB, request.one_way())
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
        self._metrics.refused.inc(reason)
        self._answer(refusal(request, status, source=self.name))

    async def _serve_alone(self, request: Message, tasks: asyncio.TaskGroup) -> None:
        try:
            with self._metrics.query_seconds.time(_type_of(request)):
                if request.operation is Operation.QUERY:
                    answer = await self._queries.answer(request, tasks)
                else:
                    answer = await self._pass_on(request)
        except EdgeError as error:
            answer = refusal(request, failure(500, str(error)), source=self.name)
        except Exception:
            logger.exception("request failed", extra={"resource": request.resource})
            self._metrics.refused.inc("internal_error")
            answer = refusal(request, failure(500, "internal error"), source=self.name)
        self._answer(answer)

    async def _pass_on(self, request: Message) -> Message:
        response = await self._ask_cloud(request, REQUEST_S)
        if request.operation in _ACKNOWLEDGED:
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
        """Tell the cloud that an answer of it has come, if it wants to know."""
        if is_from_cloud(response) and needs_acknowledgement(self._capabilities):
            self._metrics.acknowledged.inc()
            await self._send(ModuleName.EDGE_HUB, reply(response))

    async def _tell_progress(self, asked: Message) -> None:
        """Tell edgehub that edged does its work; say nothing if it does not.

        That this module does is shown by its having taken the question from its mailbox.
        """
        question = new(
            self.name, GroupName.EDGED, Operation.KEEPALIVE, PROGRESS_RESOURCE, asked.content
        )
        try:
            await self._context.send_sync(ModuleName.EDGED, question, timeout_s=_PROGRESS_S)
            wanted = loads_as(asked.content, Asked).digest
        except (ReplyTimeoutError, MailboxClosedError, WireError) as error:
            logger.debug("edged does not say that it does its work", extra={"error": str(error)})
            return
        # Computed and sent in one go: what is acknowledged before it is in it.
        digest = inventory.digest(self._store.index) if wanted else None
        sign = raw({"asked": asked.msg_id, "digest": digest})
        answer = new(self.name, GroupName.HUB, Operation.KEEPALIVE, PROGRESS_RESOURCE, sign)
        await self._send(ModuleName.EDGE_HUB, answer)

    async def _follow_link(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        try:
            link = loads_as(message.content, Link)
        except WireError as error:
            logger.warning("unusable state of the link", extra={"error": str(error)})
            return
        self._is_connected = link.state is LinkState.CONNECTED
        self._capabilities = link.capabilities
        self._in_step_since = None
        if self._is_connected and link.protocol is PeerProtocol.CLOUDEDGE_V1:
            self._resync.connected(link.capabilities, tasks)
        else:
            self._resync.disconnected()
        if self._is_connected and link.protocol is PeerProtocol.KUBEEDGE:
            if self._store.was_damaged:
                logger.warning(
                    "the edge-store was damaged, and this cloud cannot be asked for everything:"
                    " delete the Node's ObjectSyncs there, or change the objects"
                )
            elif not self._store.is_complete:
                await self._confirm_complete()  # a new edge, which this cloud tells all
        await self._send(ModuleName.EDGED, message)

    async def _confirm_complete(self) -> None:
        try:
            await self._store.confirm_complete()
        except StoreError as error:  # said again on the next connection
            logger.warning("the store cannot be written", extra={"error": str(error)})

    async def _send(self, module: ModuleName, message: Message) -> None:
        try:
            await self._context.send(module, message)
        except MailboxClosedError:  # the daemon stops; what matters is in the edge-store
            self._metrics.dropped.inc("shutting_down")
            logger.debug("module has stopped", extra={"component": module.value})

    def _answer(self, answer: Message) -> None:
        if answer.header.parent_msg_id and not self._context.send_resp(answer):
            self._metrics.dropped.inc("late_reply")
            logger.debug("nobody waits for this reply", extra={"resource": answer.resource})


def _wants_inventory(message: Message) -> bool:
    """Whether the cloud asks for what is here."""
    return message.operation is Operation.QUERY and _type_of(message) == ResourceType.INVENTORY


def _is_one_way(request: Message) -> bool:
    """Whether nobody answers this: a KubeEdge cloud is silent about events."""
    return _type_of(request) == ResourceType.EVENT


def _type_of(request: Message) -> str:
    parts = request.resource.split("/")
    known = parts[1] if len(parts) > 1 else ""
    return known if known in frozenset(ResourceType) else "other"
