"""A wait that ends sooner where there is something more urgent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Patience:
    """How long somebody waits for one thing at a time; others may put an end to it."""

    __slots__ = ("_timeout",)  # there is one for each pod

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None

    @asynccontextmanager
    async def lasting(self, seconds: float | None) -> AsyncIterator[None]:
        """Wait for what the body waits for, for ``seconds``; for as long as it takes if None.

        Raises:
            TimeoutError: they are over, or somebody was in a hurry.
        """
        try:
            async with asyncio.timeout(seconds) as self._timeout:
                yield
        finally:
            self._timeout = None

    def hurry(self) -> None:
        """Let go of what is waited for, if anything is."""
        # A wait that is being let go already takes no other time.
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())
