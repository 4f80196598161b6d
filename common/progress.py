"""Whether modules take what is sent to them. Pure.

A module that has messages and takes none of them for long hangs, however well the event loop turns.
One that has none may rest for as long as it likes.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from common.names import ModuleName

HANGS_AFTER_S: Final = 60.0
"""A module that leaves its messages alone for so long is taken to hang."""


class Turns(NamedTuple):
    """What a mailbox has seen."""

    waiting: int
    """Messages that nobody has taken yet."""
    taken: int
    """How often some were taken."""


class Progress:
    """Remembers since when each module has had messages that it does not take."""

    def __init__(self) -> None:
        self._since: dict[ModuleName, tuple[int, float]] = {}

    def hanging(self, turns: Mapping[ModuleName, Turns], now_s: float) -> list[ModuleName]:
        """Return who hangs.

        Args:
            turns: of each module that is judged; asked for again and again.
            now_s: the present, in monotonic seconds.
        """
        found = []
        for name, (waiting, taken) in turns.items():
            before, since_s = self._since.get(name, (taken, now_s))
            if not waiting or before != taken:
                since_s = now_s
            self._since[name] = (taken, since_s)
            if now_s - since_s >= HANGS_AFTER_S:
                found.append(name)
        return found
