"""The way to the simulated API server: what ``KubeClient`` takes for its HTTP session.

Everything above the bytes of a response is the real client: its statuses, lines and retries.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from cloudcore.kube import transport
from cloudcore.kube.client import STRATEGIC_MERGE_PATCH, KubeClient
from cloudcore.kube.kinds import ResourceKind
from common.errors import RemoteError
from common.status import failure
from tests.simulation.apiserver import ApiServer, Key, Request, parse

BOOKMARK_S: Final = 60.0

_NEVER: Final = float("inf")


class Outcome:
    """How a request fares that meets a fault."""

    REFUSED: Final = "refused"
    LOST: Final = "lost"
    """It is carried out, and nobody hears of it."""

    BUSY: Final = "busy"


@dataclass
class ApiLink:
    """The network between all cloudcores and the API server, and its faults."""

    api: ApiServer
    rng: random.Random
    is_up: bool = True
    latency_s: tuple[float, float] = (0.001, 0.008)
    lags_s: dict[str, float] = field(default_factory=dict)
    """By plural: by how much the watches of a kind are late."""

    is_mute: bool = False
    """Watches live on without a word, as half-open connections do."""

    next_outcomes: list[str] = field(default_factory=list)
    """What happens to the next requests that write."""

    generation: int = 0
    """Watches of an earlier one are broken."""

    _waiters: list[tuple[str, "asyncio.Future[None]"]] = field(default_factory=list)

    def down(self) -> None:
        """Go away: nothing connects, and what is open breaks."""
        self.is_up = False
        self.break_watches()

    def break_watches(self) -> None:
        """Break all watches that are open."""
        self.generation += 1
        self.notify()

    def notify(self) -> None:
        """Let all watches look for news."""
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            _wake(waiter)

    def written(self, plural: str) -> None:
        """Let the watches of a kind look for news."""
        if self.is_mute:
            self.notify()  # what waits to be told looks at each chance
            return
        waiters, self._waiters = self._waiters, []
        for wanted, waiter in waiters:
            if wanted == plural:
                _wake(waiter)
            elif not waiter.done():
                self._waiters.append((wanted, waiter))

    async def news(self, plural: str, until_s: float) -> None:
        """Return when there may be news of a kind, at the latest at ``until_s``."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append((plural, waiter))
        timer = loop.call_at(until_s, _wake, waiter)
        await waiter
        timer.cancel()

    async def pause(self) -> None:
        """Take the time of half a round trip."""
        await asyncio.sleep(self.rng.uniform(*self.latency_s))

    def check(self) -> None:
        """Fail as a connection that cannot be made.

        Raises:
            RemoteError: 503, as the real transport says it.
        """
        if not self.is_up:
            raise RemoteError(failure(503, "the API server cannot be reached: refused"))


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Content:
    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        self._chunks = chunks

    def iter_any(self) -> AsyncGenerator[bytes, None]:
        return self._chunks


class _Response:
    """As much of aiohttp's as ``KubeClient`` looks at."""

    def __init__(self, status: int, body: bytes, content: _Content | None = None) -> None:
        self.status, self._body = status, body
        self.headers = {"Retry-After": "1"}
        self.content = content

    async def read(self) -> bytes:
        return self._body


class SimTransport:
    """Stands for ``cloudcore.kube.transport.Transport``."""

    server = "https://api.sim"
    ca_file: Path | None = None

    def __init__(self, link: ApiLink) -> None:
        self._link = link

    async def open(self) -> None:
        """There is nothing to read."""

    async def close(self) -> None:
        """There is nothing to close."""

    @asynccontextmanager
    async def send(
        self, request: transport.Request, *, silence_s: float | None = None
    ) -> AsyncIterator[Any]:
        """Carry ``request`` there, and the response back."""
        link = self._link
        await link.pause()
        link.check()
        kind, key, subresource = parse(request.method, request.path)
        if request.params.get("watch"):
            chunks = _watch(link, kind, request, silence_s or _NEVER)
            yield _Response(HTTPStatus.OK, b"", _Content(chunks))
            return
        outcome = link.next_outcomes.pop(0) if _is_hit(link, request) else ""
        if outcome == Outcome.BUSY:
            yield _Response(HTTPStatus.TOO_MANY_REQUESTS, b"")
            return
        if outcome != Outcome.REFUSED:
            answer = link.api.serve(_taken_apart(request, kind, key, subresource))
            await link.pause()
            if outcome != Outcome.LOST:
                link.check()
                yield _Response(answer.status, answer.body)
                return
        raise RemoteError(failure(503, f"the API server cannot be reached: {outcome}"))


def sim_client(link: ApiLink) -> KubeClient:
    """Return the real client on a simulated connection."""
    client = KubeClient(None)
    client._transport = SimTransport(link)  # type: ignore[assignment] # stands for the real one
    return client


def _is_hit(link: ApiLink, request: transport.Request) -> bool:
    return bool(link.next_outcomes) and request.method != "GET"


def _taken_apart(
    request: transport.Request, kind: ResourceKind, key: Key, subresource: str
) -> Request:
    is_strategic = request.headers.get("Content-Type") == STRATEGIC_MERGE_PATCH
    return Request(
        request.method, kind, key, subresource, request.params, request.body, is_strategic
    )


async def _watch(
    link: ApiLink, kind: ResourceKind, request: transport.Request, silence_s: float
) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a watch, with the lag of its kind."""
    loop, api = asyncio.get_running_loop(), link.api
    version, generation = int(request.params["resourceVersion"]), link.generation
    ends_s = loop.time() + float(request.params.get("timeoutSeconds", "300"))
    if version < api.compacted:
        yield api.expired(version)
        return
    heard_s = bookmark_s = loop.time()
    while loop.time() < ends_s:
        if link.generation != generation:
            raise RemoteError(failure(503, "the API server cannot be reached: broken"))
        if loop.time() - heard_s >= silence_s:
            raise RemoteError(failure(504, "the API server did not answer in time"))
        if not link.is_mute and (lines := _due(link, kind, version)):
            version = lines[-1][0]
            heard_s = loop.time()
            yield b"".join(line for _, line in lines)
        elif not link.is_mute and loop.time() - bookmark_s >= BOOKMARK_S:
            heard_s = bookmark_s = loop.time()
            yield api.bookmark(kind)
        look_s = min(heard_s + silence_s, ends_s)
        if not link.is_mute:
            look_s = min(look_s, bookmark_s + BOOKMARK_S)
        await _until_news(link, kind, version, look_s)


def _due(link: ApiLink, kind: ResourceKind, version: int) -> list[tuple[int, bytes]]:
    return [(event.revision, event.line) for event in link.api.events(kind.plural, version)]


async def _until_news(link: ApiLink, kind: ResourceKind, version: int, until_s: float) -> None:
    """Return when there is something for this watch, which is told late by the lag of its kind."""
    loop = asyncio.get_running_loop()
    await link.news(kind.plural, max(until_s, loop.time() + 0.001))
    if _due(link, kind, version):
        await asyncio.sleep(link.rng.uniform(0.0005, 0.005) + link.lags_s.get(kind.plural, 0.0))
