"""What the hub tells about nodes as such: that one came, that it lives, that it is gone.

Nobody is answered. What has to follow and may take time is returned to be done in its turn.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec

from cloudcore.edgecontroller.state import Peer, Peers
from common import capabilities, wire
from common.beehive.message import Message
from common.capabilities import Capability
from common.names import NodeID, Operation, PeerProtocol

OPERATIONS = frozenset({Operation.CONNECTED, Operation.DISCONNECTED, Operation.KEEPALIVE})
"""Of messages about a node as such."""

Job = Callable[[], Awaitable[None]]


class Resync(Protocol):
    """Brings nodes in step; see ``cloudcore.synccontroller``."""

    async def send_everything(self, node: NodeID) -> None:
        """Send ``node``, a KubeEdge edge, all that it should have."""

    async def check(self, node: NodeID, connection: str, digest: str, *, is_quiet: bool) -> None:
        """Compare the ``digest`` of what ``node`` holds with what it should hold.

        Args:
            node: whose digest it is.
            connection: by which it came.
            digest: 16 hexadecimal digits.
            is_quiet: nothing was under way to the node when it came.
        """


class Leases(Protocol):
    """Renews leases; see ``leasekeeper``."""

    def connected(self, node: NodeID, connection: str) -> None:
        """Take over the lease of ``node``."""

    def beat(self, node: NodeID, connection: str, *, progresses: bool, backlog: int) -> None:
        """Take in that ``node`` lives."""

    def disconnected(self, node: NodeID) -> None:
        """Leave the lease of ``node`` alone."""


class _Connected(msgspec.Struct):
    protocol: PeerProtocol
    capabilities: list[str] = []


class _Gone(msgspec.Struct):
    connection: str


class _Beat(msgspec.Struct):
    connection: str
    progresses: bool
    digest: str | None = None
    is_quiet: bool = False
    backlog: int = 0


class Presence:
    """Takes in who is connected, for the leases and for the comparison of what nodes hold."""

    def __init__(self, peers: Peers, leases: Leases, resync: Resync) -> None:
        """Keep ``peers`` and ``leases`` up to date."""
        self._peers, self._leases, self._resync = peers, leases, resync
        self._unchecked: dict[NodeID, _Beat] = {}  # newest beats whose digests wait for their turn

    def note(self, node: NodeID, message: Message) -> Job | None:
        """Take in a message of one of ``OPERATIONS``; return what has to follow, if anything."""
        match message.operation:
            case Operation.CONNECTED:
                return self._connected(node, message)
            case Operation.KEEPALIVE:
                return self._beat(node, wire.loads_as(message.content, _Beat))
            case _:
                self._disconnected(node, wire.loads_as(message.content, _Gone).connection)
                return None

    def _connected(self, node: NodeID, message: Message) -> Job | None:
        content, connection = wire.loads_as(message.content, _Connected), message.msg_id
        can = capabilities.parse(",".join(content.capabilities))
        self._peers.connected(
            node, Peer(content.protocol, connection, can, message.header.timestamp)
        )
        if Capability.BEATS in can:
            self._leases.connected(node, connection)
        else:
            self._leases.disconnected(node)  # it sends its renewals itself
        if content.protocol is PeerProtocol.KUBEEDGE:
            return partial(self._bring_in_step, node, connection)
        return None

    def _disconnected(self, node: NodeID, connection: str) -> None:
        if self._peers.is_current(node, connection):  # else it has come back already
            self._peers.disconnected(node)
            self._leases.disconnected(node)

    def _beat(self, node: NodeID, beat: _Beat) -> Job | None:
        alive, backlog = beat.progresses, beat.backlog
        self._leases.beat(node, beat.connection, progresses=alive, backlog=backlog)
        if beat.digest is None:
            return None
        is_waiting = node in self._unchecked
        self._unchecked[node] = beat
        return None if is_waiting else partial(self._check, node)

    async def _bring_in_step(self, node: NodeID, connection: str) -> None:
        if self._peers.is_current(node, connection):
            await self._resync.send_everything(node)

    async def _check(self, node: NodeID) -> None:
        beat = self._unchecked.pop(node)
        if beat.digest is not None and self._peers.is_current(node, beat.connection):
            await self._resync.check(node, beat.connection, beat.digest, is_quiet=beat.is_quiet)
