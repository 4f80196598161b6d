"""Which of the connections that come may shake hands, wait, or go: a bound for each origin. Pure.

An origin is an address, or the network that one machine has all addresses of. Many edges may share
one, behind a router that translates addresses; so connections of an origin with too many handshakes
under way wait for one of these to end, while connections of others go past them.
"""

import ipaddress
from collections import deque
from enum import Enum, auto
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_IPV6_NETWORK_BITS: Final = 64
"""What a provider gives to one customer, who has all addresses in it."""


class Verdict(Enum):
    """What becomes of a connection."""

    GO = auto()
    WAIT = auto()
    TOO_MANY = auto()
    """There is no place for anybody."""

    TOO_MANY_OF_ORIGIN = auto()


def origin_of(address: str) -> str:
    """Return whom connections from ``address`` are counted for."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK_BITS), strict=False))


class _Origin(Generic[T]):
    __slots__ = ("shaking", "waiting")

    def __init__(self) -> None:
        self.shaking = 0
        self.waiting: deque[tuple[float, T]] = deque()

    @property
    def under_way(self) -> int:
        return self.shaking + len(self.waiting)


class Places(Generic[T]):
    """The connections that are not open yet. Times are monotonic seconds."""

    def __init__(
        self, *, connections: int, connections_per_origin: int, handshakes_per_origin: int
    ) -> None:
        """Begin with none.

        Args:
            connections: that may be open or under way.
            connections_per_origin: of these, those of one origin.
            handshakes_per_origin: that may be under way at a time; further ones wait.
        """
        self._connections, self._per_origin = connections, connections_per_origin
        self._handshakes = handshakes_per_origin
        self._origins: dict[str, _Origin[T]] = {}
        self._under_way = 0

    def enter(
        self, origin: str, one: T, now_s: float, *, open_in_all: int, open_of_origin: int
    ) -> Verdict:
        """Return what becomes of ``one``, and remember it where it waits.

        Args:
            origin: as of ``origin_of``.
            one: the connection.
            now_s: the present.
            open_in_all: connections whose handshake is done.
            open_of_origin: of these, those of ``origin``.
        """
        if open_in_all + self._under_way >= self._connections:
            return Verdict.TOO_MANY
        known = self._origins.get(origin)
        under_way = known.under_way if known is not None else 0
        if open_of_origin + under_way >= self._per_origin:
            return Verdict.TOO_MANY_OF_ORIGIN
        if known is None:
            known = self._origins[origin] = _Origin()
        self._under_way += 1
        if known.shaking >= self._handshakes:
            known.waiting.append((now_s, one))
            return Verdict.WAIT
        known.shaking += 1
        return Verdict.GO

    def leave(self, origin: str, since_s: float) -> tuple[T | None, list[T]]:
        """Note that a handshake has ended; return who goes next, and who has waited too long.

        Args:
            origin: whose handshake it was.
            since_s: who waits since before that has waited too long.
        """
        known = self._origins[origin]
        known.shaking -= 1
        self._under_way -= 1
        late: list[T] = []
        following: T | None = None
        while known.waiting and following is None:
            came_s, one = known.waiting.popleft()
            if came_s < since_s:
                late.append(one)
            else:
                following = one
        self._under_way -= len(late)
        if following is not None:
            known.shaking += 1
        elif not known.shaking:
            del self._origins[origin]
        return following, late

    def drain(self) -> list[T]:
        """Return all that wait, which wait no more."""
        waiting = [one for known in self._origins.values() for _, one in known.waiting]
        for known in self._origins.values():
            known.waiting.clear()
        self._under_way -= len(waiting)
        return waiting
