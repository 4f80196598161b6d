"""Writing once for all that happens in one turn of the event loop."""

import asyncio
from typing import Protocol


class Flushable(Protocol):
    """A session."""

    def flush(self) -> None:
        """Write what waits."""


class Flusher:
    """Calls ``flush`` of each session that wants it, after what is being done now is done.

    Twenty messages for one node, dispatched one after the other, then are one write, one TLS record
    and one packet.
    """

    def __init__(self) -> None:
        self._wanted: dict[Flushable, None] = {}
        self._loop = asyncio.get_running_loop()

    def want(self, one: Flushable) -> None:
        """Have ``one`` flushed."""
        if not self._wanted:
            self._loop.call_soon(self._flush)
        self._wanted[one] = None

    def _flush(self) -> None:
        wanted, self._wanted = self._wanted, {}
        for one in wanted:
            one.flush()
