"""Getting in step: a real edge-store; the cloud is the test, which answers when it likes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common import capabilities
from common.beehive.message import Message, raw, refusal, reply
from common.capabilities import Capabilities, Capability
from common.status import failure
from common.wire import loads
from edgecore.edgestore.records import Put
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import inventory
from edgecore.metamanager.resync import INVENTORY_S, Resync
from tests.edgecore.edgestore.objects import stored

DIGEST = frozenset({Capability.DIGEST})
NOTHING = {"updated": 0, "deleted": 0}


class Cloud:
    """Whom the edge asks."""

    def __init__(self, store: EdgeStore, tasks: asyncio.TaskGroup) -> None:
        self.acknowledged = 0
        self._asked: asyncio.Queue[tuple[Message, asyncio.Future[Message]]] = asyncio.Queue()
        self._tasks = tasks
        # Pauses end at once: of 1 all is random, and all of that is taken away.
        self.resync = Resync(store, "n1", self._ask, self._acknowledge, lambda: 2.0)
        self._open: asyncio.Future[Message] | None = None
        self._request: Message | None = None

    def connect(self, agreed: Capabilities) -> None:
        self.resync.connected(agreed, self._tasks)

    def ask(self) -> None:
        self.resync.asked(self._tasks)

    async def hears(self) -> dict[str, Any]:
        """Return the next inventory."""
        self._request, self._open = await self._asked.get()
        assert self._request.resource == "null/inventory/n1"
        return dict(loads(self._request.content))

    def says(self, value: Any) -> None:
        assert self._request is not None
        self._answer(reply(self._request, raw(value), source="edgecontroller"))

    def refuses(self) -> None:
        assert self._request is not None
        self._answer(refusal(self._request, failure(503, "not in step"), source="edgecontroller"))

    def _answer(self, message: Message) -> None:
        assert self._open is not None
        self._open.set_result(message)

    async def is_quiet(self) -> bool:
        """Whether nothing more is asked."""
        running = [task for task in asyncio.all_tasks() if task.get_name() == "inventory"]
        if running:
            await asyncio.wait(running, timeout=9)
        return self._asked.empty()

    async def _ask(self, request: Message, timeout_s: float) -> Message:
        assert timeout_s == INVENTORY_S
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait((request, answer))
        return await answer

    async def _acknowledge(self, _response: Message) -> None:
        self.acknowledged += 1


@pytest.fixture
async def cloud(store: EdgeStore) -> AsyncIterator[Cloud]:
    await store.apply([Put(stored("default/pod/web", uid="p", version=3))])
    async with asyncio.TaskGroup() as tasks:
        made = Cloud(store, tasks)
        yield made
        made.resync.disconnected()


async def test_an_edge_that_is_in_step_says_one_digest(cloud: Cloud, store: EdgeStore) -> None:
    told: list[bool] = []
    cloud.resync.told = lambda: told.append(store.is_complete)
    cloud.connect(DIGEST)
    assert await cloud.hears() == inventory.brief(store.index)
    assert not told
    cloud.says(NOTHING)
    assert await cloud.is_quiet()
    assert store.is_complete
    assert told == [True]
    assert cloud.acknowledged == 1  # whether that goes out is for others to say


async def test_where_the_digest_differs_every_object_is_named(
    cloud: Cloud, store: EdgeStore
) -> None:
    await store.confirm_complete()
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.says({"differs": True})
    assert await cloud.hears() == inventory.full(store.index)
    cloud.says({"updated": 4, "deleted": 1})
    assert await cloud.is_quiet()


async def test_a_cloud_of_the_first_version_gets_what_it_knows(
    cloud: Cloud, store: EdgeStore
) -> None:
    await store.confirm_complete()
    cloud.connect(capabilities.ALL - DIGEST)
    assert await cloud.hears() == inventory.plain(store.index)
    cloud.says({"updated": 4, "deleted": 1})
    assert await cloud.is_quiet()


async def test_it_asks_until_it_is_answered(cloud: Cloud) -> None:
    cloud.connect(capabilities.NONE)
    await cloud.hears()
    cloud.refuses()
    await cloud.hears()
    cloud.says("nonsense")
    await cloud.hears()
    cloud.says(NOTHING)
    assert await cloud.is_quiet()


async def test_a_list_that_was_not_answered_is_said_again(cloud: Cloud) -> None:
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.says({"differs": True})
    await cloud.hears()
    cloud.refuses()
    assert "objects" in await cloud.hears()
    cloud.says({"differs": True})  # makes no sense, and is no answer
    assert "digest" in await cloud.hears()
    cloud.refuses()
    assert "digest" in await cloud.hears()
    cloud.says(NOTHING)
    assert await cloud.is_quiet()


async def test_a_store_that_may_lack_something_is_complete_when_nothing_differs(
    cloud: Cloud, store: EdgeStore
) -> None:
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.says({"differs": True})
    await cloud.hears()
    cloud.says({"updated": 4, "deleted": 1})
    assert "digest" in await cloud.hears()
    assert not store.is_complete
    cloud.says(NOTHING)
    assert await cloud.is_quiet()
    assert store.is_complete


async def test_what_cannot_be_noted_is_asked_again(
    cloud: Cloud, store: EdgeStore, caplog: pytest.LogCaptureFixture
) -> None:
    connection = store._database._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.says(NOTHING)
    await cloud.hears()
    assert "came to nothing" in caplog.text
    connection.execute("PRAGMA query_only = OFF")
    cloud.says(NOTHING)
    assert await cloud.is_quiet()


async def test_the_cloud_may_ask_for_the_list_at_any_time(cloud: Cloud, store: EdgeStore) -> None:
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.says(NOTHING)
    assert await cloud.is_quiet()
    cloud.ask()
    assert await cloud.hears() == inventory.full(store.index)
    cloud.ask()  # before the first one was answered: once more
    cloud.ask()
    cloud.says(NOTHING)
    assert await cloud.hears() == inventory.full(store.index)
    cloud.says(NOTHING)
    assert await cloud.is_quiet()


async def test_a_cloud_that_did_not_agree_on_that_gets_no_list(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.ask()
    cloud.connect(capabilities.NONE)
    await cloud.hears()
    cloud.says(NOTHING)
    assert await cloud.is_quiet()
    cloud.ask()
    assert await cloud.is_quiet()
    assert caplog.text.count("did not agree") == 2


async def test_a_connection_that_is_gone_is_asked_nothing_more(cloud: Cloud) -> None:
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.resync.disconnected()
    cloud.says({"differs": True})
    assert await cloud.is_quiet()


async def test_a_new_connection_starts_anew_while_the_old_one_ends(
    cloud: Cloud, store: EdgeStore
) -> None:
    cloud.connect(DIGEST)
    await cloud.hears()
    cloud.ask()
    cloud.says({"differs": True})
    await cloud.hears()  # the list
    old = cloud._open
    cloud.connect(DIGEST)
    assert await cloud.hears() == inventory.brief(store.index)
    assert old is not None
    assert cloud._request is not None
    old.set_result(refusal(cloud._request, failure(503, "the link was lost"), source="websocket"))
    cloud.says(NOTHING)
    assert await cloud.is_quiet()
