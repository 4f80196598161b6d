"""One connected node: what it sends is judged, what it is to get waits in its outbox.

A session has no task and no timer. Its connection calls it with what comes, the hub with what goes
and once a second to tend it; it answers by what it writes, which the flusher gathers. So it also
runs on a connection that is none, with a clock that is moved by hand.

What closes a connection stands in ``cloudcore.cloudhub.closing``, what is asked of a message in
``cloudcore.cloudhub.intake``, how much a node may have under way in ``cloudcore.cloudhub.credit``.

Source: KubeEdge cloud/pkg/cloudhub/session/node_session.go.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cloudcore.cloudhub import closing, intake
from cloudcore.cloudhub.authorize import Locations
from cloudcore.cloudhub.beats import Beats
from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.credit import Credit
from cloudcore.cloudhub.flusher import Flusher
from cloudcore.cloudhub.inbox import Inbox
from cloudcore.cloudhub.intake import Intake
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.transfer import Transfer
from cloudcore.metrics import CloudMetrics
from common import frames, wire
from common.beehive.message import Message, new, raw
from common.capabilities import Capabilities, Capability
from common.delivery.outbox import LARGE, Outbox
from common.errors import MessageTooLargeError, UnknownOperationError, WireError
from common.names import UID, GroupName, ModuleName, NodeID, Operation, PeerProtocol
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

BEATS_SILENCE_S: Final = 18.0
"""An edge with beats sends one every ten seconds: it is missed before the second is due."""

MAX_MESSAGES_PER_S: Final = 1000
"""Messages of one node in a second, pings and the like too; then it is not read until the next."""

BYTES_AS_A_MESSAGE: Final = 4096
"""So much of an answer counts as another message of the node that has asked: a large object is
encoded and compressed anew for each answer, which costs far more than the question does."""

TURN_BYTES: Final = 64 * 1024
"""Contents that are encoded for one node before others have their turn: 2 to 4 ms."""

_FLUSH_BYTES: Final = 64 * 1024
_UNTOLD: Final = (closing.REPLACED, closing.NODE_LIMIT)
"""Ends that the controller does not hear of: it has the newer connection, or never had this one."""


class Wire(Protocol):
    """A connection, as far as a session needs one."""

    node: NodeID
    serial: int
    """Of the certificate that the node has shown."""

    peer_protocol: PeerProtocol
    capabilities: Capabilities
    last_received_s: float
    is_writable: bool

    def send(self, payload: bytes, *, is_text: bool) -> None:
        """Prepare a frame."""

    def flush(self) -> None:
        """Write what was prepared."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""

    def abort(self) -> None:
        """Cut it."""

    def unsent_bytes(self) -> int:
        """Return how many written bytes have not left this process."""

    def pause_reading(self) -> None:
        """Call the session with nothing more, until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Go on; the session may be called at once."""


@dataclass(frozen=True, slots=True)
class SessionServices:
    """What all sessions of a hub share."""

    locations: Locations
    metrics: CloudMetrics
    inbox: Inbox
    flusher: Flusher
    clock: Callable[[], float]
    """Monotonic seconds."""

    max_message_bytes: int = wire.MAX_MESSAGE_BYTES
    keepalive_s: float = 30.0


