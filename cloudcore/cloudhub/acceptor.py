"""Accept TCP connections and run their TLS handshakes, a bounded number at a time.

``loop.create_server`` starts as many handshakes as come in. Here those that find no place wait in
the kernel's backlog, and each handshake has a deadline: whoever opens connections and says nothing
slows others down for that long, and takes no memory beyond the bound.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from common.metrics import MessageMetrics

logger = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_UNSENT_BYTES: Final = 16 * 1024
_NO_DESCRIPTORS_PAUSE_S: Final = 1.0
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """What strangers may cost."""

    handshakes: int = 64
    """TLS handshakes in flight."""

    handshake_timeout_s: float = 10.0
    connections: int = 4096
    """Open connections; one more is closed at once."""

    lifetime_s: float | None = None
    """Seconds after which a connection is cut, for servers whose every exchange is short."""


@dataclass(frozen=True, slots=True)
class Listener:
    """What connections become."""

    name: str
    """In logs and counters."""

    context: Callable[[], ssl.SSLContext]
    """Asked for each connection, so that what is shown and trusted can change meanwhile."""

    factory: Callable[[], asyncio.BaseProtocol]
    open_connections: Callable[[], int]


def bind(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Return a listening socket for each address.

    Raises:
        OSError: one cannot be bound; none stays open then. The text tells which.
    """
    bound: list[socket.socket] = []
    for host, port in addresses:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            bound.append(socket.create_server((host, port), family=family, backlog=_BACKLOG))
        except OSError as error:
            for one in bound:
                one.close()
            text = f"cannot listen on {host}:{port}: {error.strerror}"
            raise OSError(error.errno, text) from error
        bound[-1].setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return bound


class Acceptor(asyncio.AbstractServer):
    """Feeds connections to a protocol factory; an ``asyncio.Server`` to whoever closes it."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        listener: Listener,
        limits: AcceptLimits,
        metrics: MessageMetrics,
    ) -> None:
        """Accept nothing yet; ``run`` does.

        Args:
            sockets: listening and non-blocking; closed by ``close``.
            listener: what connections become.
            limits: what strangers may cost.
            metrics: where refusals are counted.
        """
        self.sockets = tuple(sockets)
        self._listener, self._limits, self._metrics = listener, limits, metrics
        self._slots = asyncio.Semaphore(limits.handshakes)
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Accept until ``close``; handshakes that are in flight then are cut off."""
        try:
            async with asyncio.TaskGroup() as group:
                accepting = group.create_task(self._accept_all(), name=self._listener.name)
                await self._closed.wait()
                accepting.cancel()
        finally:
            for one in self.sockets:
                one.close()

    def close(self) -> None:
        """Accept no more. Connections that were accepted live on."""
        self._closed.set()

    async def wait_closed(self) -> None:
        """Return when ``close`` was called."""
        await self._closed.wait()

    def is_serving(self) -> bool:
        """Whether new connections are wanted."""
        return not self._closed.is_set()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that it runs on."""
        return asyncio.get_running_loop()

    async def start_serving(self) -> None:
        """Nothing to do: ``run`` serves."""

    async def serve_forever(self) -> None:
        """As ``run``."""
        await self.run()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def _accept_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for one in self.sockets:
                group.create_task(self._accept(one, group), name=f"{self._listener.name} accept")

    async def _accept(self, listening: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._slots.acquire()
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                self._slots.release()
                await self._bear(error)
                continue
            except asyncio.CancelledError:
                self._slots.release()
                raise
            group.create_task(
                self._shake_hands(accepted, str(address[0])), name=f"{self._listener.name} TLS"
            )

    async def _bear(self, error: OSError) -> None:
        """Go on after a connection that could not be accepted; wait where none can be."""
        self._refuse("accept", "?", str(error))
        if error.errno in _NO_DESCRIPTORS:
            await asyncio.sleep(_NO_DESCRIPTORS_PAUSE_S)

    async def _shake_hands(self, accepted: socket.socket, address: str) -> None:
        try:
            if self._listener.open_connections() >= self._limits.connections:
                accepted.close()
                self._refuse("too_many_connections", address, "no place for another connection")
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What the kernel has not sent yet waits in this process instead, where it is seen: but
            # for what the transport below TLS holds, 64 KiB and one write whatever its size. That
            # transport cannot be reached, neither asyncio's nor uvloop's, to set it other limits.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._listener.factory,
                accepted,
                ssl=self._listener.context(),
                ssl_handshake_timeout=self._limits.handshake_timeout_s,
                ssl_shutdown_timeout=self._limits.handshake_timeout_s,
            )
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            accepted.close()
            self._refuse("tls_handshake", address, str(error) or type(error).__name__)
            return
        finally:
            self._slots.release()
        if self._limits.lifetime_s is not None:
            asyncio.get_running_loop().call_later(self._limits.lifetime_s, transport.abort)

    def _refuse(self, reason: str, address: str, detail: str) -> None:
        self._metrics.refused.labels(f"{self._listener.name}_{reason}").inc()
        logger.info(
            "connection refused",
            extra={
                "server": self._listener.name,
                "address": address,
                "reason": reason,
                "detail": detail[:200],
            },
        )
