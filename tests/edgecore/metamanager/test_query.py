"""Answers to this node's questions: a real edge-store, a cloud that is a function of the test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.beehive.message import Message, new, raw, refusal, reply
from common.clock import Clock, rfc3339
from common.names import ModuleName, Operation
from common.status import Status, failure, not_found
from common.wire import loads, status_of
from edgecore.edgestore.records import Put
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import query
from edgecore.metamanager.keeper import Keeper
from edgecore.metamanager.query import Queries, is_from_cloud
from tests.edgecore.cloud import until
from tests.edgecore.edgestore.objects import stored
from tests.edgecore.metamanager.messages import CONFIGMAP, POD, content, delete

TOKEN = "default/serviceaccounttoken/app"
VOLUME = "null/persistentvolume/disk"


class Cloud:
    """Answers as the test says; keeps what it was asked and what was acknowledged."""

    def __init__(self, store: EdgeStore) -> None:
        self.asked: list[Message] = []
        self.acknowledged: list[Message] = []
        self.answer: Callable[[Message], Message] = away
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.keeper = Keeper(store)
        self.queries = Queries(store, self.keeper, self.ask, self.acknowledge, Clock())
        self.tasks: asyncio.TaskGroup | None = None

    async def ask(self, request: Message, _timeout_s: float) -> Message:
        self.asked.append(request)
        await self.may_answer.wait()
        return self.answer(request)

    async def acknowledge(self, response: Message) -> None:
        if is_from_cloud(response):
            self.acknowledged.append(response)

    async def get(self, resource: str, value: Any = None) -> Message:
        assert self.tasks is not None
        request = new(ModuleName.EDGED, "meta", Operation.QUERY, resource, raw(value))
        answer = await self.queries.answer(request, self.tasks)
        assert answer.parent_id == request.msg_id
        assert answer.operation is Operation.RESPONSE
        return answer


@pytest.fixture
async def cloud(store: EdgeStore) -> AsyncIterator[Cloud]:
    made = Cloud(store)
    async with asyncio.TaskGroup() as made.tasks:
        yield made


def away(request: Message) -> Message:
    return refusal(request, failure(503, "not connected"), source=ModuleName.EDGE_HUB)


def says(value: object, version: str = "") -> Callable[[Message], Message]:
    return lambda request: reply(
        request,
        raw(value),
        source=ModuleName.EDGE_CONTROLLER,
        group="resource",
        resource_version=version,
    )


def refuses(status: Status) -> Callable[[Message], Message]:
    return lambda request: refusal(request, status, source=ModuleName.EDGE_CONTROLLER)


def code(answer: Message) -> int:
    status = status_of(answer.content)
    return 0 if status is None else status.code


async def test_what_is_stored_is_answered_without_the_cloud(cloud: Cloud, store: EdgeStore) -> None:
    await store.apply([Put(stored(CONFIGMAP, version=7, value=b'{"a": 1}'))])
    answer = await cloud.get(CONFIGMAP)
    assert bytes(answer.content) == b'{"a": 1}'
    assert answer.header.resourceversion == "7"
    assert cloud.asked == []


async def test_what_is_missing_is_asked_for_stored_acknowledged_and_given(
    cloud: Cloud, store: EdgeStore
) -> None:
    cloud.answer = says(content(CONFIGMAP, "u1", 5))
    answer = await cloud.get(CONFIGMAP)
    assert loads(answer.content) == content(CONFIGMAP, "u1", 5)
    assert store.index.entries[CONFIGMAP].version == 5
    assert [ack.resource for ack in cloud.acknowledged] == [CONFIGMAP]
    await cloud.get(CONFIGMAP)
    assert len(cloud.asked) == 1


async def test_a_404_is_passed_on_acknowledged_and_never_stored(
    cloud: Cloud, store: EdgeStore
) -> None:
    cloud.answer = refuses(not_found("configmap", "web"))
    assert code(await cloud.get(CONFIGMAP)) == 404
    assert not store.index.entries
    assert len(cloud.acknowledged) == 1
    cloud.answer = says(content(CONFIGMAP, "u1", 5))
    assert code(await cloud.get(CONFIGMAP)) == 0


async def test_without_a_link_the_answer_is_503_and_nobody_is_thanked_for_it(cloud: Cloud) -> None:
    codes: list[str] = []
    cloud.queries.count = codes.append
    assert code(await cloud.get(CONFIGMAP)) == 503
    assert cloud.acknowledged == []
    assert codes == ["503"]


async def test_all_who_ask_at_once_share_one_question(cloud: Cloud) -> None:
    cloud.answer = says(content(CONFIGMAP, "u1", 5))
    cloud.may_answer.clear()
    assert cloud.tasks is not None
    asking = [cloud.tasks.create_task(cloud.get(CONFIGMAP)) for _ in range(20)]
    other = cloud.tasks.create_task(cloud.get("default/configmap/other"))
    await until(lambda: len(cloud.asked) == 2)
    cloud.may_answer.set()
    await asyncio.wait([*asking, other])
    assert len(cloud.asked) == 2
    assert {bytes(task.result().content) for task in asking} == {
        bytes(raw(content(CONFIGMAP, "u1", 5)))
    }


async def test_one_who_asks_is_answered_in_time_and_the_late_answer_serves_the_next(
    cloud: Cloud, store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "PATIENCE_S", 0.01)
    cloud.answer = says(content(CONFIGMAP, "u1", 5))
    cloud.may_answer.clear()
    assert code(await cloud.get(CONFIGMAP)) == 504
    assert code(await cloud.get(CONFIGMAP)) == 504
    monkeypatch.undo()
    cloud.may_answer.set()
    assert code(await cloud.get(CONFIGMAP)) == 0
    assert len(cloud.asked) == 1
    assert CONFIGMAP in store.index.entries


@pytest.mark.parametrize("value", [None, "OK", [], {}, {"metadata": 1}, 7])
async def test_an_answer_that_is_no_object_is_an_error_and_never_stored(
    cloud: Cloud, store: EdgeStore, value: object
) -> None:
    cloud.answer = says(value)
    assert code(await cloud.get(CONFIGMAP)) == 500
    assert not store.index.entries
    assert len(cloud.acknowledged) == 1  # or a KubeEdge cloud would send it again and again


async def test_an_error_message_without_a_status_is_an_error(cloud: Cloud) -> None:
    def error(request: Message) -> Message:
        made = new(ModuleName.EDGE_CONTROLLER, "resource", Operation.ERROR, CONFIGMAP, raw("boom"))
        return made.about(request.resource)

    cloud.answer = error
    assert code(await cloud.get(CONFIGMAP)) == 500


async def test_an_answer_that_was_overtaken_by_a_deletion_is_a_404(cloud: Cloud) -> None:
    await cloud.keeper.keep([delete(version=9)])
    cloud.answer = says(content(CONFIGMAP, "u1", 5))
    assert code(await cloud.get(CONFIGMAP)) == 404


async def test_an_answer_that_cannot_be_stored_is_neither_given_nor_acknowledged(
    cloud: Cloud, store: EdgeStore
) -> None:
    store._database._connection.execute("PRAGMA query_only = ON")  # type: ignore[union-attr]
    cloud.answer = says(content(CONFIGMAP, "u1", 5))
    assert code(await cloud.get(CONFIGMAP)) == 500
    assert cloud.acknowledged == []


async def test_pods_are_known_here_or_nowhere(cloud: Cloud, store: EdgeStore) -> None:
    assert code(await cloud.get(POD)) == 404
    await store.apply([Put(stored(POD, value=b'{"a":1}'))])
    assert bytes((await cloud.get(POD)).content) == b'{"a":1}'
    assert cloud.asked == []


async def test_a_question_without_a_name_is_answered_by_a_list(
    cloud: Cloud, store: EdgeStore
) -> None:
    assert loads((await cloud.get("null/pod")).content) == {"complete": False, "items": []}
    await store.apply([Put(stored(f"default/pod/{n}", value=b'{"n":%d}' % n)) for n in range(3)])
    await store.confirm_complete()
    items = [{"n": 0}, {"n": 1}, {"n": 2}]
    assert loads((await cloud.get("null/pod")).content) == {"complete": True, "items": items}


async def test_a_volume_is_asked_for_each_time_and_stored_for_bad_days(cloud: Cloud) -> None:
    cloud.answer = says(content(VOLUME, "v1", 5))
    await cloud.get(VOLUME)
    cloud.answer = away
    assert loads((await cloud.get(VOLUME)).content) == content(VOLUME, "v1", 5)
    cloud.answer = refuses(not_found("persistentvolume", "disk"))
    assert code(await cloud.get(VOLUME)) == 404
    assert len(cloud.asked) == 3


async def test_the_clusters_authority_and_leases_are_passed_through(
    cloud: Cloud, store: EdgeStore
) -> None:
    cloud.answer = says("-----BEGIN CERTIFICATE-----")
    assert loads((await cloud.get("k8s/ca.crt")).content) == "-----BEGIN CERTIFICATE-----"
    cloud.answer = says({"Object": None, "Err": None}, "12")
    answer = await cloud.get("kube-node-lease/lease/n1")
    assert loads(answer.content) == {"Object": None, "Err": None}
    assert answer.header.resourceversion == "12"
    assert not store.index.entries


@pytest.mark.parametrize("resource", ["", "pod", "a/b/c/d/e", "default//x"])
async def test_a_question_about_nothing_is_a_bad_request(cloud: Cloud, resource: str) -> None:
    assert code(await cloud.get(resource)) == 400
    assert cloud.asked == []


def token(left: timedelta, value: str = "t1") -> dict[str, Any]:
    expiration = rfc3339(datetime.now(UTC) + left)
    return {
        "spec": {"expirationSeconds": 3600},
        "status": {"token": value, "expirationTimestamp": expiration},
    }


def wish(audience: str = "api") -> dict[str, Any]:
    bound = {"kind": "Pod", "name": "web", "uid": "p1"}
    return {
        "metadata": {"creationTimestamp": None},
        "spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound},
    }


async def test_a_token_is_given_again_while_it_is_fresh(cloud: Cloud, store: EdgeStore) -> None:
    cloud.answer = says(token(timedelta(hours=1)))
    first = await cloud.get(TOKEN, wish())
    assert loads((await cloud.get(TOKEN, wish())).content) == loads(first.content)
    assert len(cloud.asked) == 1
    assert json.loads(bytes(cloud.asked[0].content)) == wish()
    assert {entry.uid for entry in store.index.entries.values()} == {"p1"}
    await cloud.get(TOKEN, wish("other"))
    assert len(cloud.asked) == 2


async def test_an_old_token_is_renewed_and_is_better_than_none(cloud: Cloud) -> None:
    cloud.answer = says(token(timedelta(seconds=-9), "old"))
    await cloud.get(TOKEN, wish())
    cloud.answer = away
    assert loads((await cloud.get(TOKEN, wish())).content)["status"]["token"] == "old"
    cloud.answer = says(token(timedelta(hours=1), "new"))
    assert loads((await cloud.get(TOKEN, wish())).content)["status"]["token"] == "new"


async def test_a_token_that_is_refused_is_refused(cloud: Cloud) -> None:
    cloud.answer = says(token(timedelta(seconds=-9), "old"))
    await cloud.get(TOKEN, wish())
    cloud.answer = refuses(failure(403, "the pod has ended"))
    assert code(await cloud.get(TOKEN, wish())) == 403


async def test_an_answer_without_a_token_is_never_stored(cloud: Cloud, store: EdgeStore) -> None:
    cloud.answer = says({"spec": {}})
    assert code(await cloud.get(TOKEN, wish())) == 500
    assert not store.index.entries
    assert code(await cloud.get(TOKEN, "no request")) == 400
