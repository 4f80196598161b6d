"""One open connection of an edge: what goes over it, both ways, until it is lost.

What is offered is written by lanes, and what comes is given to whoever asked for it, or to
MetaManager. Liveness depends on what both ends can do: beats, which are answered and carry a sign
that the modules of this edge do their work; or keepalives as KubeEdge has them, and pings.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec
from msgspec import Struct

from common import frames
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw
from common.capabilities import Capability
from common.clock import Clock
from common.errors import MailboxClosedError, UnknownOperationError, WireError
from common.frames import Beat, BeatAnswer, Begin, Chunk
from common.names import PROGRESS_RESOURCE, GroupName, ModuleName, Operation
from common.wire import encode, loads_as
from edgecore.edgehub.beats import Beats
from edgecore.edgehub.hubconfig import HubConfig
from edgecore.edgehub.incoming import Incoming, read
from edgecore.edgehub.lanes import Item, Lanes
from edgecore.edgehub.link import MALFORMED, LinkLostError
from edgecore.edgehub.network import OpenLink
from edgecore.edgehub.transfers import Step, Transfers
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

_HUB = ModuleName.EDGE_HUB


class Surroundings(Struct, frozen=True):
    """What a connection stands in, and what outlives it."""

    context: MessageContext
    config: HubConfig
    clock: Clock
    metrics: EdgeMetrics
    transfers: Transfers
    random_unit: Callable[[], float]


class Sign(msgspec.Struct, frozen=True):
    """Content of MetaManager's answer to a ``keepalive`` of the hub: the modules do their work."""

    asked: str
    """``msg_id`` of that keepalive."""
    digest: str | None = None
    """Of all that the edge-store holds, 16 hexadecimal digits, where that was wanted."""


