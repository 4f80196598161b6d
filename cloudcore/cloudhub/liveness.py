"""Whether a connection lives: something comes, and something goes. Pure."""

from typing import Final

from common.capabilities import Capabilities, Capability

STALLED_AFTER_S: Final = 60.0
"""A connection that takes no byte of what waits for it is given up after this time."""

BEATS_SILENCE_S: Final = 18.0
"""An edge with beats sends one every ten seconds: it is missed before the second is due."""


def silence_s(capabilities: Capabilities, keepalive_s: float) -> float:
    """Return for how long nothing may come, not even a part of a large message."""
    if Capability.BEATS in capabilities:
        return min(BEATS_SILENCE_S, keepalive_s)
    return keepalive_s


class Progress:
    """What a connection has taken of all that was written to it. Times are monotonic seconds."""

    __slots__ = ("_moved_s", "_taken")

    def __init__(self, now_s: float) -> None:
        self._taken = 0  # bytes
        self._moved_s = now_s

    def is_stalled(self, written: int, unsent: int, now_s: float) -> bool:
        """Note how far it is; return whether it has not got on for too long.

        Args:
            written: bytes, ever.
            unsent: those of them that have not left this process.
            now_s: the present.
        """
        taken = written - unsent
        if unsent == 0 or taken > self._taken:
            self._taken, self._moved_s = taken, now_s
        return now_s - self._moved_s > STALLED_AFTER_S
