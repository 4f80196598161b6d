"""A WebSocket connection that remembers whose it is and when its last byte came."""

from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.server import ServerProtocol

from common.names import NodeID, PeerProtocol


class HubConnection(ServerConnection):
    """``node`` is set when the handshake has been accepted."""

    node: NodeID

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        super().__init__(protocol, server, **options)
        self.last_received_s = self.loop.time()
        """Monotonic seconds; any byte counts, so that a slow link is not a dead one."""

        self.is_lost = False
        self.on_lost: Callable[[], None] | None = None

    @property
    def peer_protocol(self) -> PeerProtocol:
        """What was agreed on: KubeEdge's where nothing was."""
        return PeerProtocol(self.subprotocol or PeerProtocol.KUBEEDGE)

    def data_received(self, data: bytes) -> None:
        """Note the time, then as usual."""
        self.last_received_s = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the session, which may be waiting for something else than this socket."""
        super().connection_lost(exc)
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()
