"""A WebSocket connection that remembers whose it is and when its last byte came."""

from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.server import ServerProtocol

from common.names import NodeID, PeerProtocol


class HubConnection(ServerConnection):
    """``node`` is set when the handshake has been accepted."""

    # An attribute that is new to an object which uvloop has looked at makes CPython give it a
    # dictionary with names of its own, 1.5 KiB: so these are slots, two of the library's as well.
    __slots__ = ("is_lost", "last_received_s", "node", "on_lost", "recv_messages", "transport")

    node: NodeID

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        logger = protocol.logger
        super().__init__(protocol, server, **options)
        # The library wraps it to tell its lines of one connection from those of another.
        self.logger = protocol.logger = logger
        self.last_received_s = self.loop.time()
        """Monotonic seconds; any byte counts, so that a slow link is not a dead one."""

        self.is_lost = False
        self.on_lost: Callable[[], None] | None = None

    @property
    def peer_protocol(self) -> PeerProtocol:
        """What was agreed on: KubeEdge's where nothing was."""
        return PeerProtocol(self.subprotocol or PeerProtocol.KUBEEDGE)

    def forget_handshake(self) -> None:
        """Let go of what only the handshake needs, for as long as the node is connected: 7 KiB.

        The request itself stays: that there is one tells the library that frames come now.
        """
        assert self.request is not None
        self.request.headers.clear()
        self.response = None
        certificate = self.transport.get_extra_info("peercert")  # the transport's own dictionary
        if certificate is not None:
            certificate.clear()

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
