"""What waits to be written to the cloud, and which requests await their answer. Pure.

Three lanes, each in order: control (beats, keepalives and acknowledgements, which hold up the
cloud), then leases (which decide whether the node counts as alive), then all other requests. Each
is bounded: acknowledgements by the cloud's window, requests by who waits for them. Before all of
them goes the credit of a transfer, of which the newest says everything.

A beat stands in order among the acknowledgements: whatever they tell before it is in its digest.
"""

from collections import deque
from typing import Final

from msgspec import Struct

from common.beehive.message import Message
from common.frames import Beat, Credit
from common.names import NODE_LEASE_NAMESPACE, Operation

CAPACITY: Final = 2048
"""Messages of a lane. The cloud's window is 256 and a node's requests are fewer."""

FORGOTTEN_AFTER_S: Final = 300.0
"""After this long nobody waits for an answer any more."""

_LEASES: Final = f"{NODE_LEASE_NAMESPACE}/"
_CONTROL: Final = frozenset({Operation.RESPONSE, Operation.KEEPALIVE})

Item = Message | Beat | Credit
"""What can be written."""


class Awaited(Struct, frozen=True):
    """A request that was accepted and has not been answered."""

    message: Message
    since_s: float
    """When it was written; until then, when it was offered."""


class Lanes:
    """The messages of one connection."""

    def __init__(self) -> None:
        """Start with nothing to write."""
        self._credit: Credit | None = None
        self._control: deque[Message | Beat] = deque()
        self._leases: deque[Message] = deque()
        self._others: deque[Message] = deque()
        self._awaited: dict[str, Awaited] = {}  # by msg_id, oldest first

    def __len__(self) -> int:
        """What waits to be written."""
        waiting = len(self._control) + len(self._leases) + len(self._others)
        return waiting + (self._credit is not None)

    @property
    def waiting(self) -> int:
        """What waits to be written, or for its answer; may be asked in any thread."""
        asked = len(self._awaited)
        return asked + sum(not m.header.sync for m in tuple(self._others) + tuple(self._leases))

    def offer(self, message: Message, now_s: float) -> bool:
        """Add ``message``; return False where its lane, or the list of requests, is full."""
        lane = self._lane(message)
        self._forget(now_s)
        if len(lane) >= CAPACITY or (message.header.sync and len(self._awaited) >= CAPACITY):
            return False
        lane.append(message)
        if message.header.sync:
            self._awaited[message.msg_id] = Awaited(message, now_s)
        return True

    def beat(self, beat: Beat) -> None:
        """Add a beat behind the acknowledgements that wait."""
        self._control.append(beat)

    def credit(self, credit: Credit) -> None:
        """Add a credit, in place of an older one."""
        self._credit = credit

    def take(self, now_s: float) -> Item | None:
        """Return what to write next, None for nothing."""
        if (credit := self._credit) is not None:
            self._credit = None
            return credit
        if self._control:
            return self._control.popleft()
        for lane in (self._leases, self._others):
            if lane:
                message = lane.popleft()
                if message.msg_id in self._awaited:
                    self._awaited[message.msg_id] = Awaited(message, now_s)
                return message
        return None

    def answered(self, msg_id: str) -> Awaited | None:
        """Return the request that ``msg_id`` names, which is awaited no longer; None for none."""
        return self._awaited.pop(msg_id, None)

    def end(self) -> tuple[list[Message], int]:
        """Empty the lanes of a connection that is gone.

        Returns:
            The requests that were accepted and not answered, and how many other messages are lost.
        """
        waiting = (*self._control, *self._leases, *self._others)
        others = sum(isinstance(m, Message) and m.msg_id not in self._awaited for m in waiting)
        requests = [awaited.message for awaited in self._awaited.values()]
        for lane in (self._control, self._leases, self._others):
            lane.clear()
        self._credit = None
        self._awaited.clear()
        return requests, others

    def _lane(self, message: Message) -> "deque[Message] | deque[Message | Beat]":
        if message.resource.startswith(_LEASES) and message.header.sync:
            return self._leases
        is_control = message.operation in _CONTROL and not message.header.sync
        return self._control if is_control else self._others

    def _forget(self, now_s: float) -> None:
        for msg_id, awaited in list(self._awaited.items()):
            if now_s - awaited.since_s < FORGOTTEN_AFTER_S:
                return
            del self._awaited[msg_id]
