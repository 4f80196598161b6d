"""Has nodes compared that are connected and in doubt, a few at a time.

Our own edges are asked for their inventory; one of the first version, which cannot be asked, has to
connect again. Whoever has none is sent everything.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from cloudcore.edgecontroller.absences import Absences
from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import Peers
from cloudcore.synccontroller.doubts import Doubts
from cloudcore.synccontroller.requests import ask_inventory, ask_to_return
from common.capabilities import Capability
from common.names import NodeID, PeerProtocol

logger = logging.getLogger(__name__)

AT_A_TIME: Final = 4
"""Fewer than there are places for comparisons, so that those who connect find some."""

ANSWER_S: Final = 15.0
"""How long one node may keep the others waiting."""


class Refresher:
    """Empties ``Doubts``, once the caches are what can be compared with."""

    def __init__(
        self,
        doubts: Doubts,
        peers: Peers,
        sender: Sender,
        *,
        ready: tuple[Progress, Absences],
        send_everything: Callable[[NodeID], Awaitable[None]],
    ) -> None:
        """Make a module part; ``run`` does the work.

        Args:
            doubts: who is to be compared.
            peers: who is connected; who is not is compared when it comes.
            sender: by which edges are asked.
            ready: nobody is asked before the caches are in step and absences looked into.
            send_everything: what is done for an edge that has no inventory.
        """
        self._doubts, self._peers, self._sender = doubts, peers, sender
        self._progress, self._absences = ready
        self._send_everything = send_everything
        self._asked: dict[NodeID, asyncio.Event] = {}

    def answered(self, node: NodeID) -> bool:
        """Note that the inventory of ``node`` was answered; return whether it was asked for it."""
        asked = self._asked.get(node)
        if asked is not None:
            asked.set()
        return asked is not None

    async def run(self) -> None:
        """Have nodes compared until cancelled."""
        while True:
            await self._doubts.wait()
            await self._progress.in_step()
            await self._absences.settled()
            nodes = iter(self._doubts.take())
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(self._refresh(nodes), name="refresh")

    async def _refresh(self, nodes: Iterator[NodeID]) -> None:
        for node in nodes:
            peer = self._peers.get(node)
            if peer is None:
                continue
            if Capability.DIGEST in peer.capabilities:
                await self._ask(node)
            elif peer.protocol is PeerProtocol.CLOUDEDGE_V1:
                self._peers.disconnected(node)  # the hub tells of no end that it was asked for
                await ask_to_return(self._sender, node, peer)
            else:
                await self._send_everything(node)

    async def _ask(self, node: NodeID) -> None:
        asked = self._asked[node] = asyncio.Event()
        await ask_inventory(self._sender, node)
        try:
            async with asyncio.timeout(ANSWER_S):
                await asked.wait()
        except TimeoutError:
            # It may be slow, or gone; then it is compared when it comes again.
            logger.info("no inventory yet", extra={"node": node})
        finally:
            del self._asked[node]
