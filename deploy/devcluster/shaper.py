"""When a packet comes out of a line that is slow, long and has a short queue. Pure."""

from dataclasses import dataclass

_QUEUE_S = 0.4
_BURST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """What a line does to the packets that one side sends; each direction has one of its own."""

    delay_s: float = 0.0
    """From one end to the other; half of what it adds to a round trip."""

    bits_per_s: float = 0.0
    """How fast bits leave; 0 for as fast as they come."""

    @property
    def queue_bytes(self) -> float:
        """What may wait in front of a line with a rate; a packet beyond that is lost."""
        return self.bits_per_s / 8 * _QUEUE_S + _BURST_BYTES


class Shaper:
    """One direction of a line: first come, first served, and what finds the queue full is lost."""

    def __init__(self, line: Line) -> None:
        """Begin with an empty queue."""
        self._line = line
        self._free_at_s = float("-inf")

    def arrival_s(self, size: int, now_s: float) -> float | None:
        """Return when a packet of ``size`` bytes, sent at ``now_s``, arrives; None for never.

        Times never go back as long as ``now_s`` does not.
        """
        line = self._line
        start_s = max(now_s, self._free_at_s)
        if line.bits_per_s:
            waiting = (start_s - now_s) * line.bits_per_s / 8
            if waiting + size > line.queue_bytes:
                return None
            start_s += size * 8 / line.bits_per_s
        self._free_at_s = start_s
        return start_s + line.delay_s
