"""Accept TCP connections and run their TLS handshakes, a bounded number at a time.

``loop.create_server`` starts as many handshakes as come in. Here those that find no place wait in
the kernel's backlog, and each handshake has a deadline: whoever opens connections and says nothing
takes no memory beyond the bound. One address has some of the places, and never all of them.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, Self

from msgspec import Struct

from cloudcore.cloudhub.places import Places, Verdict, origin_of
from common.metrics import MessageMetrics

logger = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_UNSENT_BYTES: Final = 16 * 1024
_LOOK_EVERY_S: Final = 1.0
_NO_DESCRIPTORS_PAUSE_S: Final = 1.0
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class AcceptLimits(Struct, frozen=True):
    """What strangers may cost."""

    handshakes: int = 64
    """TLS handshakes in flight."""

    handshakes_per_address: int = 32
    """Of these, those of one address; further ones wait for as long as a handshake may take."""

    handshake_timeout_s: float = 10.0
    connections: int = 4096
    """Open connections; one more is closed at once."""

    connections_per_address: int = 512
    """Of these, those of one address, behind which may be many edges."""

    lifetime_s: float | None = None
    """Seconds after which a connection is cut, for servers whose every exchange is short."""


class Listener(Struct, frozen=True):
    """What connections become."""

    name: str
    """In logs and counters."""

    context: Callable[[], ssl.SSLContext]
    """Asked for each connection, so that what is shown and trusted can change meanwhile."""

    factory: Callable[[], asyncio.BaseProtocol]
    open_connections: Callable[[], int]
    open_from: Callable[[str], int]
    """How many of them are of one origin; see ``places.origin_of``."""


class _Accepted(Struct, frozen=True, eq=False):
    plain: socket.socket
    address: str
    origin: str


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
        self._places: Places[_Accepted] = Places(
            connections=limits.connections,
            connections_per_origin=limits.connections_per_address,
            handshakes_per_origin=limits.handshakes_per_address,
        )
        # When each is cut, and whose it is.
        self._lives: dict[asyncio.WriteTransport, tuple[float, str]] = {}
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
            for accepted in self._places.drain():
                accepted.plain.close()

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
            if self._limits.lifetime_s is not None:
                group.create_task(self._cut_all(), name=f"{self._listener.name} lifetimes")

    async def _accept(self, listening: socket.socket, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._slots.acquire()
            try:
                plain, address = await loop.sock_accept(listening)
            except OSError as error:
                self._slots.release()
                await self._bear(error)
                continue
            except asyncio.CancelledError:
                self._slots.release()
                raise
            accepted = _Accepted(plain, str(address[0]), origin_of(str(address[0])))
            group.create_task(self._serve(accepted), name=f"{self._listener.name} TLS")

    def _has_place(self, accepted: _Accepted) -> bool:
        """Return whether it may shake hands at once; if not, it waits or is refused."""
        verdict = self._places.enter(
            accepted.origin,
            accepted,
            asyncio.get_running_loop().time(),
            open_in_all=self._listener.open_connections(),
            open_of_origin=self._listener.open_from(accepted.origin),
        )
        if verdict is Verdict.TOO_MANY:
            accepted.plain.close()
            self._refuse("too_many_connections", accepted.address, "no place for another one")
        elif verdict is Verdict.TOO_MANY_OF_ORIGIN:
            accepted.plain.close()
            detail = f"{accepted.origin} has {self._limits.connections_per_address} already"
            self._refuse("too_many_of_address", accepted.address, detail)
        return verdict is Verdict.GO

    async def _serve(self, accepted: _Accepted) -> None:
        """Shake hands with one, and then with those of its origin who have waited for that.

        A connection is open before its handshake is over here, by a turn of the loop. Whoever has
        come meanwhile is judged in a later turn, so that this one is not counted twice.
        """
        try:
            following = accepted if self._has_place(accepted) else None
            while following is not None:
                await self._shake_hands(following)
                following = self._next_of(accepted.origin)
        finally:
            self._slots.release()  # where this is cut off, nobody is accepted any more

    def _next_of(self, origin: str) -> _Accepted | None:
        now_s = asyncio.get_running_loop().time()
        following, late = self._places.leave(origin, now_s - self._limits.handshake_timeout_s)
        for one in late:
            one.plain.close()
            self._refuse("waited_too_long", one.address, "others of its address came first")
        return following

    async def _cut_all(self) -> None:
        """Cut the connections whose time is over, and let go of those that have ended before."""
        lifetime_s, loop = self._limits.lifetime_s, asyncio.get_running_loop()
        assert lifetime_s is not None
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, lifetime_s / 10))
            now_s = loop.time()
            for transport, (until_s, address) in list(self._lives.items()):
                if until_s > now_s and not transport.is_closing():
                    continue
                del self._lives[transport]
                if not transport.is_closing():
                    transport.abort()
                    self._refuse("too_slow", address, f"cut after {lifetime_s:g} s")

    async def _bear(self, error: OSError) -> None:
        """Go on after a connection that could not be accepted; wait where none can be."""
        self._refuse("accept", "?", str(error))
        if error.errno in _NO_DESCRIPTORS:
            await asyncio.sleep(_NO_DESCRIPTORS_PAUSE_S)

    async def _shake_hands(self, accepted: _Accepted) -> None:
        plain, loop = accepted.plain, asyncio.get_running_loop()
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What the kernel has not sent yet waits in this process instead, where it is seen: but
            # for what the transport below TLS holds, 64 KiB and one write whatever its size. That
            # transport cannot be reached, neither asyncio's nor uvloop's, to set it other limits.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            transport, _ = await loop.connect_accepted_socket(
                self._listener.factory,
                plain,
                ssl=self._listener.context(),
                ssl_handshake_timeout=self._limits.handshake_timeout_s,
                ssl_shutdown_timeout=self._limits.handshake_timeout_s,
            )
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            plain.close()
            self._refuse("tls_handshake", accepted.address, str(error) or type(error).__name__)
            return
        if self._limits.lifetime_s is not None:
            self._lives[transport] = loop.time() + self._limits.lifetime_s, accepted.address

    def _refuse(self, reason: str, address: str, detail: str) -> None:
        self._metrics.refused.inc(f"{self._listener.name}_{reason}")
        logger.info(
            "connection refused",
            extra={
                "server": self._listener.name,
                "address": address,
                "reason": reason,
                "detail": detail[:200],
            },
        )
