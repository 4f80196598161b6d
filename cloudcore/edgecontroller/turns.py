"""Whose turn it is where many nodes want few places: one after the other, whoever asks most. Pure.

Nodes that wait stand in a ring. A free place goes to the first of them, for what it has waited with
longest; if it waits with more, it goes to the end of the ring. So between a node's request and its
place every other node gets one place at most, and whoever floods waits behind itself alone.
"""

from collections import deque
from typing import Generic, TypeVar

from msgspec import Struct, field

from common.names import NodeID

T = TypeVar("T")


class _Claims(Struct, Generic[T]):
    """What one node holds and waits with."""

    waiting: deque[T] = field(default_factory=deque)
    holds: int = 0
    is_in_ring: bool = False


class Turns(Generic[T]):
    """Places, and the tickets of those that wait for one. A node without either is forgotten."""

    def __init__(self, places: int, per_node: int) -> None:
        """Make ``places`` places, all free, of which one node may hold ``per_node``."""
        assert 0 < per_node <= places, "a node may hold a place, and no more than there are"
        self._free, self._per_node = places, per_node
        self._nodes: dict[NodeID, _Claims[T]] = {}
        self._ring: deque[NodeID] = deque()  # nodes that wait and may hold another place

    def __len__(self) -> int:
        """Nodes that hold a place or wait for one."""
        return len(self._nodes)

    def enter(self, node: NodeID, ticket: T) -> None:
        """Wait for a place for ``node``."""
        self._nodes.setdefault(node, _Claims()).waiting.append(ticket)
        self._settle(node)

    def grant(self) -> tuple[NodeID, T] | None:
        """Give a free place to whose turn it is; None where none is free or nobody may have it."""
        if not self._free or not self._ring:
            return None
        node = self._ring.popleft()
        claims = self._nodes[node]
        claims.is_in_ring = False
        claims.holds += 1
        self._free -= 1
        ticket = claims.waiting.popleft()
        self._settle(node)
        return node, ticket

    def leave(self, node: NodeID) -> None:
        """Take back a place that ``node`` was given."""
        self._nodes[node].holds -= 1
        self._free += 1
        self._settle(node)

    def give_up(self, node: NodeID, ticket: T) -> None:
        """Wait no longer with ``ticket``; nothing happens where it has been given its place."""
        claims = self._nodes.get(node)
        if claims is None or ticket not in claims.waiting:
            return
        claims.waiting.remove(ticket)
        if claims.is_in_ring and not claims.waiting:
            self._ring.remove(node)
            claims.is_in_ring = False
        self._settle(node)

    def _settle(self, node: NodeID) -> None:
        """Put ``node`` into the ring if it belongs there; forget it if it wants nothing."""
        claims = self._nodes[node]
        if not claims.waiting and not claims.holds:
            del self._nodes[node]
        elif claims.waiting and not claims.is_in_ring and claims.holds < self._per_node:
            claims.is_in_ring = True
            self._ring.append(node)
