"""The answers of the local endpoint, without HTTP: asked in threads, known by the event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, assert_never

import msgspec
from msgspec import Struct

from common.errors import RuntimeServiceError
from edgecore.edged.local.localroutes import (
    GetHealth,
    GetLogs,
    GetMetrics,
    GetPods,
    GetSummary,
    PostExec,
    Target,
    Wanted,
)
from edgecore.edged.local.logread import LogOptions, read_log
from edgecore.edged.local.resourcemetrics import CONTENT_TYPE, resource_metrics
from edgecore.edged.local.stats import Sample, Samples, summary
from edgecore.edged.podview import Object
from edgecore.edged.runtime.base import ExecResult

T = TypeVar("T")

_LOOP_TIMEOUT_S: Final = 10.0
_HEALTH_TIMEOUT_S: Final = 5.0
_BLOCK_BYTES: Final = 64 * 1024
_MAX_WORDS: Final = 1024


class NotHereError(Exception):
    """There is no such pod or container, or not any more; the text says which, for people."""


class LocalView(Protocol):
    """What the endpoint must know of edged. Called in the event loop."""

    async def pods(self) -> Sequence[Object]:
        """Return the pods that edged runs, with their statuses; nothing that Secrets filled in."""

    async def sample(self) -> Sample:
        """Return what everything takes at the moment.

        Raises:
            RuntimeServiceError: the runtime cannot be asked.
        """

    async def log_files(self, target: Target, *, previous: bool) -> Sequence[Path]:
        """Return the files of a container's log, oldest first.

        Raises:
            NotHereError: there is no such container, or no previous one.
        """

    async def execute(self, target: Target, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run ``command`` in a container and return how it ended.

        Raises:
            NotHereError: there is no such container, or it does not run.
            TimeoutError: it did not end in time.
            RuntimeServiceError: it could not be run.
        """


class Reply(Struct, frozen=True):
    """What is answered: a whole body, or one that is made while it is sent."""

    code: HTTPStatus
    body: bytes | Iterator[bytes]
    content_type: str = "text/plain; charset=utf-8"


class LocalService:
    """Answers requests in the threads that call it, with the help of the event loop."""

    def __init__(self, view: LocalView, node: str, now: Callable[[], datetime]) -> None:
        """Make it, in the event loop that ``view`` belongs to.

        Args:
            view: of edged.
            node: name of this node.
            now: the time of day.
        """
        self._view, self._node, self._now = view, node, now
        self._loop = asyncio.get_running_loop()
        self._samples = Samples()

    def reply(self, wanted: Wanted) -> Reply:
        """Return the answer, or why there is none. Blocks: not for the event loop's own thread."""
        try:
            return self._reply(wanted)
        except NotHereError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except TimeoutError:
            return problem(HTTPStatus.GATEWAY_TIMEOUT, "it took too long")
        except RuntimeServiceError as error:
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except OSError as error:
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, error.strerror or "I/O error")
        except CancelledError:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "edgecore is stopping")

    def _reply(self, wanted: Wanted) -> Reply:
        match wanted:
            case GetHealth():
                return self._health()
            case GetPods():
                pods = self._ask(self._view.pods())
                listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}
                return _json(listed)
            case GetSummary():
                return _json(self._ask(self._summary()))
            case GetMetrics():
                return Reply(HTTPStatus.OK, self._metrics().encode(), CONTENT_TYPE)
            case GetLogs():
                return self._logs(wanted)
            case PostExec(target, command, timeout_s):
                run = self._view.execute(target, command, timeout_s)
                result = self._ask(run, timeout_s + _LOOP_TIMEOUT_S)
                output = result.output.decode("utf-8", "replace")
                return _json({"exitCode": result.exit_code, "output": output})
        assert_never(wanted)

    def _ask(self, work: Coroutine[Any, Any, T], timeout_s: float = _LOOP_TIMEOUT_S) -> T:
        """Have the event loop do ``work`` and return what comes of it.

        Raises:
            TimeoutError: it took too long, and is cancelled.
            CancelledError: the loop is stopping.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:  # it has ended
            work.close()
            raise CancelledError from error
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()

    def _health(self) -> Reply:
        async def turn() -> None:
            """Be reached by the loop: that is all there is to prove."""

        try:
            self._ask(turn(), _HEALTH_TIMEOUT_S)
        except TimeoutError:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the event loop is stuck")
        return Reply(HTTPStatus.OK, b"ok\n")

    async def _summary(self) -> dict[str, Any]:
        sample = await self._view.sample()
        before, self._samples = self._samples.before(sample), self._samples.add(sample)
        return summary(self._node, sample, before)

    def _metrics(self) -> str:
        try:
            return resource_metrics(self._ask(self._view.sample()))
        except (RuntimeServiceError, OSError):  # a timeout is one
            return resource_metrics(None)

    def _logs(self, wanted: GetLogs) -> Reply:
        files = self._ask(self._view.log_files(wanted.target, previous=wanted.previous))
        since = None if wanted.since_s is None else _ago(self._now(), wanted.since_s)
        options = LogOptions(wanted.tail_lines, since, wanted.limit_bytes, wanted.timestamps)
        blocks = _in_blocks(read_log(files, options))
        first = next(blocks)  # what cannot be read is said before anything else is
        return Reply(HTTPStatus.OK, _chain(first, blocks))


def problem(code: HTTPStatus, words: str) -> Reply:
    """Return an answer that says why there is no other."""
    return Reply(code, f"{words[:_MAX_WORDS]}\n".encode())


def _json(value: object) -> Reply:
    return Reply(HTTPStatus.OK, msgspec.json.encode(value), "application/json")


def _ago(now: datetime, seconds: int) -> datetime | None:
    """Return the moment so many seconds ago; None if that was before all dates."""
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return None


def _in_blocks(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in larger pieces, one of them at least: a write for each, not a line."""
    block: list[bytes] = []
    size = 0
    for part in parts:
        block.append(part)
        size += len(part)
        if size >= _BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    yield b"".join(block)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
