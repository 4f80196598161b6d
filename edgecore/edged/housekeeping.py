"""What a node does for itself every now and then, each job in a rhythm of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct

from common.errors import RuntimeServiceError
from edgecore.edged.ondemand import OnDemand

logger = logging.getLogger(__name__)


class Job(Struct, frozen=True):
    """Something to be done again and again."""

    name: str
    period_s: float
    run: Callable[[], Awaitable[None]]
    """May raise ``RuntimeServiceError``: it is tried the next time."""


class Housekeeping:
    """Runs the jobs of a node."""

    def __init__(self, tasks: asyncio.TaskGroup, jobs: Iterable[Job]) -> None:
        """Make it idle. Args: tasks: where a job lives while it runs."""
        self._jobs = [OnDemand(tasks, job.name, _once(job)) for job in jobs]

    def begin(self) -> None:
        """Do each job now, and again after its period."""
        for job in self._jobs:
            job.wake()

    def close(self) -> None:
        """Do no more."""
        for job in self._jobs:
            job.close()


def _once(job: Job) -> Callable[[], Awaitable[float]]:
    async def step() -> float:
        try:
            await job.run()
        except RuntimeServiceError as error:
            level = logging.DEBUG if error.is_unavailable else logging.WARNING
            logger.log(level, "job was not done", extra={"job": job.name, "why": str(error)})
        return job.period_s

    return step
