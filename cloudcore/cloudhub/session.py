"""One connected node: what it sends is judged, what it is to get waits in its outbox.

A session has no task and no timer. Its connection calls it with what comes, the hub with what goes
and once a second to tend it; it answers by what it writes, which the flusher gathers. So it also
runs on a connection that is none, with a clock that is moved by hand.

What goes, and in which order, stands in ``cloudcore.cloudhub.writer``; what is asked of a message
in ``cloudcore.cloudhub.intake``; when the socket is read in ``cloudcore.cloudhub.reading``; what
closes a connection in ``cloudcore.cloudhub.closing`` and ``cloudcore.cloudhub.liveness``.

Source: KubeEdge cloud/pkg/cloudhub/session/node_session.go.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from cloudcore.cloudhub import closing, intake, notes
from cloudcore.cloudhub.authorize import Locations
from cloudcore.cloudhub.closing import Close
from cloudcore.cloudhub.flusher import Flusher
from cloudcore.cloudhub.inbox import Inbox
from cloudcore.cloudhub.intake import Intake
from cloudcore.cloudhub.liveness import Progress, silence_s
from cloudcore.cloudhub.outstanding import Outstanding
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.reading import Readable, Reading
from cloudcore.cloudhub.telling import Telling
from cloudcore.cloudhub.writer import Writable, Writer
from cloudcore.metrics import CloudMetrics
from common import frames, wire
from common.beehive.message import Message
from common.capabilities import Capability
from common.errors import MessageTooLargeError, UnknownOperationError, WireError
from common.names import UID, Operation
from common.resource import to_node

CLOSE_TIMEOUT_S: Final = 5.0
"""How long the edge may take to answer a close frame; then the connection is cut."""

_UNTOLD: Final = (closing.REPLACED, closing.NODE_LIMIT)
"""Ends that the controller does not hear of: it has the newer connection, or never had this one."""


class Wire(Writable, Readable, Protocol):
    """A connection, as far as a session needs one."""

    serial: int
    """Of the certificate that the node has shown."""

    last_received_s: float

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""

    def abort(self) -> None:
        """Cut it."""

    def unsent_bytes(self) -> int:
        """Return how many written bytes have not left this process."""


class SessionServices(Struct, frozen=True):
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
        "_close",
        "_close_deadline_s",
        "_is_draining",
        "_is_over",
        "_on_end",
        "_outbox",
        "_outstanding",
        "_progress",
        "_reading",
        "_services",
        "_silence_s",
        "_telling",
        "_traffic",
        "_wire",
        "_writer",
        "connection_id",
        "ended_by",
        "node",
        "protocol",
        "since_s",
    )

    def __init__(
        self, link: Wire, services: SessionServices, on_end: Callable[["Session"], None]
    ) -> None:
        """Serve ``link``; ``on_end`` is called once, when it is gone."""
        self.node = link.node
        self.protocol = link.peer_protocol
        self._wire, self._services, self._on_end = link, services, on_end
        self._outstanding = Outstanding()
        self._reading = Reading(link, self._outstanding)
        self._writer = Writer(link, services.metrics, self._outstanding)
        self._outbox = self._writer.outbox
        self._silence_s = silence_s(link.capabilities, services.keepalive_s)
        self._progress = Progress(services.clock())
        self._traffic = 0  # bytes received less those, of both ways, that were told of
        self._is_draining = False
        self._is_over = False
        self._close: Close | None = None
        self.ended_by = "lost"
        """Once it has ended: why, in a word."""
        self._close_deadline_s = 0.0
        self.since_s = services.clock()
        """When it began, by the services' clock."""
        self._telling = Telling(
            self.node,
            self._writer.beats,
            {"protocol": self.protocol, "capabilities": sorted(link.capabilities)},
        )
        self.connection_id = self._telling.connection_id
        """By which the controller knows this connection from others of the node."""

    # --- for the hub -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell the controller that the node is here."""
        self._services.inbox.add(self._telling)

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
        is_answered = self._outstanding.settle(parcel.message.parent_id)
        if is_answered:
            self._reading.add_answer(parcel.content_bytes)
            self._reply(parcel)
        self._reading.adjust()
        return is_answered is not None

    def ask(self, parcel: Parcel) -> None:
        """Send a question of the controller, ahead of all objects; it is not acknowledged."""
        self._outbox.reply(parcel)
        self._services.flusher.want(self)

    def want_digest(self) -> None:
        """Have the edge say a digest of what it holds with its next beat."""
        self._writer.beats.want_digest()

    def end(self, close: Close) -> None:
        """Close the connection; the first reason counts. It does not wait."""
        if self._close is not None or self._is_over:
            return
        self._close = close
        self._close_deadline_s = self._services.clock() + CLOSE_TIMEOUT_S
        notes.closed(self._services.metrics, self.node, close)
        self._reading.close()
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
        if not self._reading.is_on:
            self._remind(now_s)
        self._reading.begin_second()
        if now_s - self._wire.last_received_s > self._silence_s:
            self.end(closing.silent(self._silence_s))
            self._close_deadline_s = now_s  # hardly anybody is there to answer
        elif self._progress.is_stalled(self._writer.written, self._wire.unsent_bytes(), now_s):
            self.end(closing.STALLED)
            self.abort()  # a close frame would wait behind the rest
        elif self._writer.tend(now_s):
            self._services.flusher.want(self)

    def take_traffic(self) -> int:
        """Return the bytes of all frames, both ways, since the last call."""
        traffic = self._traffic + self._writer.written
        self._traffic -= traffic
        return traffic

    def flush(self) -> None:
        """Write as much of what waits as the connection takes; see ``Flusher``."""
        if self._close is not None or self._is_over:
            return
        if self._writer.write(self._services.clock()):
            self._services.flusher.want(self)
        elif self._is_draining and self._wire.is_writable:
            self.end(closing.GOING_AWAY)
        self._reading.adjust()  # what was written has made room

    # --- for the connection ----------------------------------------------------------------------

    def received(self, payload: bytes, *, is_text: bool) -> None:
        """Take in one message or frame."""
        if self._close is not None or self._is_draining:
            return
        self._services.metrics.received_bytes.inc(len(payload))
        self._traffic += len(payload)
        self._reading.taken_in += 1
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
        self._reading.adjust()

    def disturbed(self) -> None:
        """Count a frame that is no message among those of this second."""
        self._reading.taken_in += 1
        self._reading.adjust()

    def writable(self) -> None:
        """Go on writing."""
        self._services.flusher.want(self)

    def lost(self, close: Close | None) -> None:
        """Come to an end; whatever the node has not got it gets when it connects again."""
        self._is_over = True
        why = self._close or close
        if why is not None:
            self.ended_by = why.counted_as or why.text.replace(" ", "_")
        self._reading.lost()
        if self._close is None and close is not None:
            notes.closed(self._services.metrics, self.node, close)
        metrics = self._services.metrics
        if objects := self._outbox.objects:
            metrics.dropped.inc("disconnected", objects)
        if answers := self._writer.answers:
            metrics.dropped.inc("unsent_answer", answers)
        if self._close not in _UNTOLD:
            self._telling.end()
            self._services.inbox.add(self._telling)
        self._on_end(self)

    # --- up --------------------------------------------------------------------------------------

    def _receive(self, payload: bytes) -> None:
        message = intake.read(payload, max_bytes=self._services.max_message_bytes)
        self._services.metrics.received.inc(message.operation)
        notes.trace("<", self.node, message)
        self._take_in(message, len(payload))

    def _receive_frame(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Beat():
                self._services.metrics.received.inc(Operation.KEEPALIVE)
                now_s = self._services.clock()
                self._writer.beats.heard(frame, now_s, backlog=self._outbox.objects)
                self._services.inbox.add(self._telling)
                self._services.flusher.want(self)
            case frames.Credit():
                if self._writer.go_on(frame, self._services.clock()):
                    self._services.flusher.want(self)
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
        if not self._outstanding.take(message.msg_id, size_bytes, is_answered=is_answered):
            self._drop("duplicate", message, logging.DEBUG)
            return
        self._telling.add(message.about(to_node(self.node, message.resource)))
        self._services.inbox.add(self._telling)

    def _acknowledge(self, message: Message) -> None:
        ids = intake.acknowledged(message, self._wire.capabilities)
        notes.landed(self.node, ids)
        now_s = self._services.clock()
        landed = sum(self._outbox.acknowledge(msg_id, now_s) for msg_id in ids)
        if landed:
            self._services.metrics.acknowledged.inc(landed)
            if self._writer.is_waiting:
                self._services.flusher.want(self)

    def _remind(self, now_s: float) -> None:
        """Bear with an edge that is not read, and have it bear with us: that is our doing."""
        self._wire.last_received_s = now_s
        if Capability.BEATS in self._wire.capabilities:
            self._writer.beats.remind()
            self._services.flusher.want(self)

    def _reply(self, parcel: Parcel) -> None:
        self._outbox.reply(parcel)
        self._outstanding.add_answer()
        self._services.flusher.want(self)

    def _refuse(self, answer: Message | None, reason: str, detail: str) -> None:
        notes.refused(self._services.metrics, self.node, reason, detail)
        if answer is not None:
            self._reply(Parcel(answer))

    def _drop(self, reason: str, message: Message, level: int) -> None:
        notes.dropped(self._services.metrics, self.node, reason, message, level)
