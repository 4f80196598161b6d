"""The module EdgeHub: one connection to the cloud, made again whenever it is lost.

It takes what MetaManager wants to say, in its mailbox, and puts what the cloud says on the bus. The
rest of the node never waits for it: without a link every request is refused at once (503), and what
was asked when the link broke is refused then.

Source: KubeEdge edge/pkg/edgehub (headers, keepalive, path). Unlike there, silence is noticed by
the edge too, a failed connection is tried again after half a second and not after thirty, and
nothing that was received is dropped to make room.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import (
    CertificateError,
    LinkError,
    MailboxClosedError,
    UnknownOperationError,
    WireError,
)
from common.names import (
    LINK_RESOURCE,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
    PeerProtocol,
)
from common.status import failure
from common.wire import decode, encode
from edgecore.edgehub.identity import Identity
from edgecore.edgehub.lanes import Lanes
from edgecore.edgehub.link import MALFORMED, Link, LinkLostError, dial
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

PROJECT_ID: Final = "e632aba927ea4ac2b575ec1603d56f10"
"""KubeEdge's default; every edge of every installation says it."""

PROVEN_AFTER_S: Final = 30.0
"""A connection that lived this long has proved that connecting works: the next pause is short."""

_BACKOFF: Final = BackoffPolicy(first_s=0.5, cap_s=10.0, jitter=0.6)
_FLUSH_S: Final = 2.0
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Where the cloud is and how patient to be. Durations in seconds."""

    node_name: str
    cloud: str
    """Host name or address, as it stands in the cloud's certificate."""
    websocket_port: int
    heartbeat_s: float = 15.0
    """Between two keepalives; also how long the link may be silent before it is asked."""
    answer_s: float = 10.0
    """How long the answer to that may take, before the link counts as dead."""
    handshake_s: float = 30.0

    @property
    def uri(self) -> str:
        """Where to connect to."""
        host = f"[{self.cloud}]" if ":" in self.cloud else self.cloud
        return f"wss://{host}:{self.websocket_port}/{PROJECT_ID}/{self.node_name}/events"

    @property
    def headers(self) -> dict[str, str]:
        """What a KubeEdge cloud wants to read; without the last one it never listens."""
        return {"node_id": self.node_name, "project_id": PROJECT_ID, "ConnectionUse": "msg"}


