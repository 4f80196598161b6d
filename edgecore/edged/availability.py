"""Whether the container runtime can be asked: noticed when it is gone, and when it is back.

The workers of all pods wait for the same thing then: one look at the runtime serves them all, and
they go on as soon as it answers.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from common.errors import RuntimeServiceError
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.runtime.base import Runtime

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.25
"""Between two looks at a runtime that is away; one costs little more than a refused connection."""


class Availability:
    """Waits for the runtime on behalf of everybody."""

    def __init__(
        self, tasks: asyncio.TaskGroup, runtime: Runtime, back: Callable[[], None]
    ) -> None:
        """Args: back: called each time that the runtime answers again after it was lost."""
        self._runtime, self._back = runtime, back
        self._is_lost = False
        self.fault = ""
        """Why the runtime cannot be asked; empty where it can be, as far as is known."""
        self._watch = OnDemand(tasks, "runtime is away", self._step)

    def lost(self, error: RuntimeServiceError) -> None:
        """Take note that a call has failed in a way that has nothing to do with its pod."""
        if not self._is_lost:
            self._is_lost, self.fault = True, str(error)
            logger.warning("the container runtime is away", extra={"why": str(error)})
            self._watch.wake()

    def close(self) -> None:
        """Wait no more."""
        self._watch.close()

    async def _step(self) -> float | None:
        try:
            await self._runtime.version()
        except RuntimeServiceError as error:
            if error.is_unavailable:
                return LOOK_S
            # It answers, though it is not ready: what makes it ready may be a pod of this node.
        self._is_lost, self.fault = False, ""
        logger.info("the container runtime answers again")
        self._back()
        return None
