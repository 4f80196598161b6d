"""Calls that go on at the same time, of which one error is as good as all."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from common.errors import RuntimeServiceError

T = TypeVar("T")
U = TypeVar("U")


async def each(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of ``calls``, in their order, when all have ended.

    Raises:
        RuntimeServiceError: the first one in this order; not a group of them.
    """

    async def guarded(call: Coroutine[Any, Any, T]) -> T | RuntimeServiceError:
        try:
            return await call
        except RuntimeServiceError as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(guarded(call), name="runtime call") for call in calls]
    results = []
    for task in started:
        result = task.result()
        if isinstance(result, RuntimeServiceError):
            raise result
        results.append(result)
    return results


async def both(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Return the results of two calls, as ``each`` does."""
    results: list[Any] = await each([first, second])
    return results[0], results[1]
