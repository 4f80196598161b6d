"""When an edge says that it lives, and when the silence of the cloud means that the link is dead.

Pure. A beat is due in a rhythm that is the connection's own, so that the edges that a cloud lost at
one moment do not all beat at another. Each is answered; the link is dead where an answer is missing
*and* no byte has come: on a slow link the answer may stand behind a large message that is coming.
"""

from itertools import takewhile
from typing import Final

from msgspec import Struct

from common.frames import Beat, BeatAnswer

DIGEST_EVERY: Final = 30
"""Beats, of which one carries the digest though nobody has asked for it: five minutes."""

MAX_UNANSWERED: Final = 30
"""Beats. A cloud that sends all the time and answers none of them is none."""

_NUMBERS: Final = 2**32


class _Asked(Struct):
    due_s: float
    sent_s: float | None = None


class Beats:
    """The beats of one connection. Times are monotonic seconds."""

    def __init__(self, now_s: float, *, period_s: float, answer_s: float, phase: float) -> None:
        """Start a connection; its first beat is due at once.

        Args:
            now_s: the present.
            period_s: seconds between two beats.
            answer_s: seconds that an answer, and the next byte, may take.
            phase: a part of the period, in [0, 1), after which the second beat is due.
        """
        self._period_s, self._answer_s, self._phase = period_s, answer_s, phase
        self.due_s = now_s
        """When the next beat is due."""
        self._number = 0
        self._is_digest_wanted = False
        self._unanswered: dict[int, _Asked] = {}  # by number, oldest first

    @property
    def wants_digest(self) -> bool:
        """Whether the beat that was begun last shall carry a digest."""
        return self._is_digest_wanted or (self._number > 0 and self._number % DIGEST_EVERY == 0)

    def begin(self, now_s: float) -> int:
        """Return the number of the beat that is due; from now on its answer is waited for."""
        self._number = (self._number + 1) % _NUMBERS
        self._unanswered[self._number] = _Asked(self.due_s)
        step_s = self._period_s * (self._phase if self._number == 1 else 1.0)
        # After a standstill of the whole machine nothing is made up for.
        self.due_s = max(self.due_s + step_s, now_s)
        return self._number

    def written(self, beat: Beat, now_s: float) -> None:
        """Note that a beat goes out now, and whether it says what was asked for."""
        if beat.digest is not None:
            self._is_digest_wanted = False
        if (asked := self._unanswered.get(beat.number)) is not None:
            asked.sent_s = now_s

    def answered(self, answer: BeatAnswer) -> float | None:
        """Take an answer in, which stands for those to earlier beats too.

        Returns:
            When the beat was written; None for an answer to nothing.
        """
        self._is_digest_wanted = self._is_digest_wanted or answer.wants_digest
        asked = self._unanswered.get(answer.number)
        if asked is None:
            return None
        for number in list(takewhile(lambda n: n != answer.number, self._unanswered)):
            del self._unanswered[number]
        del self._unanswered[answer.number]
        return asked.sent_s

    def patience_s(self, now_s: float, idle_s: float) -> float:
        """Return for how many seconds more the link counts as alive; none, or less: it is dead.

        Args:
            now_s: the present.
            idle_s: for how many seconds no byte has come.
        """
        oldest = next(iter(self._unanswered.values()), None)
        if oldest is None:
            return self.due_s + self._answer_s - now_s
        if len(self._unanswered) > MAX_UNANSWERED:
            return 0.0
        return max(oldest.due_s + self._answer_s - now_s, self._answer_s - idle_s)
