"""List, then watch, for ever: the state of all objects of a kind as a stream of small events.

A list is a consistent read, in pages. Then every change is seen once, in order, with bookmarks that
move the resource version on. A watch that the API server ends at its time goes on where it was.
After anything else everything is listed anew, and the consumer finds out by the difference what it
missed: while nobody looked, etcd may have been restored from a backup, and what has counted up
again since then to our version is not what had that version before. An end before its time is such
a thing, since an API server that stops in good order ends its watches.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from cloudcore.kube.kinds import ResourceKind
from cloudcore.kube.views import ObjectView, number_of, view_as
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.status import Status, failure

T = TypeVar("T")

logger = logging.getLogger(__name__)

PAGE_LIMIT: Final = 500
WATCH_TIMEOUT_S: Final = (300, 600)
"""A watch is ended by the API server after a time between these two, so that watches spread."""

_EARLY_S: Final = 1.0
"""The API server's clock and ours may differ by this much on such a time."""

LONG_LIVED_S: Final = 30.0
"""A watch that ended after this long was a sound one, even if there was nothing to tell."""

_TOO_LARGE: Final = "Too large resource version"


class RawObject(Struct, frozen=True):
    """An object as it goes to the edge, with kind and apiVersion, and a view of it."""

    view: ObjectView
    raw: msgspec.Raw


class ListStarted(Struct, frozen=True):
    """Everything is listed from the beginning; what an unfinished list gave is void."""

    overtaken: int = 0
    """The highest version that was seen before, where the API server now counts from a lower one:
    etcd was restored from a backup. 0 where it does not."""


class PageListed(Struct, frozen=True):
    """A page of the list."""

    objects: list[RawObject]


class ListCompleted(Struct, frozen=True):
    """The pages since ``ListStarted`` were all that there is at ``resource_version``."""

    resource_version: str


class ObjectChanged(Struct, frozen=True):
    """An object was created, or is another than before."""

    object: RawObject


class ObjectDeleted(Struct, frozen=True):
    """An object was deleted; this is its last state, under the version of the deletion."""

    object: RawObject


class Bookmarked(Struct, frozen=True):
    """Nothing else happened until ``resource_version``."""

    resource_version: str


class Interrupted(Struct, frozen=True):
    """From here on nothing is known of what happens, until a list is complete."""


WatchEvent = (
    ListStarted
    | PageListed
    | ListCompleted
    | ObjectChanged
    | ObjectDeleted
    | Bookmarked
    | Interrupted
)


