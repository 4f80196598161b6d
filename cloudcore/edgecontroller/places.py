"""A bounded number of things at a time, shared fairly between nodes; the rule is in ``turns``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cloudcore.edgecontroller.turns import Turns
from common.names import NodeID


class FairPlaces:
    """A semaphore that a node which asks for more than the others cannot keep for itself."""

    def __init__(self, places: int, per_node: int) -> None:
        """Make ``places`` places, of which one node may hold ``per_node``."""
        self._turns: Turns[asyncio.Future[None]] = Turns(places, per_node)

    @asynccontextmanager
    async def take(self, node: NodeID) -> AsyncIterator[None]:
        """Hold a place for ``node`` while the context lasts.

        Order: those of one node in theirs; between two of them every other node has one at most.
        Cancellation: no place is lost.
        """
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.enter(node, ticket)
        self._grant()
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.cancelled():
                self._turns.give_up(node, ticket)
            else:  # it had been given its place, and did not come to know
                self._leave(node)
            raise
        try:
            yield
        finally:
            self._leave(node)

    def _leave(self, node: NodeID) -> None:
        self._turns.leave(node)
        self._grant()

    def _grant(self) -> None:
        while (granted := self._turns.grant()) is not None:
            node, ticket = granted
            if ticket.cancelled():  # whoever waited has still to run, and then finds it gone
                self._turns.leave(node)
            else:
                ticket.set_result(None)
