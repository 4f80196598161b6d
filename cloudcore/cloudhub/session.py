"""One connected node: a task that reads, a task that writes, and the outbox between them.

What closes a connection stands in ``cloudcore.cloudhub.closing``, what is asked of a message in
``cloudcore.cloudhub.intake``, how much a node may have under way in ``cloudcore.cloudhub.credit``.

Source: KubeEdge cloud/pkg/cloudhub/session/node_session.go.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from websockets.exceptions import ConnectionClosed

from cloudcore.cloudhub import closing, intake
from cloudcore.cloudhub.authorize import Locations
from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.connection import HubConnection
from cloudcore.cloudhub.credit import Credit
from cloudcore.cloudhub.intake import Intake
from cloudcore.cloudhub.waker import Waker
from common import wire
from common.beehive.context import MessageContext
from common.beehive.message import Message
from common.delivery.outbox import Outbox
from common.errors import (
    MailboxClosedError,
    MessageTooLargeError,
    UnknownOperationError,
    WireError,
)
from common.metrics import MessageMetrics
from common.names import UID, ModuleName, Operation, PeerProtocol
from common.resource import to_node

logger = logging.getLogger(__name__)

RESEND_AFTER_S: Final = 5.0
WINDOWS: Final = {
    PeerProtocol.KUBEEDGE: 32,  # its edge has room for 100 messages and drops the oldest of more
    PeerProtocol.CLOUDEDGE_V1: 256,
}
CLOSE_TIMEOUT_S: Final = 5.0
"""How long the edge may take to answer a close frame; then the connection is cut."""

STALLED_AFTER_S: Final = 60.0
"""A connection that takes no byte of what waits for it is given up after this time."""


@dataclass(frozen=True, slots=True)
class SessionServices:
    """What all sessions of a hub share."""

    context: MessageContext
    send_module: ModuleName
    """Who gets the requests."""

    locations: Locations
    metrics: MessageMetrics
    max_message_bytes: int = wire.MAX_MESSAGE_BYTES
    keepalive_s: float = 30.0


class Session:
    """The connection of one node, from its registration to its end."""

    __slots__ = (  # there is one for each node
        "_close",
        "_close_deadline_s",
        "_connection",
        "_credit",
        "_is_draining",
        "_is_over",
        "_is_reading",
        "_loop",
        "_outbox",
        "_services",
        "_stall",
        "_writer",
        "node",
        "protocol",
    )

    def __init__(self, connection: HubConnection, services: SessionServices) -> None:
        self.node = connection.node
        self.protocol = connection.peer_protocol
        self._connection, self._services = connection, services
        self._outbox = Outbox(window=WINDOWS[self.protocol], resend_after_s=RESEND_AFTER_S)
        self._credit = Credit()
        self._loop = asyncio.get_running_loop()
        self._is_reading = False  # from the socket; False while it waits for others
        self._is_draining = False
        self._is_over = False
        self._close: Close | None = None
        self._close_deadline_s = 0.0
        self._stall = (0, self._loop.time())  # unsent bytes, and since when so many
        self._writer = Waker()
        connection.on_lost = self._wake

    # --- for the hub -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it is closed, by whichever side."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(), name=f"session {self.node} writer")
            try:
                await self._read()
            except ConnectionClosed as closed:
                self._note_closed(closed)
            except MailboxClosedError:
                self.end(closing.GOING_AWAY)
            finally:
                self._is_over = True
                self._wake()

    def offer(self, uid: UID, message: Message) -> None:
        """Send the state of an object, unless the node is to get a newer one already.

        Order and delivery: at least once while the session lives, the newest version only.
        """
        before = len(self._outbox)
        if not self._outbox.offer(uid, message) or len(self._outbox) == before:
            self._services.metrics.superseded.inc()
        self._writer.wake()

    def answer(self, message: Message) -> bool:
        """Send the answer to a request of this connection; return False if it has made none such.

        Events are answered to free their place; the edge hears nothing of it.
        """
        is_answered = self._credit.settle(message.parent_id)
        if is_answered:
            self._reply(message)
        return is_answered is not None

    def end(self, close: Close) -> None:
        """Close the connection; the first reason counts. It does not wait."""
        if self._close is not None or self._is_over:
            return
        self._close = close
        self._close_deadline_s = self._loop.time() + CLOSE_TIMEOUT_S
        self._count(close)
        self._wake()

    def drain(self) -> None:
        """Take in no more, write what is there, then close: cloudcore stops."""
        self._is_draining = True
        self._wake()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._connection.transport.abort()

    def tend(self, now_s: float) -> None:
        """Do what time demands: end a connection that is dead or stuck, send again what got lost.

        Called every second or so for all sessions, which then need no timers of their own.
        """
        if self._close is not None:
            if now_s > self._close_deadline_s:
                self.abort()
            return
        if not self._is_reading:
            self._connection.last_received_s = now_s  # it cannot be heard: that is our doing
        if now_s - self._connection.last_received_s > self._services.keepalive_s:
            self.end(closing.silent(self._services.keepalive_s))
        elif self._is_stalled(now_s):
            self.end(closing.STALLED)
            self.abort()  # a close frame would wait behind the rest
        else:
            deadline_s = self._outbox.deadline_s()
            if deadline_s is not None and deadline_s <= now_s:
                self._writer.wake()

    # --- up --------------------------------------------------------------------------------------

    def _takes_in(self) -> bool:
        return self._close is None and not self._is_draining

    async def _read(self) -> None:
        while self._takes_in():
            if not self._credit.has_room() and not self._connection.is_lost:
                await self._credit.wait()
                continue
            self._is_reading = True
            frame = await self._connection.recv()
            self._is_reading = False
            if self._takes_in():
                await self._receive(frame)
            del frame  # the next one may be long in coming

    async def _receive(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            self.end(closing.BINARY_FRAME)
            return
        metrics = self._services.metrics
        metrics.received_bytes.inc(len(frame))
        try:
            message = wire.decode(frame, max_bytes=self._services.max_message_bytes)
            intake.check_envelope(message)
        except UnknownOperationError as error:
            self._refuse(intake.refuse_operation(error), "unknown_operation", str(error))
        except MessageTooLargeError as error:
            self.end(closing.too_large(str(error)))
        except WireError as error:
            self.end(closing.malformed(str(error)))
        else:
            metrics.received.labels(message.operation).inc()
            self._trace("<", message)
            await self._take_in(message, len(frame))

    async def _take_in(self, message: Message, size_bytes: int) -> None:
        verdict = intake.judge(self.node, message, self._services.locations)
        match verdict.intake:
            case Intake.KEEPALIVE:
                pass  # that bytes came is what counts, and the connection has noted it
            case Intake.ACK:
                self._acknowledge(message.parent_id)
            case Intake.FAULT:
                self._drop("edge_error", message, logging.WARNING)
            case Intake.UNSERVED:
                self._drop("unserved", message, logging.DEBUG)
            case Intake.MEMBERSHIP:
                self._reply(intake.confirm_membership(message))
            case Intake.FORWARD:
                await self._forward(message, size_bytes)
            case Intake.REFUSE:
                status = verdict.status
                assert status is not None
                answer = intake.refuse(message, status) if intake.is_answered(message) else None
                self._refuse(answer, status.reason, status.message)

    async def _forward(self, message: Message, size_bytes: int) -> None:
        is_answered = intake.is_answered(message)
        if not self._credit.take(message.msg_id, size_bytes, is_answered=is_answered):
            self._drop("duplicate", message, logging.DEBUG)
            return
        await self._services.context.send(
            self._services.send_module, message.about(to_node(self.node, message.resource))
        )

    def _acknowledge(self, msg_id: str) -> None:
        if self._outbox.acknowledge(msg_id):
            self._services.metrics.acknowledged.inc()
            self._writer.wake()

    # --- down ------------------------------------------------------------------------------------

    def _reply(self, message: Message) -> None:
        self._outbox.reply(message)
        self._credit.add_answer()
        self._writer.wake()

    async def _write(self) -> None:
        try:
            while not self._is_over and self._close is None:
                message = self._outbox.take(self._loop.time())
                if message is not None:
                    await self._send(message)
                elif self._is_draining:
                    self.end(closing.GOING_AWAY)
                else:
                    await self._writer.wait()
            if self._close is not None:
                await self._connection.close(self._close.code, self._close.frame_text())
        except ConnectionClosed:
            return  # the reader sees it as well, and tells

    async def _send(self, message: Message) -> None:
        if message.operation is Operation.RESPONSE:
            self._credit.answer_written()
        data = wire.encode(message)
        self._trace(">", message)
        await self._connection.send(data, text=True)
        self._services.metrics.sent.labels(message.operation).inc()
        self._services.metrics.sent_bytes.inc(len(data))

    # --- what is noted ---------------------------------------------------------------------------

    def _wake(self) -> None:
        self._credit.wake()
        self._writer.wake()

    def _is_stalled(self, now_s: float) -> bool:
        unsent = self._connection.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._stall[0]:
            self._stall = (unsent, now_s)
        return now_s - self._stall[1] > STALLED_AFTER_S

    def _note_closed(self, closed: ConnectionClosed) -> None:
        """Count what the WebSocket library has refused by itself."""
        if self._close is None and closed.sent is not None:
            close = closing.by_library(closed.sent.code, closed.sent.reason)
            if close is not None:
                self._count(close)

    def _count(self, close: Close) -> None:
        if close.counted_as:
            self._services.metrics.refused.labels(close.counted_as).inc()
            logger.warning(
                "connection closed",
                extra={"node": self.node, "code": close.code, "reason": close.text},
            )

    def _refuse(self, answer: Message | None, reason: str, detail: str) -> None:
        self._services.metrics.refused.labels(reason).inc()
        logger.warning(
            "message refused", extra={"node": self.node, "reason": reason, "detail": detail}
        )
        if answer is not None:
            self._reply(answer)

    def _drop(self, reason: str, message: Message, level: int) -> None:
        self._services.metrics.dropped.labels(reason).inc()
        logger.log(
            level,
            "message dropped",
            extra={
                "node": self.node,
                "reason": reason,
                "operation": message.operation,
                "resource": message.resource,
            },
        )

    def _trace(self, direction: str, message: Message) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%s %s",
                direction,
                message.operation,
                extra={"node": self.node, "key": message.resource, "msg_id": message.msg_id},
            )
