"""How many bytes may be under way to a peer: few on a slow link, so that the urgent gets through.

What is written cannot be overtaken any more, neither in the kernel nor on the link. So no more is
written than the link carries in a fraction of a second, measured by how long acknowledgements take
beyond the shortest time seen: that excess is the queue which we have made ourselves. Pure.

The window goes towards the size at which that queue is ``QUEUE_S`` long: by so much of itself as
the delay is off, at each round trip. The shortest time is measured anew once a minute, with nothing
under way, because a link can get longer: its length would be taken for a queue for ever.

Source: the idea is that of LEDBAT (RFC 6817), which keeps the delay that it adds below a target.
"""

from typing import Final

FIRST_BYTES: Final = 8 * 1024
"""One second of a 64 kbit/s link; a faster one doubles it with each round trip."""

LEAST_BYTES: Final = 6 * 1024
"""Enough for one chunk, and too little for two."""

MOST_BYTES: Final = 4 * 1024 * 1024
QUEUE_S: Final = 0.25
"""How long what is urgent is to wait behind what was written before it."""

RENEW_S: Final = 60.0
"""How long the shortest time counts."""

_GAIN: Final = 0.5
"""A part of what is off: what is measured is a round trip old."""

_NEVER: Final = float("inf")


class Pace:
    """The window of one connection. Who writes asks ``has_room`` first, and notes what lands."""

    __slots__ = (
        "_in_flight",
        "_is_emptying",
        "_measured_s",
        "_shortest_s",
        "_was_too_wide",
        "_window",
    )

    def __init__(self) -> None:
        self._window = FIRST_BYTES
        self._in_flight = 0
        self._shortest_s = _NEVER
        self._measured_s = _NEVER  # when that was measured first
        self._is_emptying = False  # so that it can be measured again
        self._was_too_wide = False

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
        if not self._in_flight:
            return True
        return not self._is_emptying and self._in_flight + size <= self._window

    def launch(self, size: int) -> None:
        """Note that ``size`` bytes are written."""
        if self._is_emptying and not self._in_flight:
            self._is_emptying = False
            self._shortest_s = _NEVER
        self._in_flight += size

    def land(self, size: int, sent_s: float, now_s: float) -> None:
        """Note that the peer has ``size`` bytes which were written at ``sent_s``."""
        was_full = self._in_flight > self._window // 2
        self._in_flight -= size
        delay_s = max(now_s - sent_s, 0.0)
        if self._shortest_s == _NEVER:
            self._measured_s = now_s
        self._shortest_s = min(self._shortest_s, delay_s)
        self._is_emptying = now_s - self._measured_s > RENEW_S
        growth = self._growth(delay_s)
        if growth < 0 or was_full:  # else nothing is learned about a wider window
            window = self._window + int(size * growth)
            self._window = max(LEAST_BYTES, min(MOST_BYTES, window))

    def forget(self, size: int) -> None:
        """Note that ``size`` bytes are not awaited any more: they are written again, or never."""
        self._in_flight -= size

    def _growth(self, delay_s: float) -> float:
        """Return by how many bytes the window is to grow for each byte that has landed."""
        queue_s = delay_s - self._shortest_s
        if not self._was_too_wide and queue_s < QUEUE_S / 2:
            return 1.0  # until the limits of the link are seen
        self._was_too_wide = self._was_too_wide or queue_s > QUEUE_S
        off = (QUEUE_S - queue_s) / delay_s if delay_s else 1.0
        return _GAIN * max(-1.0, min(1.0, off))
