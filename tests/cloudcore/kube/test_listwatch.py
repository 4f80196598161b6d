"""List, then watch, for ever.

What the API server does right is tried on the real one, and the same on a fake in memory, which is
thereby proven to be like it; what goes wrong seldom is tried on the fake alone. Pauses are faked.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

import pytest

from cloudcore.kube import kinds, listwatch
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.listwatch import (
    Bookmarked,
    Interrupted,
    ListCompleted,
    ListStarted,
    ListWatch,
    ObjectChanged,
    ObjectDeleted,
    PageListed,
    RawObject,
    Source,
    WatchEvent,
)
from common.status import failure
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import API_ONLY, ControlPlane
from tests.cloudcore.cluster import PATIENCE_S, body, load, unique
from tests.cloudcore.kube.fakeapi import FakeApi

NAMESPACE = "default"


class Api(Source, Protocol):
    """An API server, and what is done to it."""

    async def create(self, name: str) -> None: ...
    async def change(self, name: str) -> None: ...
    async def delete(self, name: str) -> None: ...
    async def forget(self) -> None: ...


class RealApi:
    """A real API server of the test's own, which forgets when it is started again."""

    def __init__(self, control_plane: ControlPlane, client: KubeClient) -> None:
        self._control_plane, self._client = control_plane, client
        self.get, self.watch = client.get, client.watch

    async def create(self, name: str) -> None:
        await self._client.create(
            kinds.CONFIGMAPS.path(NAMESPACE), body({"metadata": {"name": name}})
        )

    async def change(self, name: str) -> None:
        await self._client.patch(
            kinds.CONFIGMAPS.path(NAMESPACE, name),
            body({"data": {"v": unique("v")}}),
            content_type=MERGE_PATCH,
        )

    async def delete(self, name: str) -> None:
        await self._client.delete(kinds.CONFIGMAPS.path(NAMESPACE, name))

    async def forget(self) -> None:
        await self._control_plane.stop_component(Component.API_SERVER)
        await self._control_plane.start_component(Component.API_SERVER)


@asynccontextmanager
async def an_api(kind: str) -> AsyncIterator[Api]:
    if kind == "fake":
        yield FakeApi()
        return
    async with (
        ControlPlane(components=API_ONLY) as control_plane,
        KubeClient(control_plane.kubeconfig) as client,
    ):
        yield RealApi(control_plane, client)


contract = pytest.mark.parametrize("kind", ["fake", pytest.param("real", marks=pytest.mark.e2e)])


class Follower:
    """Reads a stream one event after the other."""

    def __init__(self, stream: AsyncGenerator[WatchEvent, None]) -> None:
        self._stream = stream
        self.interruptions = 0

    async def next(self) -> WatchEvent:
        """The next event that is neither a bookmark nor an interruption, which are counted."""
        async with asyncio.timeout(PATIENCE_S):
            while isinstance(event := await anext(self._stream), Bookmarked | Interrupted):
                self.interruptions += isinstance(event, Interrupted)
        return event

    async def listed(self, *, overtaken: int = 0) -> set[str]:
        """The names in the list that comes now."""
        assert await self.next() == ListStarted(overtaken)
        names: set[str] = set()
        while not isinstance(event := await self.next(), ListCompleted):
            assert isinstance(event, PageListed)
            names |= {one.view.metadata.name for one in event.objects}
        return names


async def no_pause(seconds: float) -> None:
    assert seconds > 0
    await asyncio.sleep(0)


@asynccontextmanager
async def following(api: Source, **selector: str) -> AsyncIterator[Follower]:
    stream = ListWatch(api, kinds.CONFIGMAPS, selector=selector, pause=no_pause).events()
    async with aclosing(stream):
        yield Follower(stream)


def name_of(event: WatchEvent) -> str:
    assert isinstance(event, ObjectChanged | ObjectDeleted)
    return event.object.view.metadata.name


@contract
async def test_what_is_there_is_listed_and_what_happens_is_told_once(kind: str) -> None:
    async with an_api(kind) as api:
        await api.create("old")
        async with following(api, fieldSelector="metadata.namespace=default") as follower:
            assert "old" in await follower.listed()
            await api.create("new")
            await api.change("new")
            await api.delete("old")
            created, changed, deleted = [await follower.next() for _ in range(3)]
            assert [name_of(one) for one in (created, changed, deleted)] == ["new", "new", "old"]
            assert isinstance(changed, ObjectChanged)
            assert isinstance(deleted, ObjectDeleted)
            versions = [
                int(one.object.view.metadata.resourceVersion)
                for one in (created, changed, deleted)
                if isinstance(one, ObjectChanged | ObjectDeleted)
            ]
            assert versions == sorted(set(versions))