class Session:
    """An open connection. ``run`` may be called once."""

    def __init__(self, link: OpenLink, surroundings: Surroundings) -> None:
        """Take over ``link``, which stays the caller's to close."""
        self._link, self._capabilities = link, link.capabilities
        self._context, self._config = surroundings.context, surroundings.config
        self._clock, self._metrics = surroundings.clock, surroundings.metrics
        self._transfers = surroundings.transfers
        self._transfers.new_connection()
        self._lanes = Lanes()
        self._has_work, self._is_idle = asyncio.Event(), asyncio.Event()
        self._beats: Beats | None = None
        if Capability.BEATS in self._capabilities:
            self._beats = Beats(
                self._clock.monotonic(),
                period_s=self._config.beat_s,
                answer_s=self._config.answer_s,
                phase=surroundings.random_unit(),
            )
        self._beat_number = 0
        self._asked = ""  # msg_id of the keepalive whose sign the present beat waits for
        self._signed = asyncio.Event()
        self._was_signed = True

    @property
    def waiting(self) -> int:
        """What waits to be written, or for its answer."""
        return self._lanes.waiting

    def offer(self, message: Message) -> bool:
        """Have ``message`` written; return False where too much waits already."""
        accepted = self._lanes.offer(message, self._clock.monotonic())
        self._wake()
        return accepted

    def sign(self, message: Message) -> None:
        """Take MetaManager's sign that the modules do their work: the beat that waits goes out.

        What was offered before goes before it, and what is offered after it, after it.
        """
        sign = loads_as(message.content, Sign)
        if sign.asked == self._asked:
            digest = None if sign.digest is None else int(sign.digest, 16)
            self._was_signed = True
            self._say(Beat(self._beat_number, progresses=True, digest=digest))

    async def drain(self) -> None:
        """Return when nothing waits to be written."""
        self._wake()
        await self._is_idle.wait()

    def end(self) -> tuple[list[Message], int]:
        """Give back what the connection, which is gone, did not do; as ``Lanes.end``."""
        self._is_idle.set()
        return self._lanes.end()

    async def run(self) -> None:
        """Exchange messages until the link is lost.

        Raises:
            BaseExceptionGroup: of ``LinkError``, always: why it is.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(), name="link writer")
            if self._beats is not None:
                tasks.create_task(self._beat(self._beats), name="link beat")
                tasks.create_task(self._await_answers(self._beats), name="link watch")
            else:
                tasks.create_task(self._keep_alive(), name="link keepalive")
                tasks.create_task(self._watch(), name="link watch")
            await self._read()

    # --- what comes ------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            payload = await self._link.receive()
            self._metrics.received_bytes.inc(len(payload))
            try:
                await self._take(read(payload, self._capabilities))
            except UnknownOperationError as error:
                self._metrics.refused.inc("unknown_operation")
                logger.warning(
                    "message with an unknown operation is ignored",
                    extra={"error": str(error), "resource": error.resource[:256]},
                )
            except WireError as error:
                self._metrics.refused.inc("malformed")
                await self._link.close(MALFORMED, "not a message")
                raise LinkLostError("malformed", f"the cloud sent no message: {error}") from error

    async def _take(self, incoming: Incoming) -> None:
        match incoming:
            case Message():
                await self._accept(incoming)
            case BeatAnswer():
                self._take_answer(incoming)
            case Begin():
                await self._follow(self._transfers.begin(incoming))
            case Chunk():
                await self._follow(self._transfers.take(incoming))

    async def _follow(self, step: Step) -> None:
        for event in step.events:
            self._metrics.transfers.inc(event.value)
        if step.credit is not None:
            self._lanes.credit(step.credit)
            self._wake()
        if step.whole is not None:
            await self._accept(step.whole.message())

    async def _accept(self, message: Message) -> None:
        self._metrics.received.inc(message.operation.value)
        if logger.isEnabledFor(logging.DEBUG):
            node = self._config.node_name
            logger.debug("< %s", message.operation, extra=message.traced(node))
        if message.parent_id:
            self._give_back(message)
        elif message.route.group == GroupName.RESOURCE:
            try:
                await self._context.send(ModuleName.META_MANAGER, message)
            except MailboxClosedError as error:
                raise LinkLostError("shutdown", "shutting down") from error
            except asyncio.CancelledError:
                self._metrics.dropped.inc("link_lost")  # it is not acknowledged either
                raise
        else:
            self._metrics.dropped.inc("unknown_group")
            logger.warning(
                "message for a group that this edge does not have",
                extra={"group": message.route.group[:64], "resource": message.resource[:256]},
            )

    def _give_back(self, message: Message) -> None:
        """Give an answer to whoever asked."""
        awaited = self._lanes.answered(message.parent_id)
        if awaited is not None and message.header.timestamp:
            self._clock.learn(message.header.timestamp, awaited.since_s, self._clock.monotonic())
        if not self._context.send_resp(message):
            self._metrics.dropped.inc("late_reply")
            fields = {"resource": message.resource[:256]}
            logger.debug("nobody waits for this reply any more", extra=fields)

    # --- what goes -------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._is_idle.clear()
        self._has_work.set()

    async def _write(self) -> None:
        while True:
            item = self._lanes.take(self._clock.monotonic())
            if item is not None:
                await self._send(item)
                continue
            self._has_work.clear()
            self._is_idle.set()
            await self._has_work.wait()

    async def _send(self, item: Item) -> None:
        if isinstance(item, Beat):
            assert self._beats is not None
            self._beats.written(item, self._clock.monotonic())  # before its answer can come
        if isinstance(item, Message):
            header = msgspec.structs.replace(
                item.header, sync=False, timestamp=self._clock.now_ms()
            )
            data = encode(msgspec.structs.replace(item, header=header))
            await self._link.send_text(data)
            self._metrics.sent.inc(item.operation.value)
        else:
            data = frames.encode(item)
            await self._link.send_binary(data)
            self._metrics.sent.inc(type(item).__name__.lower())
        self._metrics.sent_bytes.inc(len(data))

    # --- beats: with a cloud that answers them ---------------------------------------------------

    async def _beat(self, beats: Beats) -> None:
        while True:
            await asyncio.sleep(max(0.0, beats.due_s - self._clock.monotonic()))
            self._beat_number = beats.begin(self._clock.monotonic())
            wanted = beats.wants_digest and Capability.DIGEST in self._capabilities
            asked = new(
                _HUB,
                GroupName.META,
                Operation.KEEPALIVE,
                PROGRESS_RESOURCE,
                raw({"digest": wanted}),
            )
            self._asked = asked.msg_id
            self._signed.clear()
            try:
                async with asyncio.timeout(self._config.sign_s):
                    await self._context.send(ModuleName.META_MANAGER, asked)
                    await self._signed.wait()
            except (TimeoutError, MailboxClosedError):
                self._confess()

    def _confess(self) -> None:
        """Say that there is no sign that the modules do their work."""
        if self._asked:
            self._metrics.beats_without_progress.inc()
            if self._was_signed:
                logger.warning("the modules of this edge do not answer: no lease is renewed")
            self._was_signed = False
            self._say(Beat(self._beat_number, progresses=False))

    def _say(self, beat: Beat) -> None:
        self._asked = ""
        self._lanes.beat(beat)
        self._signed.set()
        self._wake()

    def _take_answer(self, answer: BeatAnswer) -> None:
        assert self._beats is not None  # else it would not have been understood
        self._metrics.received.inc("beatanswer")
        sent_s = self._beats.answered(answer)
        if sent_s is not None:
            self._clock.learn(answer.time_ms, sent_s, self._clock.monotonic())

    async def _await_answers(self, beats: Beats) -> None:
        """End a link whose cloud does not answer, and over which nothing comes."""
        while True:
            idle_s = self._link.idle_s()
            left_s = beats.patience_s(self._clock.monotonic(), idle_s)
            if left_s <= 0:
                raise LinkLostError("silent", f"nothing has come for {idle_s:.0f} s")
            await asyncio.sleep(left_s)

    # --- keepalives: with any other cloud --------------------------------------------------------

    async def _keep_alive(self) -> None:
        while True:
            self.offer(new(_HUB, GroupName.RESOURCE, Operation.KEEPALIVE, "node", raw("ping")))
            await asyncio.sleep(self._config.heartbeat_s)

    async def _watch(self) -> None:
        """End a link over which nothing comes, not even the answer to a ping."""
        config = self._config
        while True:
            idle_s = self._link.idle_s()
            if idle_s >= config.heartbeat_s + config.answer_s:
                raise LinkLostError("silent", f"nothing has come for {idle_s:.0f} s")
            if idle_s < config.heartbeat_s:
                await asyncio.sleep(config.heartbeat_s - idle_s)
            else:
                await self._link.ping(config.answer_s)
                await asyncio.sleep(config.heartbeat_s + config.answer_s - idle_s)
