"""What is written to one node, and in which order.

Answers to beats come first, then the replies and objects of the outbox, and between them, chunk by
chunk, one content that is large.
"""

import logging
import time
from typing import Final, Protocol

from cloudcore.cloudhub import notes
from cloudcore.cloudhub.beats import Beats
from cloudcore.cloudhub.liveness import STALLED_AFTER_S
from cloudcore.cloudhub.outstanding import Outstanding
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.transfer import Transfer
from cloudcore.metrics import CloudMetrics
from common import frames
from common.capabilities import Capabilities
from common.delivery.outbox import LARGE, Outbox
from common.errors import WireError
from common.names import NodeID, Operation, PeerProtocol

RESEND_AFTER_S: Final = 5.0
WINDOWS: Final = {
    PeerProtocol.KUBEEDGE: 32,  # its edge has room for 100 messages and drops the oldest of more
    PeerProtocol.CLOUDEDGE_V1: 256,
}

TURN_BYTES: Final = 64 * 1024
"""Contents that are encoded for one node before others have their turn: 2 to 4 ms."""

_FLUSH_BYTES: Final = 64 * 1024


class Writable(Protocol):
    """A connection, as far as it is written to."""

    node: NodeID
    peer_protocol: PeerProtocol
    capabilities: Capabilities
    is_writable: bool

    def send(self, payload: bytes, *, is_text: bool) -> None:
        """Prepare a frame."""

    def flush(self) -> None:
        """Write what was prepared."""


class Writer:
    """Writes to one connection."""

    __slots__ = (  # there is one for each node
        "_encoded",
        "_link",
        "_metrics",
        "_outstanding",
        "_transfer",
        "_transfers",
        "beats",
        "outbox",
        "written",
    )

    def __init__(self, link: Writable, metrics: CloudMetrics, outstanding: Outstanding) -> None:
        """Write to ``link``; ``outstanding`` is told of each answer that is written."""
        self._link, self._metrics, self._outstanding = link, metrics, outstanding
        capabilities = link.capabilities
        self.outbox: Outbox[Parcel] = Outbox(
            window=WINDOWS[link.peer_protocol],
            resend_after_s=RESEND_AFTER_S,
            measure=lambda parcel: parcel.measure(capabilities),
            superseded=metrics.superseded.inc,
            landed=metrics.ack_seconds.observe,
            resent=metrics.resent.inc,
        )
        self.beats = Beats()
        self._transfer: Transfer | None = None
        self._transfers = 0
        self._encoded = 0  # bytes of contents in this turn
        self.written = 0
        """Bytes, ever."""

    @property
    def answers(self) -> int:
        """Replies that are not written, or not in full."""
        return len(self.outbox) - self.outbox.objects + self._is_answering_in_parts()

    @property
    def is_waiting(self) -> bool:
        """Whether there is something to write that an acknowledgement may make room for."""
        return self.outbox.has_unwritten or self._transfer is not None

    def write(self, now_s: float) -> bool:
        """Write as much of what waits as the connection takes.

        Returns:
            Whether others should have their turn before this one goes on.
        """
        link = self._link
        unwritten = self._encoded = 0
        while link.is_writable and self._encoded < TURN_BYTES:
            size = self._write_next(now_s)
            if not size:
                break
            unwritten += size
            if unwritten > _FLUSH_BYTES:
                link.flush()
                unwritten = 0
        link.flush()
        return self._encoded >= TURN_BYTES

    def go_on(self, credit: frames.Credit, now_s: float) -> bool:
        """Take in how much the edge has of a large content; return whether there may be more.

        Raises:
            WireError: the edge cannot have that.
        """
        transfer = self._transfer
        if transfer is None:
            return False
        if not transfer.credit(credit, self.outbox.pace, now_s):
            raise WireError("a credit for what was not sent")
        self.outbox.postpone(transfer.parcel.msg_id, now_s)
        if transfer.is_done:
            self._transfer = None
        return True

    def tend(self, now_s: float) -> bool:
        """Give up what does not get on; return whether there is something to write again."""
        if self._give_up_transfer(now_s):
            return True
        deadline_s = self.outbox.deadline_s()
        return deadline_s is not None and deadline_s <= now_s

    def _write_next(self, now_s: float) -> int:
        """Prepare the next frame; return its size, 0 where there is none."""
        answer = self.beats.answer(time.time_ns() // 1_000_000)
        if answer is not None:
            return self._send(answer, is_text=False)
        taken = self.outbox.take(now_s, may_be_large=self._transfer is None)
        if taken is None:
            return self._write_chunk(now_s)
        parcel, size = taken
        message = parcel.message
        self._encoded += parcel.content_bytes
        if message.operation is Operation.RESPONSE:
            self._outstanding.answer_written()
        self._metrics.sent.inc(message.operation)
        notes.trace(">", self._link.node, message)
        if size == LARGE:
            return self._begin_transfer(parcel, now_s)
        payload = parcel.payload(self._link.capabilities)
        return self._send(payload.data, is_text=payload.is_text)

    def _begin_transfer(self, parcel: Parcel, now_s: float) -> int:
        self._transfers += 1
        bulk = parcel.bulk(self._link.capabilities)
        self._transfer = Transfer(self._transfers, parcel, bulk, now_s)
        return self._send(self._transfer.begin(), is_text=False)

    def _write_chunk(self, now_s: float) -> int:
        if self._transfer is None:
            return 0
        chunk = self._transfer.next_chunk(self.outbox.pace, now_s)
        return self._send(chunk, is_text=False) if chunk is not None else 0

    def _send(self, payload: bytes, *, is_text: bool) -> int:
        self._link.send(payload, is_text=is_text)
        self._metrics.sent_bytes.inc(len(payload))
        self.written += len(payload)
        return len(payload)

    def _give_up_transfer(self, now_s: float) -> bool:
        """End a transfer that the edge gives no credit for; an object is tried again, later."""
        transfer = self._transfer
        if transfer is None or now_s - transfer.moved_s < STALLED_AFTER_S:
            return False
        if self._is_answering_in_parts():
            message = transfer.parcel.message
            notes.dropped(
                self._metrics, self._link.node, "transfer_stalled", message, logging.WARNING
            )
        transfer.forget(self.outbox.pace)
        self._transfer = None
        # Others that are large come first.
        self.outbox.postpone(transfer.parcel.msg_id, now_s)
        return True

    def _is_answering_in_parts(self) -> bool:
        transfer = self._transfer
        return transfer is not None and transfer.parcel.operation is Operation.RESPONSE