class EdgeHub:
    """Stay connected."""

    name, group = ModuleName.EDGE_HUB, GroupName.HUB

    def __init__(
        self,
        context: MessageContext,
        config: HubConfig,
        identity: Identity,
        clock: Clock,
        metrics: EdgeMetrics,
    ) -> None:
        """Connect as ``identity``, once ``run`` is called; ``clock`` learns the cloud's time."""
        self._context, self._config, self._identity = context, config, identity
        self._clock, self._metrics = clock, metrics
        self._lanes: Lanes | None = None  # of the open connection; None without one
        self._has_work = asyncio.Event()
        self._last_failure = ""

    async def run(self) -> None:
        """Serve until the mailbox is closed; what is accepted by then is still written."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_connected(), name="link")
                await self._serve_mailbox()
        except* MailboxClosedError:  # it has ended the link as well
            logger.debug("mailbox is closed and empty")

    async def _serve_mailbox(self) -> None:
        """Take what the others want to say, always: they may not wait for a slow link."""
        try:
            while True:
                for message in await self._context.receive_batch(self.name, limit=_BATCH):
                    self._accept(message)
        except MailboxClosedError:
            await self._flush()
            raise

    def _accept(self, message: Message) -> None:
        if self._lanes is None:
            self._decline(message, "not connected", "not_connected")
        elif not self._lanes.offer(message, self._clock.monotonic()):
            self._decline(message, "too much waits for the cloud", "full")
        else:
            self._has_work.set()

    def _decline(self, message: Message, text: str, reason: str) -> None:
        """Refuse a request; count anything else."""
        if message.header.sync:
            self._context.send_resp(refusal(message, failure(503, text), source=self.name))
        else:
            self._metrics.dropped.labels(reason).inc()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(_FLUSH_S):
                while self._lanes:
                    self._has_work.set()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            logger.debug("the link was too slow for what was left to say")

    async def _stay_connected(self) -> None:
        backoff = Backoff(_BACKOFF)
        while True:
            started_s = self._clock.monotonic()
            error = await self._connect()
            if _is_to_end():
                raise asyncio.CancelledError
            lived_s = self._clock.monotonic() - started_s
            # Two edges with one name would replace each other for ever, each time at once.
            if lived_s > PROVEN_AFTER_S and _reason(error) != "replaced":
                backoff.reset()
            pause_s = backoff.next_s()
            self._report(error, pause_s)
            await asyncio.sleep(pause_s)

    async def _connect(self) -> LinkError | CertificateError:
        """Connect and exchange messages; return why there is no connection any more."""
        config = self._config
        try:
            tls = await self._identity.tls()
            async with dial(
                config.uri, config.headers, tls, handshake_s=config.handshake_s
            ) as link:
                return await self._serve(link)
        except CertificateError as error:
            await self._identity.doubt()
            return error
        except LinkError as error:
            if isinstance(error, LinkLostError) and error.is_certificate:
                await self._identity.doubt()
            return error

    def _report(self, error: Exception, pause_s: float) -> None:
        """Say it once: a cloud that is away for a week is no news every thirty seconds."""
        self._metrics.connection_failures.labels(_reason(error)).inc()
        text = str(error)
        level = logging.DEBUG if text == self._last_failure else logging.WARNING
        self._last_failure = text
        logger.log(
            level,
            "no connection to the cloud",
            extra={
                "node": self._config.node_name,
                "uri": self._config.uri,
                "error": text,
                "retry_in_s": round(pause_s, 1),
            },
        )

    async def _serve(self, link: Link) -> LinkError:
        """Exchange messages until the link is lost; return why it is."""
        lanes = self._lanes = Lanes()
        self._metrics.connections.inc()
        self._metrics.connected.inc()
        self._last_failure = ""
        fields = {"node": self._config.node_name, "protocol": link.protocol.value}
        logger.info("connected to the cloud", extra=fields)
        lost = LinkError("the link ended")
        try:
            await self._tell_link(LinkState.CONNECTED, link.protocol)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(link, lanes), name="link writer")
                tasks.create_task(self._keep_alive(lanes), name="link keepalive")
                tasks.create_task(self._watch(link), name="link watch")
                await self._read(link, lanes)
        except* LinkError as errors:
            lost = _first(errors)
        finally:
            self._metrics.connected.dec()
            self._end(lanes)
        await self._tell_link(LinkState.DISCONNECTED, link.protocol)
        return lost

    def _end(self, lanes: Lanes) -> None:
        self._lanes = None
        requests, lost = lanes.end()
        for request in requests:
            self._decline(request, "the link was lost", "link_lost")
        self._metrics.dropped.labels("link_lost").inc(lost)

    async def _tell_link(self, state: LinkState, protocol: PeerProtocol) -> None:
        content = raw({"state": state.value, "protocol": protocol.value})
        message = new(self.name, GroupName.META, Operation.CONNECT, LINK_RESOURCE, content)
        try:
            await self._context.send(ModuleName.META_MANAGER, message)
        except MailboxClosedError as error:
            raise LinkLostError("shutdown", "shutting down") from error

    async def _read(self, link: Link, lanes: Lanes) -> None:
        while True:
            frame = await link.receive()
            self._metrics.received_bytes.inc(len(frame))
            try:
                message = decode(frame)
            except UnknownOperationError as error:
                self._metrics.refused.labels("unknown_operation").inc()
                logger.warning(
                    "message with an unknown operation is ignored",
                    extra={"error": str(error), "resource": error.resource[:256]},
                )
                continue
            except WireError as error:
                self._metrics.refused.labels("malformed").inc()
                await link.close(MALFORMED, "not a message")
                raise LinkLostError("malformed", f"the cloud sent no message: {error}") from error
            self._metrics.received.labels(message.operation.value).inc()
            await self._route(message, lanes)

    async def _route(self, message: Message, lanes: Lanes) -> None:
        if message.parent_id:
            self._give_back(message, lanes)
        elif message.route.group == GroupName.RESOURCE:
            try:
                await self._context.send(ModuleName.META_MANAGER, message)
            except MailboxClosedError as error:
                raise LinkLostError("shutdown", "shutting down") from error
        else:
            self._metrics.dropped.labels("unknown_group").inc()
            logger.warning(
                "message for a group that this edge does not have",
                extra={"group": message.route.group[:64], "resource": message.resource[:256]},
            )

    def _give_back(self, message: Message, lanes: Lanes) -> None:
        """Give an answer to whoever asked."""
        awaited = lanes.answered(message.parent_id)
        if awaited is not None and message.header.timestamp:
            self._clock.learn(message.header.timestamp, awaited.since_s, self._clock.monotonic())
        if not self._context.send_resp(message):
            self._metrics.dropped.labels("late_reply").inc()
            fields = {"resource": message.resource[:256]}
            logger.debug("nobody waits for this reply any more", extra=fields)

    async def _write(self, link: Link, lanes: Lanes) -> None:
        while True:
            message = lanes.take(self._clock.monotonic())
            if message is None:
                self._has_work.clear()
                await self._has_work.wait()
                continue
            header = msgspec.structs.replace(
                message.header, sync=False, timestamp=self._clock.now_ms()
            )
            frame = encode(msgspec.structs.replace(message, header=header))
            await link.send(frame)
            self._metrics.sent.labels(message.operation.value).inc()
            self._metrics.sent_bytes.inc(len(frame))

    async def _keep_alive(self, lanes: Lanes) -> None:
        while True:
            keepalive = new(self.name, GroupName.RESOURCE, Operation.KEEPALIVE, "node", raw("ping"))
            lanes.offer(keepalive, self._clock.monotonic())
            self._has_work.set()
            await asyncio.sleep(self._config.heartbeat_s)

    async def _watch(self, link: Link) -> None:
        """End a link over which nothing comes, not even the answer to a ping."""
        config = self._config
        while True:
            idle_s = link.idle_s()
            if idle_s >= config.heartbeat_s + config.answer_s:
                raise LinkLostError("silent", f"nothing has come for {idle_s:.0f} s")
            if idle_s < config.heartbeat_s:
                await asyncio.sleep(config.heartbeat_s - idle_s)
            else:
                await link.ping(config.answer_s)
                await asyncio.sleep(config.heartbeat_s + config.answer_s - idle_s)


def _is_to_end() -> bool:
    """Whether this task was cancelled, and that was lost.

    A TaskGroup of Python 3.11 that is cancelled while a task of it fails tells of the failure only.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, LinkLostError) else "enrolment"


def _first(errors: BaseExceptionGroup[LinkError]) -> LinkError:
    """Return one of the errors: the parts of one link fail together."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