class Session:
    """The connection of one node, from its registration to its end."""

    __slots__ = (  # there is one for each node
        "_beats",
        "_close",
        "_close_deadline_s",
        "_credit",
        "_encoded",
        "_is_draining",
        "_is_over",
        "_is_reading",
        "_on_end",
        "_outbox",
        "_requests",
        "_services",
        "_stall",
        "_taken_in",
        "_traffic",
        "_transfer",
        "_transfers",
        "_wire",
        "_written",
        "connection_id",
        "node",
        "protocol",
    )

    def __init__(
        self, link: Wire, services: SessionServices, on_end: Callable[["Session"], None]
    ) -> None:
        """Serve ``link``; ``on_end`` is called once, when it is gone."""
        self.node = link.node
        self.protocol = link.peer_protocol
        self._wire, self._services, self._on_end = link, services, on_end
        capabilities = link.capabilities
        self._outbox: Outbox[Parcel] = Outbox(
            window=WINDOWS[self.protocol],
            resend_after_s=RESEND_AFTER_S,
            measure=lambda parcel: parcel.measure(capabilities),
            superseded=services.metrics.superseded.inc,
        )
        self._credit = Credit()
        self._requests: list[Message] = []  # for the controller
        self._beats = Beats()
        self._transfer: Transfer | None = None
        self._transfers = 0
        self._taken_in = 0  # messages in this second
        self._encoded = 0  # bytes of contents in this turn
        self._traffic = 0  # bytes, since somebody has asked
        self._is_reading = True  # from the socket; False while it waits for others
        self._is_draining = False
        self._is_over = False
        self._close: Close | None = None
        self._close_deadline_s = 0.0
        self._written = 0  # bytes, ever
        self._stall = (0, services.clock())  # bytes that the connection has taken, and since when
        hello = self._about_itself(
            Operation.CONNECTED,
            {"protocol": self.protocol, "capabilities": sorted(capabilities)},
        )
        self.connection_id = hello.msg_id
        """By which the controller knows this connection from others of the node."""
        self._requests.append(hello)

    # --- for the hub -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell the controller that the node is here."""
        self._services.inbox.add(self)

    @property
    def backlog(self) -> int:
        """Objects that wait for, or await acknowledgement by, the node."""
        return self._outbox.objects

    @property
    def serial(self) -> int:
        """Of the certificate that the node has shown."""
        return self._wire.serial

    def offer(self, uid: UID, parcel: Parcel) -> None:
        """Send the state of an object, unless the node is to get a newer one already.

        Order and delivery: at least once while the session lives, the newest version only.
        """
        self._services.metrics.offered.inc()
        self._outbox.offer(uid, parcel)
        self._services.flusher.want(self)

    def answer(self, parcel: Parcel) -> bool:
        """Send the answer to a request of this connection; return False if it has made none such.

        Events are answered to free their place; the edge hears nothing of it.
        """
        is_answered = self._credit.settle(parcel.message.parent_id)
        if is_answered:
            self._taken_in += parcel.content_bytes // BYTES_AS_A_MESSAGE
            self._reply(parcel)
        self._read_or_not()
        return is_answered is not None

    def ask(self, parcel: Parcel) -> None:
        """Send a question of the controller, ahead of all objects; it is not acknowledged."""
        self._outbox.reply(parcel)
        self._services.flusher.want(self)

    def want_digest(self) -> None:
        """Have the edge say a digest of what it holds with its next beat."""
        self._beats.want_digest()

    def end(self, close: Close) -> None:
        """Close the connection; the first reason counts. It does not wait."""
        if self._close is not None or self._is_over:
            return
        self._close = close
        self._close_deadline_s = self._services.clock() + CLOSE_TIMEOUT_S
        self._count(close)
        # The edge's answer to the close frame has to be read.
        self._wire.resume_reading()
        self._wire.close(close.code, close.frame_text())

    def drain(self) -> None:
        """Take in no more, write what is there, then close: cloudcore stops.

        A content that goes in chunks is not waited for: the edge keeps the part that it has, and
        whoever serves it next goes on from there.
        """
        self._is_draining = True
        self._services.flusher.want(self)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._wire.abort()

    def tend(self, now_s: float) -> None:
        """Do what time demands: end a connection that is dead or stuck, send again what got lost.

        Called every second or so for all sessions, which then need no timers of their own.
        """
        if self._close is not None:
            if now_s > self._close_deadline_s:
                self.abort()
            return
        if not self._is_reading:
            self._remind(now_s)
        self._taken_in = 0
        self._read_or_not()
        silence_s = self._silence_s()
        if now_s - self._wire.last_received_s > silence_s:
            self.end(closing.silent(silence_s))
            self._close_deadline_s = now_s  # hardly anybody is there to answer
        elif self._is_stalled(now_s):
            self.end(closing.STALLED)
            self.abort()  # a close frame would wait behind the rest
        else:
            self._give_up_transfer(now_s)
            deadline_s = self._outbox.deadline_s()
            if deadline_s is not None and deadline_s <= now_s:
                self._services.flusher.want(self)

    def take_traffic(self) -> int:
        """Return the bytes of all frames, both ways, since the last call."""
        traffic, self._traffic = self._traffic, 0
        return traffic

    def flush(self) -> None:
        """Write as much of what waits as the connection takes; see ``Flusher``."""
        if self._close is not None or self._is_over:
            return
        now_s = self._services.clock()
        unwritten = self._encoded = 0
        while self._wire.is_writable and self._encoded < TURN_BYTES:
            size = self._write_next(now_s)
            if not size:
                break
            unwritten += size
            if unwritten > _FLUSH_BYTES:
                self._wire.flush()
                unwritten = 0
        self._wire.flush()
        if self._encoded >= TURN_BYTES:
            self._services.flusher.want(self)
        elif self._is_draining and self._wire.is_writable:
            self.end(closing.GOING_AWAY)
        self._read_or_not()  # what was written has made room

    def take_request(self) -> Message | None:
        """Return the next message for the controller; see ``Inbox``."""
        if self._requests and self._requests[0].operation is Operation.CONNECTED:
            return self._requests.pop(0)  # before its first beat
        said = self._beats.take(self.connection_id)
        if said is not None:
            return self._about_itself(Operation.KEEPALIVE, said)
        return self._requests.pop(0) if self._requests else None

    # --- for the connection ----------------------------------------------------------------------

    def received(self, payload: bytes, *, is_text: bool) -> None:
        """Take in one message or frame."""
        if self._close is not None or self._is_draining:
            return
        self._services.metrics.received_bytes.inc(len(payload))
        self._traffic += len(payload)
        self._taken_in += 1
        try:
            if is_text:
                self._receive(payload)
            elif self._wire.capabilities:
                self._receive_frame(frames.decode(payload))
            else:
                self.end(closing.BINARY_FRAME)
        except UnknownOperationError as error:
            self._refuse(intake.refuse_operation(error), "unknown_operation", str(error))
        except MessageTooLargeError as error:
            self.end(closing.too_large(str(error)))
        except WireError as error:
            self.end(closing.malformed(str(error)))
        self._read_or_not()

    def disturbed(self) -> None:
        """Count a frame that is no message among those of this second."""
        self._taken_in += 1
        self._read_or_not()

    def writable(self) -> None:
        """Go on writing."""
        self._services.flusher.want(self)

    def lost(self, close: Close | None) -> None:
        """Come to an end; whatever the node has not got it gets when it connects again."""
        self._is_over = True
        if self._close is None and close is not None:
            self._count(close)
        metrics = self._services.metrics
        if objects := self._outbox.objects:
            metrics.dropped.labels("disconnected").inc(objects)
        if answers := len(self._outbox) - objects + self._is_answering_in_parts():
            metrics.dropped.labels("unsent_answer").inc(answers)
        if self._close not in _UNTOLD:
            about = {"connection": self.connection_id}
            self._requests.append(self._about_itself(Operation.DISCONNECTED, about))
            self._services.inbox.add(self)
        self._on_end(self)

    # --- up --------------------------------------------------------------------------------------

    def _receive(self, payload: bytes) -> None:
        metrics = self._services.metrics
        if not payload.isascii():
            _check_text(payload)
        message = wire.decode(payload, max_bytes=self._services.max_message_bytes)
        intake.check_envelope(message)
        metrics.received.inc(message.operation)
        self._trace("<", message)
        self._take_in(message, len(payload))

    def _receive_frame(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Beat():
                self._services.metrics.received.inc(Operation.KEEPALIVE)
                now_s = self._services.clock()
                self._beats.heard(frame, now_s, is_quiet=not self._outbox.objects)
                self._services.inbox.add(self)
                self._services.flusher.want(self)
            case frames.Credit():
                self._go_on(frame)
            case _:
                raise WireError("a frame that only cloudcore may send")

    def _take_in(self, message: Message, size_bytes: int) -> None:
        verdict = intake.judge(self.node, message, self._services.locations)
        match verdict.intake:
            case Intake.KEEPALIVE:
                pass  # that bytes came is what counts, and the connection has noted it
            case Intake.ACK:
                self._acknowledge(message)
            case Intake.FAULT:
                self._drop("edge_error", message, logging.WARNING)
            case Intake.UNSERVED:
                self._drop("unserved", message, logging.DEBUG)
            case Intake.MEMBERSHIP:
                self._reply(Parcel(intake.confirm_membership(message)))
            case Intake.FORWARD:
                self._forward(message, size_bytes)
            case Intake.REFUSE:
                status = verdict.status
                assert status is not None
                answer = intake.refuse(message, status) if intake.is_answered(message) else None
                self._refuse(answer, status.reason, status.message)

    def _forward(self, message: Message, size_bytes: int) -> None:
        is_answered = intake.is_answered(message)
        if not self._credit.take(message.msg_id, size_bytes, is_answered=is_answered):
            self._drop("duplicate", message, logging.DEBUG)
            return
        self._requests.append(message.about(to_node(self.node, message.resource)))
        self._services.inbox.add(self)

    def _acknowledge(self, message: Message) -> None:
        ids = intake.acknowledged(message, self._wire.capabilities)
        now_s = self._services.clock()
        landed = sum(self._outbox.acknowledge(msg_id, now_s) for msg_id in ids)
        if landed:
            self._services.metrics.acknowledged.inc(landed)
            if self._outbox.has_unwritten or self._transfer is not None:
                self._services.flusher.want(self)

    def _go_on(self, credit: frames.Credit) -> None:
        """Send more of a large content."""
        transfer, now_s = self._transfer, self._services.clock()
        if transfer is None:
            return
        if not transfer.credit(credit, self._outbox.pace, now_s):
            raise WireError("a credit for what was not sent")
        self._outbox.postpone(transfer.parcel.msg_id, now_s)
        if transfer.is_done:
            self._transfer = None
        self._services.flusher.want(self)

    def _about_itself(self, operation: Operation, content: object) -> Message:
        resource = f"node/{self.node}"
        return new(ModuleName.CLOUD_HUB, GroupName.RESOURCE, operation, resource, raw(content))

    # --- down ------------------------------------------------------------------------------------

    def _reply(self, parcel: Parcel) -> None:
        self._outbox.reply(parcel)
        self._credit.add_answer()
        self._services.flusher.want(self)

    def _write_next(self, now_s: float) -> int:
        """Prepare the next frame; return its size, 0 where there is none."""
        answer = self._beats.answer(time.time_ns() // 1_000_000)
        if answer is not None:
            return self._send(answer, is_text=False)
        taken = self._outbox.take(now_s, may_be_large=self._transfer is None)
        if taken is None:
            return self._write_chunk(now_s)
        parcel, size = taken
        message = parcel.message
        self._encoded += parcel.content_bytes
        if message.operation is Operation.RESPONSE:
            self._credit.answer_written()
        self._services.metrics.sent.inc(message.operation)
        self._trace(">", message)
        if size == LARGE:
            return self._begin_transfer(parcel, now_s)
        payload = parcel.payload(self._wire.capabilities)
        return self._send(payload.data, is_text=payload.is_text)

    def _begin_transfer(self, parcel: Parcel, now_s: float) -> int:
        self._transfers += 1
        bulk = parcel.bulk(self._wire.capabilities)
        self._transfer = Transfer(self._transfers, parcel, bulk, now_s)
        return self._send(self._transfer.begin(), is_text=False)

    def _write_chunk(self, now_s: float) -> int:
        if self._transfer is None:
            return 0
        chunk = self._transfer.next_chunk(self._outbox.pace, now_s)
        return self._send(chunk, is_text=False) if chunk is not None else 0

    def _send(self, payload: bytes, *, is_text: bool) -> int:
        self._wire.send(payload, is_text=is_text)
        self._services.metrics.sent_bytes.inc(len(payload))
        self._traffic += len(payload)
        self._written += len(payload)
        return len(payload)

    def _give_up_transfer(self, now_s: float) -> None:
        """End a transfer that the edge gives no credit for; an object is tried again, later."""
        transfer = self._transfer
        if transfer is None or now_s - transfer.moved_s < STALLED_AFTER_S:
            return
        if self._is_answering_in_parts():
            self._drop("transfer_stalled", transfer.parcel.message, logging.WARNING)
        transfer.forget(self._outbox.pace)
        self._transfer = None
        # Others that are large come first.
        self._outbox.postpone(transfer.parcel.msg_id, now_s)
        self._services.flusher.want(self)

    def _is_answering_in_parts(self) -> bool:
        transfer = self._transfer
        return transfer is not None and transfer.parcel.operation is Operation.RESPONSE

    # --- what is noted ---------------------------------------------------------------------------

    def _read_or_not(self) -> None:
        """Read from the socket as long as there is room for what comes."""
        if self._is_over or self._close is not None:
            return
        has_room = self._credit.has_room() and self._taken_in < MAX_MESSAGES_PER_S
        if has_room is self._is_reading:
            return
        self._is_reading = has_room
        if has_room:
            self._wire.resume_reading()
        else:
            self._wire.pause_reading()

    def _remind(self, now_s: float) -> None:
        """Bear with an edge that is not read, and have it bear with us: that is our doing."""
        self._wire.last_received_s = now_s
        if Capability.BEATS in self._wire.capabilities:
            self._beats.remind()
            self._services.flusher.want(self)

    def _silence_s(self) -> float:
        """Return for how long nothing may come, not even a part of a large message."""
        if Capability.BEATS in self._wire.capabilities:
            return min(BEATS_SILENCE_S, self._services.keepalive_s)
        return self._services.keepalive_s

    def _is_stalled(self, now_s: float) -> bool:
        unsent = self._wire.unsent_bytes()
        taken = self._written - unsent
        if unsent == 0 or taken > self._stall[0]:
            self._stall = (taken, now_s)
        return now_s - self._stall[1] > STALLED_AFTER_S

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
            self._reply(Parcel(answer))

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


def _check_text(payload: bytes) -> None:
    """Refuse what is not UTF-8, as WebSocket text has to be.

    Raises:
        WireError: it is not.
    """
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"not UTF-8: {error.reason}") from error