@contract
async def test_what_was_forgotten_is_listed_anew(kind: str) -> None:
    async with an_api(kind) as api:
        for name in ("stays", "goes"):
            await api.create(name)
        async with following(api, fieldSelector="metadata.namespace=default") as follower:
            assert {"stays", "goes"} <= await follower.listed()
            await api.delete("goes")
            await api.create("comes")
            await api.forget()
            assert {"stays", "comes"} <= (names := await follower.listed())
            assert "goes" not in names
            await api.create("later")
            assert name_of(await follower.next()) == "later"


@contract
async def test_objects_carry_kind_and_version_however_they_came(kind: str) -> None:
    async with an_api(kind) as api:
        await api.create("listed")
        stream = ListWatch(api, kinds.CONFIGMAPS, pause=no_pause).events()
        async with aclosing(stream) as events:
            raw: dict[str, RawObject] = {}
            async with asyncio.timeout(PATIENCE_S):
                async for event in events:
                    if isinstance(event, PageListed):
                        raw |= {one.view.metadata.name: one for one in event.objects}
                    elif isinstance(event, ListCompleted):
                        await api.create("watched")
                    elif isinstance(event, ObjectChanged):
                        raw[name_of(event)] = event.object
                    if "watched" in raw:
                        break
    for name in ("listed", "watched"):
        assert list(load(raw[name].raw))[:2] == ["kind", "apiVersion"]
        assert load(raw[name].raw)["kind"] == "ConfigMap"


async def test_a_long_list_comes_in_pages(client: KubeClient, namespace: str) -> None:
    places = asyncio.Semaphore(32)  # hundreds of handshakes at a time take a busy machine too long

    async def create(number: int) -> None:
        made = {"metadata": {"name": f"c{number}", "labels": {"test": namespace}}}
        async with places:
            await client.create(kinds.CONFIGMAPS.path(namespace), body(made))

    async with asyncio.TaskGroup() as group:
        for number in range(listwatch.PAGE_LIMIT + 20):
            group.create_task(create(number))
    selector = {"labelSelector": f"test={namespace}"}
    pages: list[int] = []
    names: set[str] = set()
    stream = ListWatch(client, kinds.CONFIGMAPS, selector=selector).events()
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, PageListed):
                pages.append(len(event.objects))
                names |= {one.view.metadata.name for one in event.objects}
            if isinstance(event, ListCompleted):
                break
    assert names == {f"c{number}" for number in range(listwatch.PAGE_LIMIT + 20)}
    assert pages == [listwatch.PAGE_LIMIT, 20]
    everything = await ListWatch(client, kinds.CONFIGMAPS, selector=selector).list_all()
    assert {one.view.metadata.name for one in everything} == names


