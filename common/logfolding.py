"""Which log lines are written, and which are counted only: a disk must not fill with one sentence.

The first of a kind is written at once. What is said again within a minute is counted, and the count
is written when the minute is over. Pure: the time is an argument.
"""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from msgspec import Struct

WINDOW_S: Final = 60.0

MOST_ALIKE: Final = 1000
"""Lines a minute of one text, whatever their fields say. A thousand nodes that connect are news, a
machine that is refused ten thousand times under as many ports is not."""

MOST_KINDS: Final = 1024
"""Kinds of lines that are remembered at a time; the oldest is forgotten first."""

T = TypeVar("T")


class _Kind(Struct, Generic[T]):
    line: T
    until_s: float
    said: int = 1
    swallowed: int = 0


class Folding(Generic[T]):
    """Judges lines; ``T`` is whatever a line is."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._kinds: OrderedDict[tuple[object, ...], _Kind[T]] = OrderedDict()

    def admit(self, text: tuple[object, ...], fields: object, line: T, now_s: float) -> bool:
        """Return whether ``line`` is to be written.

        Args:
            text: what makes two lines say the same of different things.
            fields: what they say it of; None for a line that is news each time.
            line: kept for as long as its kind is remembered.
            now_s: monotonic seconds. Call ``over`` with it before.
        """
        alike = self._kinds.get(text)
        if alike is not None and alike.said >= MOST_ALIKE:
            alike.line = line
            alike.swallowed += 1
            return False
        if fields is not None:
            same = self._kinds.get((*text, fields))
            if same is not None:
                same.swallowed += 1
                return False
            self._kinds[(*text, fields)] = _Kind(line, now_s + WINDOW_S)
        if alike is None:
            self._kinds[text] = _Kind(line, now_s + WINDOW_S)
        else:
            alike.said += 1
        return True

    def over(self, now_s: float) -> list[tuple[T, int]]:
        """Return what was swallowed of each kind whose minute is over, or that is forgotten."""
        found: list[tuple[T, int]] = []
        while self._kinds:
            kind = next(iter(self._kinds.values()))
            if kind.until_s > now_s and len(self._kinds) <= MOST_KINDS:
                break
            self._kinds.popitem(last=False)
            if kind.swallowed:
                found.append((kind.line, kind.swallowed))
        return found

    def end(self) -> list[tuple[T, int]]:
        """Return all that was swallowed and not told, and forget it."""
        found = [(one.line, one.swallowed) for one in self._kinds.values() if one.swallowed]
        self._kinds.clear()
        return found
