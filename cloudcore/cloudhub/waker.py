"""Waking one task: what a connection needs of ``asyncio.Event``, at a tenth of its memory."""

import asyncio


class Waker:
    """Lets one task sleep until another one has something for it.

    It remembers nothing: the sleeper looks for work itself and calls ``wait`` without an await in
    between, so that nothing can have come unseen.
    """

    __slots__ = ("_sleeper",)

    def __init__(self) -> None:
        self._sleeper: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let ``wait`` return; without a sleeper nothing happens."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def wait(self) -> None:
        """Return at the next ``wake``. One task at a time may wait."""
        assert self._sleeper is None, "somebody waits already"
        self._sleeper = asyncio.get_running_loop().create_future()
        try:
            await self._sleeper
        finally:
            self._sleeper = None