async def test_bookmarks_move_the_version_on(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server sends one some seconds before it ends a watch, too."""
    monkeypatch.setattr(listwatch, "WATCH_TIMEOUT_S", (13, 13))
    stream = ListWatch(client, kinds.LEASES, selector={"labelSelector": "x=y"}).events()
    async with aclosing(stream) as events, asyncio.timeout(PATIENCE_S):
        bookmark = await anext(one async for one in events if isinstance(one, Bookmarked))
    assert bookmark.resource_version.isdecimal()


async def test_an_object_above_a_mebibyte_is_seen_whole(client: KubeClient, namespace: str) -> None:
    async with following(client, fieldSelector=f"metadata.namespace={namespace}") as follower:
        await follower.listed()
        large = {"metadata": {"name": "large"}, "data": {"v": "x" * 1_040_000}}
        await client.create(kinds.CONFIGMAPS.path(namespace), body(large))
        while name_of(event := await follower.next()) != "large":
            pass
        assert isinstance(event, ObjectChanged)
        assert load(event.object.raw)["data"] == large["data"]


# --- what goes wrong seldom ----------------------------------------------------------------------


async def test_failures_are_tried_again_with_longer_pauses_until_there_is_life() -> None:
    api = FakeApi(failures=[failure(503, "away")] * 3)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    stream = ListWatch(api, kinds.CONFIGMAPS, pause=pause).events()
    async with aclosing(stream):
        follower = Follower(stream)
        await follower.listed()
        assert len(pauses) == 3
        assert pauses[0] <= 0.5 < pauses[2]
        api.failures = [failure(503, "only watches fail")]
        await follower.listed()
        assert pauses[3] > 0.5
        await api.create("x")
        assert name_of(await follower.next()) == "x"
        await api.restore(api.version)
        await follower.listed()
        assert pauses[4] <= 0.5


async def test_after_any_failure_everything_is_listed_again() -> None:
    api = FakeApi()
    async with following(api) as follower:
        await follower.listed()
        for number, code in enumerate((500, 503, 504, 429, 403), start=1):
            await api.create(f"c{code}")
            api.failures = [failure(code, "failed")]
            assert f"c{code}" in await follower.listed()
            assert follower.interruptions == number


async def test_a_lower_version_than_before_is_said_with_the_list() -> None:
    api = FakeApi()
    async with following(api) as follower:
        await follower.listed()
        await api.create("x")
        assert name_of(await follower.next()) == "x"
        await api.restore(5)
        assert await follower.listed(overtaken=11) == {"x"}
        await api.restore(7)
        assert await follower.listed() == {"x"}


async def test_a_version_that_goes_back_within_a_watch_is_a_failure() -> None:
    api = FakeApi()
    async with following(api) as follower:
        await follower.listed()
        api.babble = [b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"4"}}}']
        assert await follower.listed() == set()
        assert follower.interruptions == 1


async def test_the_present_version_is_asked_for_by_the_shortest_list() -> None:
    api = FakeApi(version=77)
    assert await ListWatch(api, kinds.CONFIGMAPS).present_version() == 77
    assert api.requests == [{"limit": "1"}]


async def test_a_version_from_the_future_is_listed_anew() -> None:
    """As after etcd was restored from a backup."""
    api = FakeApi()
    async with following(api) as follower:
        await follower.listed()
        api.failures = [failure(504, "Timeout: Too large resource version: 99, current: 5")]
        assert await follower.listed() == set()


async def test_a_list_that_breaks_is_begun_anew() -> None:
    api = FakeApi()
    for number in range(listwatch.PAGE_LIMIT + 1):
        await api.create(f"c{number}")
    async with following(api) as follower:
        assert await follower.next() == ListStarted()
        assert isinstance(await follower.next(), PageListed)
        api.failures = [failure(410, "the continue token is too old")]
        assert len(await follower.listed()) == listwatch.PAGE_LIMIT + 1


async def test_a_watch_that_ends_at_its_time_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listwatch, "WATCH_TIMEOUT_S", (0, 0))
    api = FakeApi(end_watches=True)
    async with following(api) as follower:
        await follower.listed()
        for name in ("a", "b", "c"):
            await api.create(name)
            assert name_of(await follower.next()) == name
    lists = [one for one in api.requests if "limit" in one]
    assert len(lists) == 1


async def test_a_watch_that_ends_before_its_time_is_followed_by_a_list() -> None:
    """As when an API server stops in good order, perhaps to come back restored."""
    api = FakeApi(end_watches=True)
    async with following(api) as follower:
        await follower.listed()
        await api.create("a")
        assert name_of(await follower.next()) == "a"
        assert await follower.listed() == {"a"}


async def test_nonsense_is_a_failure_like_any_other() -> None:
    api = FakeApi(babble=[b'{"type":"MODIFIED","object":{}}', b"\xff", b"{}"])
    async with following(api) as follower:
        for _ in range(4):
            await follower.listed()
        await api.create("x")
        assert name_of(await follower.next()) == "x"
    assert api.babble == []


async def test_a_watch_without_a_word_is_followed_by_a_list_and_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a quiet cluster there are not even bookmarks; a half open link says nothing either."""
    api = FakeApi()
    async with following(api) as follower:
        await follower.listed()
        api.silences = 3
        for _ in range(3):
            await follower.listed()
        await api.create("x")
        assert name_of(await follower.next()) == "x"
    assert api.silences == 0
    assert caplog.records == []


async def test_watches_that_live_long_go_on_without_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listwatch, "LONG_LIVED_S", 0.0)
    monkeypatch.setattr(listwatch, "WATCH_TIMEOUT_S", (0, 0))
    api = FakeApi(end_watches=True)

    async def pause(seconds: float) -> None:
        raise AssertionError(f"paused for {seconds}")

    stream = ListWatch(api, kinds.CONFIGMAPS, pause=pause).events()
    async with aclosing(stream):
        follower = Follower(stream)
        await follower.listed()
        for name in ("a", "b"):
            await api.create(name)
            assert name_of(await follower.next()) == name
    assert len([one for one in api.requests if "limit" in one]) == 1
