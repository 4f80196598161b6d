"""How many requests may be under way at a time: as many as the API server takes.

An API server that is busy refuses what is too much for it with 429 and asks to wait. Whoever sends
as much as ever and waits as asked then spends its time on waiting: of 128 requests at a time that
are each refused once, hardly more than 128 are made in a second, while two at a time would be a
thousand. So as in TCP the number falls by a part with each refusal, and grows slowly with each
request that is taken (additive increase, multiplicative decrease; RFC 5681, section 3.1).
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Final

_GROWTH: Final = 1.0
"""Places more, for as many requests taken as there are places."""

_SHRINKING: Final = 0.7


class Throttle:
    """Places for requests; an async context manager that holds one.

    Order: first come, first served. Cancellation: whoever waits gives up, and takes no place.
    """

    def __init__(self, most: int) -> None:
        """Begin with ``most`` places; there are never more, and never less than one."""
        self._most = most
        self._limit = float(most)
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """The places that there are now."""
        return int(self._limit)

    async def __aenter__(self) -> None:
        """Wait for a place."""
        if not self._waiting and self._held < self.limit:
            self._held += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._waiting.remove(place)
            else:  # it was given the place at the same moment
                self._give_back()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the place to whoever has waited longest."""
        self._give_back()

    def taken(self) -> None:
        """Note that the API server has looked at a request."""
        self._limit = min(self._limit + _GROWTH / self._limit, self._most)

    def refused(self) -> None:
        """Note that a request was too much for the API server."""
        self._limit = max(1.0, _SHRINKING * min(self._limit, self._held))

    def _give_back(self) -> None:
        self._held -= 1
        while self._waiting and self._held < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                self._held += 1
                place.set_result(None)
