"""What waits for one peer: answers first, then the newest version of each object.

Pure: no IO, no clock of its own; the session that owns an outbox asks it what to write next and
tells it what came back.

Two lanes. *Replies* are written first, in order, each once, and are never merged: whoever asked is
waiting, and asks again if the link breaks. *Objects* are kept by UID: a newer version takes the
place of an older one that was not written yet, a delete is final, and at most one message per
object is unacknowledged. So memory is bounded by objects, not by updates, and a late resend can
never put an older version behind a newer one.

What is *large* is written in parts by whoever takes it, one at a time; the rest passes by.

Nothing is lost (promise P8): what was offered is acknowledged, superseded, or still here.

Source: KubeEdge cloud/pkg/cloudhub/common/message_pool.go and session/node_session.go, where a
reply shares the object's key (a later update overwrites it) and one message at a time is in flight.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import Final, Generic, Protocol, Self, TypeVar

from msgspec import Struct

from common.delivery.pace import Pace
from common.names import UID, Operation

SLOWEST_LINK_BYTES_PER_S: Final = 8 * 1024
"""64 kbit/s: an acknowledgement is not missed before such a link has carried what is in flight."""

LARGE: Final = 0
"""What ``measure`` says of a message that goes in parts."""

_MAX_RESEND_DOUBLINGS: Final = 6


class Sendable(Protocol):
    """What an outbox has to know of a message."""

    @property
    def msg_id(self) -> str:
        """By which it is acknowledged."""

    @property
    def operation(self) -> Operation:
        """The verb: nothing follows a delete."""

    @property
    def version(self) -> int:
        """The object's resource version; 0 where it has none."""

    @property
    def is_restated(self) -> bool:
        """Whether it says what the peer should hold, whatever versions there were before."""

    def restated(self) -> Self:
        """Return the same with that mark."""


P = TypeVar("P", bound=Sendable)


class _InFlight(Struct, Generic[P]):
    uid: UID
    parcel: P
    size: int
    sent_s: float
    deadline_s: float
    attempts: int

    @property
    def is_paced(self) -> bool:
        """Whether it takes room under way, and tells how long the way is.

        Not what goes in parts, which do that themselves. Nor what was sent again: what a peer never
        acknowledges leaves the room to the rest, and nobody knows which of two is acknowledged.
        """
        return self.size != LARGE and not self.attempts


