"""What nodes send and receive in a day: on a metered link, what they cost. Pure."""

from collections.abc import Mapping
from typing import Final

from common.names import NodeID

WINDOW_S: Final = 3600.0
"""The day is judged by its last whole hour."""

_DAY_S: Final = 24 * 3600.0
QUANTILES: Final = (0.5, 0.9, 0.99, 1.0)


class Traffic:
    """Bytes by node, in the hour that runs and in the one before."""

    def __init__(self, now_s: float) -> None:
        """Begin to count at ``now_s``, in monotonic seconds."""
        self._since_s = now_s
        self._running: dict[NodeID, int] = {}
        self._whole: dict[NodeID, int] = {}

    def note(self, node: NodeID, size: int) -> None:
        """Add ``size`` bytes of ``node``."""
        self._running[node] = self._running.get(node, 0) + size

    def roll(self, now_s: float) -> bool:
        """Begin a new hour if the one that runs is over, and return whether that was so.

        Called every second or so.
        """
        if now_s - self._since_s < WINDOW_S:
            return False
        self._whole, self._running = self._running, {}
        self._since_s = now_s
        return True

    def per_day(self) -> Mapping[float, float]:
        """Return bytes a day by quantile over the nodes; nothing before the first hour is over."""
        if not self._whole:
            return {}
        sizes = sorted(self._whole.values())
        scale = _DAY_S / WINDOW_S
        return {q: sizes[min(len(sizes) - 1, int(q * len(sizes)))] * scale for q in QUANTILES}