class Source(Protocol):
    """What is needed of a ``KubeClient``."""

    async def get(self, path: str, *, params: Mapping[str, str]) -> bytes:
        """Return the body at ``path``."""

    def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch."""


class _ListMeta(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815 - the API's spelling
    next_page: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _BookmarkMeta(msgspec.Struct):
    resourceVersion: str  # noqa: N815 - the API's spelling


class _BookmarkObject(msgspec.Struct):
    metadata: _BookmarkMeta


class ListWatch:
    """The objects of one kind, followed for as long as somebody reads ``events``."""

    def __init__(
        self,
        source: Source,
        kind: ResourceKind,
        *,
        view: type[ObjectView] = ObjectView,
        selector: Mapping[str, str] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make a stream that has not begun.

        Args:
            source: where the objects are.
            kind: what is followed, in all namespaces.
            view: what to decode of each object.
            selector: ``labelSelector`` and ``fieldSelector``, as in a request.
            pause: waits for that many seconds after a failure.
        """
        self._source, self._kind, self._view, self._pause = source, kind, view, pause
        self._selector = dict(selector or {})
        self._backoff = Backoff(BackoffPolicy())
        self._version = ""  # of what was given out; empty when a list is needed
        self._highest = 0  # the same as a number, which a failure does not make forgotten

    async def events(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield what there is and what changes; it never ends and raises nothing.

        Failures are logged and tried again after a pause with back-off and jitter, which starts
        anew with each watch that works. A list alone is no reason to: where only watches fail, they
        would be followed by one list after the other.

        Order and delivery: events of one object come in the order of its versions. Nothing comes
        twice, except by a list; what an ``Interrupted`` stream has missed, the next list tells.
        """
        clock = asyncio.get_running_loop().time
        while True:
            started_s, is_watch = clock(), bool(self._version)
            is_alive, error = False, None
            try:
                async with aclosing(self._watch() if is_watch else self._list()) as events:
                    async for event in events:
                        is_alive = True
                        yield event
            except RemoteError as failed:
                error, self._version = failed, ""
                self._note(failed.status, is_watch=is_watch)
                yield Interrupted()
            is_sound = is_alive or (is_watch and clock() - started_s >= LONG_LIVED_S)
            if is_sound and is_watch:
                self._backoff.reset()
            if error or not is_sound:  # or ended without a word: never in a tight loop
                await self._pause(self._backoff.next_s())

    async def list_all(self) -> list[RawObject]:
        """Return all objects there are, by a consistent list.

        Raises:
            RemoteError: the list failed; 410 where it took so long that its pages expired.
        """
        page = await self._page("")
        objects = [self._listed(item) for item in page.items or ()]
        while page.metadata.next_page:
            page = await self._page(page.metadata.next_page)
            objects += [self._listed(item) for item in page.items or ()]
        return objects

    async def present_version(self) -> int:
        """Return the version at which the API server is now, as a consistent list has it.

        Raises:
            RemoteError: it cannot be asked.
        """
        return number_of((await self._page("", limit=1)).metadata.resourceVersion)

    async def _list(self) -> AsyncGenerator[WatchEvent, None]:
        page = await self._page("")
        at = number_of(page.metadata.resourceVersion)
        yield ListStarted(self._highest if at < self._highest else 0)
        yield PageListed([self._listed(item) for item in page.items or ()])
        while page.metadata.next_page:
            page = await self._page(page.metadata.next_page)
            yield PageListed([self._listed(item) for item in page.items or ()])
        # Before the event: whoever leaves after it has seen all of the list.
        self._version = page.metadata.resourceVersion
        self._highest = number_of(self._version)
        yield ListCompleted(self._version)

    async def _page(self, next_page: str, limit: int = PAGE_LIMIT) -> _Page:
        params = {**self._selector, "limit": str(limit)}
        if next_page:
            params["continue"] = next_page
        return _decode(await self._source.get(self._kind.path(), params=params), _Page)

    async def _watch(self) -> AsyncGenerator[WatchEvent, None]:
        shortest, longest = WATCH_TIMEOUT_S
        timeout_s = shortest + int(random.random() * (longest - shortest))  # noqa: S311 - no secret
        params = {
            **self._selector,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_s),
        }
        clock = asyncio.get_running_loop().time
        regular_s = clock() + timeout_s - _EARLY_S
        async with aclosing(self._source.watch(self._kind.path(), params)) as lines:
            async for line in lines:
                yield self._event(_decode(line, _Event))
        if clock() < regular_s:
            raise RemoteError(failure(HTTPStatus.SERVICE_UNAVAILABLE, "ended before its time"))

    def _event(self, event: _Event) -> WatchEvent:
        if event.type == "ERROR":
            raise RemoteError(_decode(event.object, Status))
        if event.type == "BOOKMARK":
            self._move_to(_decode(event.object, _BookmarkObject).metadata.resourceVersion)
            return Bookmarked(self._version)
        view = view_as(event.object, self._view)
        self._move_to(view.metadata.resourceVersion)
        # Keeps the whole line alive, which is a few bytes more than the object.
        changed = RawObject(view, event.object)
        return ObjectDeleted(changed) if event.type == "DELETED" else ObjectChanged(changed)

    def _move_to(self, version: str) -> None:
        number = number_of(version)
        if number < self._highest:
            raise RemoteError(failure(HTTPStatus.GONE, f"version {version} after {self._version}"))
        self._version, self._highest = version, number

    def _listed(self, item: msgspec.Raw) -> RawObject:
        body = bytes(item)  # a copy: a part that stays must not keep its whole page alive
        raw = body if body.startswith(b'{"kind"') else self._kind.head() + body[1:]
        return RawObject(view_as(item, self._view), msgspec.Raw(raw))

    def _note(self, status: Status, *, is_watch: bool) -> None:
        """Say why everything is listed again."""
        is_usual = is_watch and (
            # Forgotten by the API server; or silent, as in a quiet cluster even bookmarks are.
            status.code in (HTTPStatus.GONE, HTTPStatus.GATEWAY_TIMEOUT)
            or _TOO_LARGE in status.message
        )
        logger.log(
            logging.INFO if is_usual else logging.WARNING,
            "watch failed: listing again" if is_watch else "list failed",
            extra={"kind": self._kind.kind, "code": status.code, "reason": status.message},
        )


def _decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteError(failure(500, f"not what the API server should say: {error}")) from error