class Outbox(Generic[P]):
    """The messages that wait for, or await an acknowledgement from, one peer."""

    __slots__ = (  # there is one for each peer
        "_due_s",
        "_in_flight",
        "_in_flight_ids",
        "_landed",
        "_measure",
        "_replies",
        "_resend_after_s",
        "_resent",
        "_superseded",
        "_waiting",
        "_window",
        "pace",
    )

    def __init__(
        self,
        *,
        window: int,
        resend_after_s: float,
        measure: Callable[[P], int],
        superseded: Callable[[], None],
        landed: Callable[[float], None],
        resent: Callable[[], None],
    ) -> None:
        """Make an empty outbox.

        Args:
            window: messages that may be unacknowledged at a time.
            resend_after_s: seconds without an acknowledgement until a message is sent again, on a
                link that is not busy; doubled with each attempt.
            measure: bytes that a message takes when it is written at once, or ``LARGE``.
            superseded: called for each state of an object that will not be acknowledged, because
                there is a newer one.
            landed: called for each message that is acknowledged, with the seconds since it was
                sent.
            resent: called for each message that is sent again.
        """
        self._superseded, self._landed, self._resent = superseded, landed, resent
        self._window, self._resend_after_s, self._measure = window, resend_after_s, measure
        self._replies: list[P] = []  # few; a deque, empty or not, takes ten times the room
        self._waiting: dict[UID, P] = {}  # in the order of the first offer
        self._in_flight: dict[str, _InFlight[P]] = {}  # by msg_id, oldest first
        self._in_flight_ids: dict[UID, str] = {}
        self._due_s = inf  # no deadline is before; to look at all for each message is too much
        self.pace = Pace()
        """Of the bytes under way; whoever writes parts tells it of these."""

    def __len__(self) -> int:
        """Messages held: replies, objects that wait, objects in flight."""
        return len(self._replies) + self.objects

    @property
    def objects(self) -> int:
        """States of objects held: those that wait, and those that are in flight."""
        return len(self._waiting) + len(self._in_flight)

    @property
    def has_unwritten(self) -> bool:
        """Whether anything waits to be written for the first time."""
        return bool(self._replies or self._waiting)

    def reply(self, parcel: P) -> None:
        """Add an answer. Written before any object, exactly once; not acknowledged."""
        self._replies.append(parcel)

    def offer(self, uid: UID, parcel: P) -> None:
        """Add the state of an object, unless a newer one is here already.

        Unless it is a delete, the parcel must say the object's resource version.
        """
        waiting = self._waiting.get(uid)
        newest = waiting or self._sent(uid)
        if newest is not None and not _supersedes(parcel, newest):
            self._superseded()
            return
        if waiting is not None:
            self._superseded()
            parcel = _in_place_of(waiting, parcel)
        self._waiting[uid] = parcel

    def take(self, now_s: float, *, may_be_large: bool) -> tuple[P, int] | None:
        """Return the next message to write, and its size; None where there is nothing (yet).

        An object counts as in flight from here on. Call again until None; then wait for an offer,
        an acknowledgement or ``deadline_s``.

        Args:
            now_s: monotonic seconds.
            may_be_large: whether one that goes in parts may be taken now.
        """
        return (
            self._take_reply(may_be_large=may_be_large)
            or self._take_overdue(now_s, may_be_large=may_be_large)
            or self._take_waiting(now_s, may_be_large=may_be_large)
        )

    def acknowledge(self, msg_id: str, now_s: float) -> bool:
        """Note that the peer has made ``msg_id`` durable; return whether it was in flight."""
        entry = self._in_flight.get(msg_id)
        if entry is None:
            return False
        self._remove(msg_id, entry)
        self._landed(now_s - entry.sent_s)
        if entry.is_paced:
            self.pace.land(entry.size, entry.sent_s, now_s)
        return True

    def postpone(self, msg_id: str, now_s: float) -> None:
        """Note that a part of ``msg_id`` has arrived: the rest needs its time."""
        entry = self._in_flight.get(msg_id)
        if entry is not None:
            entry.deadline_s = now_s + self._patience_s(entry.attempts)
            self._due_s = min(self._due_s, entry.deadline_s)

    def deadline_s(self) -> float | None:
        """Return when ``take`` will have something to send again; None with nothing in flight."""
        return min((entry.deadline_s for entry in self._in_flight.values()), default=None)

    def _sent(self, uid: UID) -> P | None:
        msg_id = self._in_flight_ids.get(uid)
        return self._in_flight[msg_id].parcel if msg_id is not None else None

    def _take_reply(self, *, may_be_large: bool) -> tuple[P, int] | None:
        for place, parcel in enumerate(self._replies):
            size = self._measure(parcel)
            if size != LARGE or may_be_large:
                del self._replies[place]
                return parcel, size
        return None

    def _take_overdue(self, now_s: float, *, may_be_large: bool) -> tuple[P, int] | None:
        if self._due_s > now_s:
            return None
        for entry in self._in_flight.values():
            if entry.deadline_s > now_s:
                continue
            # The newest version, not the one that got lost.
            waiting = self._waiting.get(entry.uid)
            parcel = entry.parcel if waiting is None else _in_place_of(entry.parcel, waiting)
            size = self._measure(parcel)
            # Nor what takes the place of one that goes in parts: it may be the one that is being
            # written, and would arrive after its successor.
            if LARGE in (size, entry.size) and not may_be_large:
                continue
            if self._waiting.pop(entry.uid, None) is not None:
                self._superseded()
            self._remove(entry.parcel.msg_id, entry)
            if entry.is_paced:
                self.pace.forget(entry.size)
            self._resent()
            return self._launch(entry.uid, parcel, size, now_s, entry.attempts + 1)
        self._due_s = min((entry.deadline_s for entry in self._in_flight.values()), default=inf)
        return None

    def _take_waiting(self, now_s: float, *, may_be_large: bool) -> tuple[P, int] | None:
        if len(self._in_flight) >= self._window:
            return None
        for uid, parcel in self._free():
            size = self._measure(parcel)
            if size == LARGE and not may_be_large:
                continue
            if not self.pace.has_room(size):
                return None  # a smaller one could pass for ever
            del self._waiting[uid]
            return self._launch(uid, parcel, size, now_s, 0)
        return None

    def _free(self) -> Iterator[tuple[UID, P]]:
        """Yield what waits and has no older version in flight."""
        return ((u, p) for u, p in self._waiting.items() if u not in self._in_flight_ids)

    def _launch(self, uid: UID, parcel: P, size: int, now_s: float, attempts: int) -> tuple[P, int]:
        entry = _InFlight(uid, parcel, size, now_s, now_s, attempts)
        if entry.is_paced:
            self.pace.launch(size)
        entry.deadline_s += self._patience_s(attempts)
        self._due_s = min(self._due_s, entry.deadline_s)
        self._in_flight[parcel.msg_id] = entry
        self._in_flight_ids[uid] = parcel.msg_id
        return parcel, size

    def _patience_s(self, attempts: int) -> float:
        patience_s = self._resend_after_s * float(2 ** min(attempts, _MAX_RESEND_DOUBLINGS))
        return patience_s + self.pace.in_flight / SLOWEST_LINK_BYTES_PER_S

    def _remove(self, msg_id: str, entry: _InFlight[P]) -> None:
        del self._in_flight[msg_id]
        del self._in_flight_ids[entry.uid]


def _in_place_of(old: P, new: P) -> P:
    """Return ``new`` for a peer that may never hear of ``old``.

    What was restated may be behind what the peer holds, and so may all that follows it: the peer
    would take it for old. A delete needs no mark: it is final, whatever was before.
    """
    if old.is_restated and not new.is_restated and new.operation is not Operation.DELETE:
        return new.restated()
    return new


def _supersedes(new: Sendable, old: Sendable) -> bool:
    """Whether ``new`` says more about an object than ``old``.

    Nothing does after a delete, but what is restated: it is there again, because an etcd was
    restored, or because the peer needs it again.
    """
    if new.is_restated:
        return True
    if old.operation is Operation.DELETE:
        return False
    return new.operation is Operation.DELETE or new.version >= old.version
