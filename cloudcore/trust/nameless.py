"""Edges of KubeEdge before 1.16: their certificates name no node, and are alike for all of them.

Whoever has such a certificate is any node that it says it is. So it is accepted only where the
operator says so, for as long as a fleet changes over, and only for nodes that never got or showed a
certificate of their own. Where it is accepted, it is renewed into one of its node's own.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/certificate/certs.go, verifyCertSubject.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloudcore.trust.ledger import Ledger
from common import subjects
from common.errors import RemoteError
from common.names import NodeID

logger = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""For so long a certificate that names nobody may be good for a node to which another cloudcore has
given one of its own."""

_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Nameless:
    """Tells whose a certificate is, also for one that names nobody."""

    def __init__(self) -> None:
        """Nobody is known yet."""
        self._own: set[NodeID] = set()

    async def load(self, ledger: Ledger) -> None:
        """Learn who has got a certificate of their own.

        Raises:
            RemoteError: the API server refuses, or is away.
        """
        self._own.update((await ledger.list_all()).entries)

    async def keep(self, ledger: Ledger) -> None:
        """Learn what other cloudcores have given meanwhile, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.load(ledger)
            except RemoteError as error:
                logger.warning("the ledger is not read", extra={"error": str(error)})

    def learn(self, node: NodeID) -> None:
        """Take note that ``node`` gets a certificate of its own."""
        self._own.add(node)

    def node_of(self, certificate: Mapping[str, Any], said: Sequence[str]) -> NodeID | None:
        """Return the node that a certificate is good for; None for none.

        Args:
            certificate: as ``ssl.SSLSocket.getpeercert`` returns it.
            said: the names that the client gives itself.
        """
        node = subjects.node_of_certificate(certificate)
        if node is not None:
            self._own.add(node)
            return node
        names = set(said)
        if not subjects.is_nameless(certificate) or len(names) != 1:
            return None
        (name,) = names
        if _NODE_NAME.fullmatch(name) is None or NodeID(name) in self._own:
            return None
        logger.warning(
            "a certificate of KubeEdge that names no node is accepted", extra={"node": name}
        )
        return NodeID(name)
