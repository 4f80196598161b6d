"""A runtime whose commands end as a test says; everything else of it is hollow."""

from collections.abc import Sequence

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.base import ExecResult
from edgecore.edged.runtime.hollow import HollowRuntime

WELL, ILL = ExecResult(0, b"fine"), ExecResult(1, b"ill")


class ScriptedRuntime(HollowRuntime):
    """Answers ``exec_sync``; ``result`` may be changed at any moment."""

    def __init__(self, result: ExecResult | Exception = WELL) -> None:
        super().__init__()
        self.result = result
        self.by_command: dict[str, ExecResult | Exception] = {}
        """Results for commands that begin with a certain word."""
        self.calls: list[tuple[str, tuple[str, ...], float]] = []

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        self.calls.append((container_id, tuple(command), timeout_s))
        result = self.by_command.get(command[0], self.result) if command else self.result
        if isinstance(result, Exception):
            raise result
        return result


def refused() -> RuntimeServiceError:
    return RuntimeServiceError("ExecError", "container is not running")
