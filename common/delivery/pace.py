"""How many bytes may be under way to a peer: few on a slow link, so that the urgent gets through.

What is written cannot be overtaken any more, neither in the kernel nor on the link. So no more is
written than the link carries in a fraction of a second, measured by how long acknowledgements take
beyond the shortest time seen: that excess is the queue which we have made ourselves. Pure.

Source: the idea is that of LEDBAT (RFC 6817), which keeps the delay that it adds below a target.
"""

from typing import Final

FIRST_BYTES: Final = 8 * 1024
"""One second of a 64 kbit/s link; a faster one doubles it with each round trip."""

LEAST_BYTES: Final = 6 * 1024
"""Enough for one chunk, and too little for two."""

MOST_BYTES: Final = 4 * 1024 * 1024
QUEUE_S: Final = 0.4
"""How long what is urgent may wait behind what was written before it."""


class Pace:
    """The window of one connection. Who writes asks ``has_room`` first, and notes what lands."""

    __slots__ = ("_in_flight", "_narrowed_s", "_shortest_s", "_window")

    def __init__(self) -> None:
        self._window = FIRST_BYTES
        self._in_flight = 0
        self._shortest_s = float("inf")
        self._narrowed_s = float("-inf")

    @property
    def window(self) -> int:
        """Bytes that may be under way."""
        return self._window

    @property
    def in_flight(self) -> int:
        """Bytes that are."""
        return self._in_flight

    def has_room(self, size: int) -> bool:
        """Whether ``size`` more bytes may be written; anything may where nothing is under way."""
        return not self._in_flight or self._in_flight + size <= self._window

    def launch(self, size: int) -> None:
        """Note that ``size`` bytes are written."""
        self._in_flight += size

    def land(self, size: int, sent_s: float, now_s: float) -> None:
        """Note that the peer has ``size`` bytes which were written at ``sent_s``."""
        was_full = self._in_flight + size > self._window // 2
        self._in_flight -= size
        delay_s = max(now_s - sent_s, 0.0)
        self._shortest_s = min(self._shortest_s, delay_s)
        queue_s = delay_s - self._shortest_s
        if queue_s <= QUEUE_S:
            if was_full:  # else nothing is learned about a wider window
                self._window = min(MOST_BYTES, self._window + size)
        elif sent_s >= self._narrowed_s:  # once for all that was written under one window
            self._window = max(LEAST_BYTES, int(self._window * QUEUE_S / queue_s))
            self._narrowed_s = now_s

    def forget(self, size: int) -> None:
        """Note that ``size`` bytes are not awaited any more: they are written again, or never."""
        self._in_flight -= size
