"""Work that is done when somebody asks for it, by one task at a time, which then ends.

Thousands of pods and their reporters are idle most of the time: an idle one costs an object, and
neither a task nor a timer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

_AFTER_FAULT_S = 10.0


class OnDemand:
    """Runs ``step`` once for any number of calls of ``wake`` that came while it did not run."""

    def __init__(
        self, tasks: asyncio.TaskGroup, name: str, step: Callable[[], Awaitable[float | None]]
    ) -> None:
        """Make it idle.

        Args:
            tasks: where its task lives when there is one.
            name: of that task.
            step: does the work; returns the seconds until it wants to run again, None for never.
        """
        self._tasks, self._name, self._step = tasks, name, step
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = False
        self._closed = False

    def wake(self) -> None:
        """Have ``step`` run soon: at once, or again after the run that is going on."""
        if self._closed:
            return
        self._cancel_timer()
        self._wanted = True
        if self._task is None:
            self._task = self._tasks.create_task(self._run(), name=self._name)

    def close(self) -> None:
        """Run no more; a run that is going on is cancelled. May be called from within ``step``."""
        self._closed = True
        self._cancel_timer()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        again_s: float | None = None
        try:
            while self._wanted and not self._closed:
                self._wanted = False
                again_s = await self._guarded()
        finally:
            self._task = None
        if again_s is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(again_s, self.wake)

    async def _guarded(self) -> float | None:
        """Run the step; a fault in it must not end those of the other pods."""
        try:
            return await self._step()
        except Exception:
            logger.exception("step failed, tried again later", extra={"task": self._name})
            return _AFTER_FAULT_S

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
