"""How far the caches are: which of them follow the API server, and which have to catch up."""

import asyncio
from collections.abc import Callable, Iterable

from cloudcore.edgecontroller.state import Followed
from cloudcore.kube.listwatch import Interrupted, ListCompleted, ListStarted, WatchEvent


class Progress:
    """Told of every event, after the cache has taken it in."""

    def __init__(self, kinds: Iterable[Followed]) -> None:
        """Begin with all ``kinds`` behind."""
        self._behind = {one.kind.plural for one in kinds}
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def is_in_step(self) -> bool:
        """Whether every cache has a complete list, and follows since then."""
        return not self._behind

    def note(self, followed: Followed, event: WatchEvent) -> None:
        """Take in what has happened to one kind."""
        match event:
            case Interrupted() | ListStarted():
                self._behind.add(followed.kind.plural)
            case ListCompleted():
                self._behind.discard(followed.kind.plural)
        for one in self._waiting:
            if not one.done():
                one.set_result(None)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as ``holds`` is true; it is asked after each event."""
        while not holds():
            woken = asyncio.get_running_loop().create_future()
            self._waiting.add(woken)
            try:
                await woken
            finally:
                self._waiting.discard(woken)

    async def in_step(self) -> None:
        """Return as soon as every cache is in step."""
        await self.until(lambda: self.is_in_step)
