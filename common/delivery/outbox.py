"""What waits for one peer: answers first, then the newest version of each object.

Pure: no IO, no clock of its own; the session that owns an outbox asks it what to write next and
tells it what came back.

Two lanes. *Replies* are written first, in order, each once, and are never merged: whoever asked is
waiting, and asks again if the link breaks. *Objects* are kept by UID: a newer version takes the
place of an older one that was not written yet, a delete is final, and at most one message per
object is unacknowledged. So memory is bounded by objects, not by updates, and a late resend can
never put an older version behind a newer one.

Source: KubeEdge cloud/pkg/cloudhub/common/message_pool.go and session/node_session.go, where a
reply shares the object's key (a later update overwrites it) and one message at a time is in flight.
"""

from dataclasses import dataclass
from typing import Final

from common.beehive.message import Message
from common.names import UID, Operation

SLOWEST_LINK_BYTES_PER_S: Final = 8 * 1024
"""64 kbit/s: an acknowledgement is not missed before such a link has carried what is in flight."""

_MAX_RESEND_DOUBLINGS: Final = 6


@dataclass(slots=True)
class _InFlight:
    uid: UID
    message: Message
    deadline_s: float
    attempts: int


def version_of(message: Message) -> int:
    """Return the resource version in the header as a number, 0 where there is none.

    Source: resource versions of one type may be compared as numbers (KEP-5504, Kubernetes 1.35).
    """
    version = message.header.resourceversion
    return int(version) if version.isdecimal() else 0


class Outbox:
    """The messages that wait for, or await an acknowledgement from, one peer."""

    __slots__ = (  # there is one for each peer
        "_in_flight",
        "_in_flight_bytes",
        "_in_flight_ids",
        "_replies",
        "_resend_after_s",
        "_waiting",
        "_window",
    )

    def __init__(self, *, window: int, resend_after_s: float) -> None:
        """Make an empty outbox.

        Args:
            window: messages that may be unacknowledged at a time.
            resend_after_s: seconds without an acknowledgement until a message is sent again, on a
                link that is not busy; doubled with each attempt.
        """
        self._window, self._resend_after_s = window, resend_after_s
        self._replies: list[Message] = []  # few; a deque, empty or not, takes ten times the room
        self._waiting: dict[UID, Message] = {}  # in the order of the first offer
        self._in_flight: dict[str, _InFlight] = {}  # by msg_id, oldest first
        self._in_flight_ids: dict[UID, str] = {}
        self._in_flight_bytes = 0

    def __len__(self) -> int:
        """Messages held: replies, objects that wait, objects in flight."""
        return len(self._replies) + len(self._waiting) + len(self._in_flight)

    def reply(self, message: Message) -> None:
        """Add an answer. Written before any object, exactly once; not acknowledged."""
        self._replies.append(message)

    def offer(self, uid: UID, message: Message) -> bool:
        """Add the state of an object; return False where the outbox holds a newer one.

        The message's header must carry the object's resource version unless it is a delete.
        """
        newest = self._waiting.get(uid) or self._sent(uid)
        if newest is not None and not _supersedes(message, newest):
            return False
        self._waiting[uid] = message
        return True

    def take(self, now_s: float) -> Message | None:
        """Return the next message to write, or None where there is nothing (yet) to write.

        An object counts as in flight from here on. Call again until None; then wait for an offer,
        an acknowledgement or ``deadline_s``.
        """
        if self._replies:
            return self._replies.pop(0)
        return self._take_overdue(now_s) or self._take_waiting(now_s)

    def acknowledge(self, msg_id: str) -> bool:
        """Note that the peer has made ``msg_id`` durable; return whether it was in flight."""
        entry = self._in_flight.get(msg_id)
        if entry is None:
            return False
        self._land(msg_id, entry)
        return True

    def deadline_s(self) -> float | None:
        """Return when ``take`` will have something to send again; None with nothing in flight."""
        return min((entry.deadline_s for entry in self._in_flight.values()), default=None)

    def _sent(self, uid: UID) -> Message | None:
        msg_id = self._in_flight_ids.get(uid)
        return self._in_flight[msg_id].message if msg_id is not None else None

    def _take_overdue(self, now_s: float) -> Message | None:
        overdue = next((e for e in self._in_flight.values() if e.deadline_s <= now_s), None)
        if overdue is None:
            return None
        message = self._waiting.pop(
            overdue.uid, overdue.message
        )  # the newest version, not the one that got lost
        self._land(overdue.message.msg_id, overdue)
        return self._launch(overdue.uid, message, now_s, overdue.attempts + 1)

    def _take_waiting(self, now_s: float) -> Message | None:
        if len(self._in_flight) >= self._window:
            return None
        uid = next((uid for uid in self._waiting if uid not in self._in_flight_ids), None)
        if uid is None:
            return None
        return self._launch(uid, self._waiting.pop(uid), now_s, 0)

    def _launch(self, uid: UID, message: Message, now_s: float, attempts: int) -> Message:
        self._in_flight_bytes += len(memoryview(message.content))
        patience_s = self._resend_after_s * 2 ** min(attempts, _MAX_RESEND_DOUBLINGS)
        deadline_s = now_s + patience_s + self._in_flight_bytes / SLOWEST_LINK_BYTES_PER_S
        self._in_flight[message.msg_id] = _InFlight(uid, message, deadline_s, attempts)
        self._in_flight_ids[uid] = message.msg_id
        return message

    def _land(self, msg_id: str, entry: _InFlight) -> None:
        del self._in_flight[msg_id]
        del self._in_flight_ids[entry.uid]
        self._in_flight_bytes -= len(memoryview(entry.message.content))


def _supersedes(new: Message, old: Message) -> bool:
    """Whether ``new`` says more about an object than ``old``; nothing does after a delete."""
    if old.operation is Operation.DELETE:
        return False
    return new.operation is Operation.DELETE or version_of(new) >= version_of(old)
