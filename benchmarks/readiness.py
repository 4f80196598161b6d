"""Who stops to be Ready, by what the API server shows."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from deploy.devcluster.api import Api, Object
from deploy.devcluster.site import is_ready, name_of


class ReadyWatch:
    """The names of what was Ready and was seen not to be."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._ready: set[str] = set()
        self.lost: list[str] = []

    def note(self, found: Object) -> None:
        """Take in an object as it is now."""
        name = name_of(found)
        if is_ready(found):
            self._ready.add(name)
        elif name in self._ready:
            self._ready.discard(name)
            self.lost.append(name)

    def __len__(self) -> int:
        """Return how many are Ready."""
        return len(self._ready)


@asynccontextmanager
async def watched_readiness(api: Api, paths: Sequence[str]) -> AsyncIterator[ReadyWatch]:
    """Follow the lists at ``paths`` while the context lasts."""
    watch = ReadyWatch()

    async def follow(path: str, version: str) -> None:
        async with aclosing(api.follow(path, version)) as objects:
            async for found in objects:
                watch.note(found)

    async with asyncio.TaskGroup() as group:
        following = []
        for path in paths:
            version = await api.version(path)
            for found in await api.items(path):
                watch.note(found)
            following.append(group.create_task(follow(path, version), name=path))
        yield watch
        for task in following:
            task.cancel()
