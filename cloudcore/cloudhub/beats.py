"""What an edge says with its beats, and what it is answered. Pure.

The newest beat alone counts: however far the controller or the link is behind, one waits to be
passed on and one to be answered. An answer stands for those to earlier beats.
"""

from typing import Final

from common import frames
from common.frames import Beat, BeatAnswer
from common.inventory import to_hex

LEAST_DIGEST_S: Final = 0.5
"""Between two digests that are passed on: to compare one takes a thousand times what a beat takes,
and an edge says one every five minutes."""


class Beats:
    """The beats of one connection. Times are monotonic seconds."""

    __slots__ = (
        "_backlog",
        "_beat",
        "_digest_s",
        "_is_answered",
        "_is_quiet",
        "_number",
        "_wants_digest",
    )

    def __init__(self) -> None:
        self._beat: Beat | None = None  # that the controller has not been told of
        self._is_quiet = False
        self._backlog = 0
        self._digest_s = float("-inf")  # when the last one came that was passed on
        self._number = 0  # of the last one; an edge counts from 1
        self._is_answered = True
        self._wants_digest = False

    def heard(self, beat: Beat, now_s: float, *, backlog: int) -> None:
        """Take in a beat.

        Args:
            beat: from the edge.
            now_s: the present.
            backlog: objects that wait for, or await an acknowledgement by, the edge. Whether there
                are any is judged now: later, one may have come and gone that the digest knows
                nothing of.
        """
        self._backlog = backlog
        self._number, self._is_answered = beat.number, False
        if beat.digest is not None:
            if now_s - self._digest_s < LEAST_DIGEST_S:
                beat = Beat(beat.number, beat.progresses)
            else:
                self._digest_s = now_s
        before = self._beat
        if beat.digest is None and before is not None and before.digest is not None:
            # It was asked for, and is not said again.
            self._beat = Beat(beat.number, beat.progresses, before.digest)
        else:
            self._beat, self._is_quiet = beat, backlog == 0

    def want_digest(self) -> None:
        """Have the edge say a digest of what it holds with its next beat."""
        self._wants_digest = True

    def remind(self) -> None:
        """Have the last answer written again: a sign of life to an edge that is not read now."""
        self._is_answered = False

    def answer(self, now_ms: int) -> bytes | None:
        """Return the frame to be written, once; None where no answer is owed.

        Args:
            now_ms: milliseconds since the epoch.
        """
        if self._is_answered:
            return None
        answer = BeatAnswer(self._number, now_ms, self._wants_digest)
        self._is_answered, self._wants_digest = True, False
        return frames.encode(answer)

    def take(self, connection: str) -> dict[str, object] | None:
        """Return what the controller has not been told yet; None where there is nothing.

        Args:
            connection: whose beats these are.
        """
        beat, self._beat = self._beat, None
        if beat is None:
            return None
        return {
            "connection": connection,
            "progresses": beat.progresses,
            "digest": None if beat.digest is None else to_hex(beat.digest),
            "is_quiet": self._is_quiet,
            "backlog": self._backlog,
        }
