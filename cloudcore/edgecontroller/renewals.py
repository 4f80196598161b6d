"""Which nodes want their lease written, in what order, and how fast. Pure.

Each stands in line once, however many beats have come meanwhile, and nobody is written twice at a
time. Those that have just come stand in a line of their own, and the two take turns: a thousand
edges that join do not delay the renewals of the others. All that came at one moment, as after a
break of many links, are spread over some seconds, so that neither cloudcore nor the API server does
nothing else for that time.
"""

from collections import OrderedDict
from typing import Final

from common.names import NodeID

SPREAD_S: Final = 5.0
"""In what time all leases are written that were wanted at one moment: half of a beat's period."""

LEAST_RATE: Final = 200.0
"""A second. Few nodes need not be spread."""

_PAUSE_S: Final = 0.05
"""Those that belong into this time are written one right after the other: fewer timers."""

_CREDIT_S: Final = 0.25
"""So much of a delay, as of a pause that took longer, is made up for."""


_Line = OrderedDict[NodeID, None]


class Renewals:
    """The lines of nodes, and those whose turn it is. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lines: tuple[_Line, _Line] = (OrderedDict(), OrderedDict())  # known nodes, new ones
        self._last = 0  # the line that the last one was taken from
        self._busy: set[NodeID] = set()
        self._again: set[NodeID] = set()  # those that are busy and wait already
        self._next_s = float("-inf")

    def __len__(self) -> int:
        """Nodes that stand in line."""
        return sum(map(len, self._lines))

    def want(self, node: NodeID, *, is_new: bool = False) -> None:
        """Have the lease of ``node`` written, if that does not wait to be done already.

        Args:
            node: whose lease it is.
            is_new: it has just come; its lease was not written yet.
        """
        known, new = self._lines
        if node in self._busy:
            self._again.add(node)
        elif is_new and node not in known:
            new.setdefault(node)
        elif node not in new:
            known.setdefault(node)

    def drop(self, node: NodeID) -> None:
        """Have it written no longer; what is being written is."""
        for line in self._lines:
            line.pop(node, None)
        self._again.discard(node)

    def pause_s(self, now_s: float) -> float:
        """Return how long to wait before the next one may be taken; 0 for not at all."""
        self._next_s = max(self._next_s, now_s - _CREDIT_S)
        return 0.0 if self._next_s < now_s else _PAUSE_S

    def take(self, nodes: int) -> NodeID:
        """Return whose lease is to be written now; ``done`` has to follow.

        Args:
            nodes: how many leases there are to be renewed.
        """
        other = 1 - self._last
        self._last = other if self._lines[other] else self._last
        node, _ = self._lines[self._last].popitem(last=False)
        self._busy.add(node)
        self._next_s += 1.0 / max(LEAST_RATE, nodes / SPREAD_S)
        return node

    def done(self, node: NodeID) -> None:
        """Note that the lease of ``node`` was written, or could not be."""
        self._busy.discard(node)
        if node in self._again:
            self._again.remove(node)
            self.want(node)
