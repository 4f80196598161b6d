"""Nodes of which it is not sure that they hold what they should, until they have been compared."""

import asyncio
from collections.abc import Iterable

from common.names import NodeID


class Doubts:
    """Filled by whoever notices something, emptied by ``Refresher``."""

    def __init__(self) -> None:
        """Have no doubts."""
        self._nodes: set[NodeID] = set()
        self._is_any = asyncio.Event()

    def add(self, nodes: Iterable[NodeID]) -> None:
        """Have ``nodes`` compared soon; a node is in here once."""
        self._nodes.update(nodes)
        if self._nodes:
            self._is_any.set()

    async def wait(self) -> None:
        """Return as soon as there are any."""
        await self._is_any.wait()

    def take(self) -> list[NodeID]:
        """Return all there are, and have none."""
        nodes, self._nodes = sorted(self._nodes), set()
        self._is_any.clear()
        return nodes
