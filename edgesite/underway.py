"""What is under way between the halves of an EdgeSite, in both directions. Pure.

No wire can lose anything here, but a disk can be full. So what goes down counts as under way until
the edge-store has it, as between the daemons; what comes up, until it is answered.
"""

from collections.abc import Iterable
from typing import Final

MAX_ASKED: Final = 512
"""Messages that may wait for the controller: half of its mailbox, so that nobody ever waits for
room there while it waits for room at the edge."""

OVERDUE_S: Final = 30.0
"""How long an object may take to be stored: what takes longer could not be."""


class Underway:
    """Of one connection. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._asked: dict[str, bool] = {}  # msg_id -> whether somebody waits for the answer
        self._sent: dict[str, float] = {}  # msg_id -> since when, oldest first

    @property
    def objects(self) -> int:
        """How many objects are not known to be stored."""
        return len(self._sent)

    @property
    def asked(self) -> int:
        """How many messages wait for the controller's answer."""
        return len(self._asked)

    def ask(self, msg_id: str, *, is_awaited: bool) -> bool:
        """Note a message for the controller; return False where too many wait already."""
        if len(self._asked) >= MAX_ASKED:
            return False
        self._asked[msg_id] = is_awaited
        return True

    def answer(self, msg_id: str) -> bool:
        """Note the controller's answer; return whether somebody waits, or waited, for it."""
        return self._asked.pop(msg_id, True)

    def send(self, msg_id: str, now_s: float) -> None:
        """Note an object that goes to the edge."""
        self._sent[msg_id] = now_s

    def acknowledge(self, msg_ids: Iterable[str]) -> int:
        """Note what is stored; return how much of it was under way."""
        return sum(self._sent.pop(msg_id, None) is not None for msg_id in msg_ids)

    def give_up(self, now_s: float) -> int:
        """Forget all objects, and return how many, if the oldest is overdue; else return 0.

        Whoever calls has the edge compared with what it should hold: that sends them again.
        """
        oldest_s = next(iter(self._sent.values()), now_s)
        if now_s - oldest_s < OVERDUE_S:
            return 0
        return self.forget()

    def forget(self) -> int:
        """Forget all objects; return how many there were."""
        objects = len(self._sent)
        self._sent.clear()
        return objects
