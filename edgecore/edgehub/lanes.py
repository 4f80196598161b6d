"""What waits to be written to the cloud, and which requests await their answer. Pure.

Three lanes, each in order: control (keepalives and acknowledgements, which hold up the cloud), then
leases (which decide whether the node counts as alive), then all other requests. Each is bounded:
acknowledgements by the cloud's window, requests by who waits for them.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from common.beehive.message import Message
from common.names import NODE_LEASE_NAMESPACE

CAPACITY: Final = 2048
"""Messages of a lane. The cloud's window is 256 and a node's requests are fewer."""

FORGOTTEN_AFTER_S: Final = 300.0
"""After this long nobody waits for an answer any more."""

_LEASES: Final = f"{NODE_LEASE_NAMESPACE}/"


@dataclass(frozen=True, slots=True)
class Awaited:
    """A request that was accepted and has not been answered."""

    message: Message
    since_s: float
    """When it was written; until then, when it was offered."""


class Lanes:
    """The messages of one connection."""

    def __init__(self) -> None:
        """Start with nothing to write."""
        self._control: deque[Message] = deque()
        self._leases: deque[Message] = deque()
        self._others: deque[Message] = deque()
        self._awaited: dict[str, Awaited] = {}  # by msg_id, oldest first

    def __len__(self) -> int:
        """Messages that wait to be written."""
        return len(self._control) + len(self._leases) + len(self._others)

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

    def take(self, now_s: float) -> Message | None:
        """Return the next message to write, None for nothing."""
        for lane in (self._control, self._leases, self._others):
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
        others = sum(
            not message.header.sync
            for lane in (self._control, self._leases, self._others)
            for message in lane
        )
        requests = [awaited.message for awaited in self._awaited.values()]
        for lane in (self._control, self._leases, self._others):
            lane.clear()
        self._awaited.clear()
        return requests, others

    def _lane(self, message: Message) -> deque[Message]:
        if message.resource.startswith(_LEASES) and message.header.sync:
            return self._leases
        return self._others if message.header.sync or not _is_control(message) else self._control

    def _forget(self, now_s: float) -> None:
        for msg_id, awaited in list(self._awaited.items()):
            if now_s - awaited.since_s < FORGOTTEN_AFTER_S:
                return
            del self._awaited[msg_id]


def _is_control(message: Message) -> bool:
    return message.operation in ("response", "keepalive")
