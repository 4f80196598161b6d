"""Jobs in their rhythm: real tasks, and pauses too short to be waited for."""

import asyncio

from common.errors import RuntimeServiceError
from edgecore.edged.housekeeping import Housekeeping, Job


async def test_a_job_is_done_again_and_again_until_the_end() -> None:
    done: asyncio.Queue[None] = asyncio.Queue()

    async def run() -> None:
        done.put_nowait(None)

    async with asyncio.TaskGroup() as tasks:
        housekeeping = Housekeeping(tasks, [Job("sweep", 0.0, run)])
        assert done.empty()
        housekeeping.begin()
        for _ in range(3):
            await done.get()
        housekeeping.close()


async def test_a_job_that_cannot_be_done_keeps_none_from_being_done() -> None:
    failed, done = asyncio.Queue[None](), asyncio.Queue[None]()

    async def fail() -> None:
        failed.put_nowait(None)
        raise RuntimeServiceError(RuntimeServiceError.UNAVAILABLE, "no answer")

    async def run() -> None:
        done.put_nowait(None)

    async with asyncio.TaskGroup() as tasks:
        housekeeping = Housekeeping(tasks, [Job("fail", 0.0, fail), Job("sweep", 0.0, run)])
        housekeeping.begin()
        for _ in range(3):
            await failed.get()
            await done.get()
        housekeeping.close()
