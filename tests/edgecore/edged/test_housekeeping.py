"""Jobs in their rhythm: real tasks, and pauses too short to be waited for."""

import asyncio
import logging

import pytest

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


@pytest.mark.parametrize(
    ("reason", "level"),
    [(RuntimeServiceError.UNAVAILABLE, logging.DEBUG), ("RemoveError", logging.WARNING)],
)
async def test_what_goes_wrong_is_said_unless_the_runtime_is_away(
    reason: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failed = asyncio.Queue[None]()

    async def fail() -> None:
        failed.put_nowait(None)
        raise RuntimeServiceError(reason, "no")

    async with asyncio.TaskGroup() as tasks:
        housekeeping = Housekeeping(tasks, [Job("sweep", 0.0, fail)])
        housekeeping.begin()
        await failed.get()
        await failed.get()
        housekeeping.close()
    assert {r.levelno for r in caplog.records if r.getMessage() == "job was not done"} == {level}
