"""One object after the other, many objects at a time.

A worker for each key, which ends when nothing waits for it: what has the same key is done in
order, what has another one does not wait for it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class KeyedWorkers(Generic[K, T]):
    """Hands each item to ``handle``, in order by key.

    How much may wait is for the caller to bound: sessions do it by the answers that they await.
    """

    def __init__(self, group: asyncio.TaskGroup, handle: Callable[[T], Awaitable[None]]) -> None:
        """Make a set of workers without any; ``handle`` must not raise, or ``group`` fails."""
        self._group, self._handle = group, handle
        self._waiting: dict[K, deque[T]] = {}

    def __len__(self) -> int:
        """Keys that have a worker."""
        return len(self._waiting)

    def submit(self, key: K, item: T) -> None:
        """Have ``item`` handled after everything that was submitted under ``key`` before."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(item)
            return
        self._waiting[key] = deque([item])
        self._group.create_task(self._work(key), name=f"worker {key}")

    async def _work(self, key: K) -> None:
        waiting = self._waiting[key]
        try:
            while waiting:
                await self._handle(waiting.popleft())
        finally:
            del self._waiting[key]  # with no await since the last look: nothing is lost between
