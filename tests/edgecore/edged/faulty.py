"""A runtime that fails when a test wants it to; everything else of it is hollow."""

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.runtime.base import PodObservation, RuntimeVersion
from edgecore.edged.runtime.hollow import HollowRuntime

AWAY = RuntimeServiceError(RuntimeServiceError.UNAVAILABLE, "connection refused")


class FaultyRuntime(HollowRuntime):
    """Fails as a whole, or for some of its pods."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: RuntimeServiceError | None = None
        """Raised by all that look at it."""
        self.faults: dict[str, list[RuntimeServiceError]] = {}
        """By UID: what the next looks at the pod raise."""

    async def version(self) -> RuntimeVersion:
        self._check()
        return await super().version()

    async def list_pods(self) -> list[PodObservation]:
        self._check()
        return await super().list_pods()

    async def pod(self, uid: UID) -> PodObservation | None:
        self._check()
        if faults := self.faults.get(uid):
            raise faults.pop(0)
        return await super().pod(uid)

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault
