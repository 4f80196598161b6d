"""The module MetaManager on a real bus with a real edge-store; hub and edged are the test."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from common import capabilities
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal, reply
from common.capabilities import Capabilities, Capability
from common.clock import Clock
from common.names import (
    LINK_RESOURCE,
    PROGRESS_RESOURCE,
    LinkState,
    ModuleName,
    Operation,
    PeerProtocol,
)
from common.status import failure
from common.wire import loads, status_of
from edgecore.edgestore.records import Put
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import inventory, manager
from edgecore.metamanager.manager import MetaManager
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import until
from tests.edgecore.edgestore.objects import stored
from tests.edgecore.metamanager.messages import (
    CONFIGMAP,
    POD,
    carrying,
    content,
    insert,
    update,
)

META, HUB, EDGED = ModuleName.META_MANAGER, ModuleName.EDGE_HUB, ModuleName.EDGED


@pytest.fixture
async def running(
    context: MessageContext, store: EdgeStore, metrics: EdgeMetrics
) -> AsyncIterator[MetaManager]:
    module = MetaManager(context, store, "n1", Clock(), metrics)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(module.run())
        yield module
        context.close(META)


pytestmark = pytest.mark.usefixtures("running")


async def from_edged(context: MessageContext, request: Message) -> Message:
    return await context.send_sync(META, request, timeout_s=20)


def request(operation: Operation, resource: str, value: object = None) -> Message:
    return new(EDGED, "meta", operation, resource, raw(value))


async def link(
    context: MessageContext,
    state: LinkState,
    protocol: PeerProtocol = PeerProtocol.KUBEEDGE,
    agreed: Capabilities = capabilities.NONE,
) -> None:
    value = raw({"state": state.value, "protocol": protocol.value, "capabilities": sorted(agreed)})
    await context.send(META, new(HUB, "meta", Operation.CONNECT, LINK_RESOURCE, value))


def total(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


async def test_a_message_is_acknowledged_after_it_is_stored_and_edged_is_told(
    context: MessageContext, store: EdgeStore
) -> None:
    sent = insert(POD, version=5)
    await context.send(META, sent)
    ack = await context.receive(HUB)
    assert (ack.parent_id, bytes(ack.content)) == (sent.msg_id, b'"OK"')
    assert store.index.entries[POD].version == 5
    assert (await context.receive(EDGED)).msg_id == sent.msg_id


async def test_what_edged_is_told_keeps_its_order(context: MessageContext) -> None:
    sent = [insert(POD, version=1), *(update(POD, version=n) for n in range(2, 200))]
    for one in sent:
        await context.send(META, one)
    told = [(await context.receive(EDGED)).msg_id for _ in sent]
    assert told == [one.msg_id for one in sent]
    acks = [(await context.receive(HUB)).parent_id for _ in sent]
    assert acks == told


async def test_what_cannot_be_stored_is_not_acknowledged(
    context: MessageContext, store: EdgeStore, registry: CollectorRegistry
) -> None:
    connection = store._database._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")
    await context.send(META, insert(POD, version=5))
    labels = {"reason": "store_error"}
    while not total(registry, "edgecore_messages_dropped_total", **labels):  # noqa: ASYNC110
        await asyncio.sleep(0)
    answer = await from_edged(context, request(Operation.QUERY, "null/pod"))
    assert loads(answer.content)["items"] == []
    connection.execute("PRAGMA query_only = OFF")
    again = insert(POD, version=5)
    await context.send(META, again)
    assert (await context.receive(HUB)).parent_id == again.msg_id
    assert total(registry, "edgecore_messages_dropped_total", **labels) == 1


async def test_what_is_refused_or_stale_is_counted(
    context: MessageContext, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    for one in (
        insert(version=5),
        update(version=4),
        carrying(Operation.UPDATE, CONFIGMAP, None),
        carrying(Operation.UPLOAD, CONFIGMAP, None),
    ):
        await context.send(META, one)
        assert (await context.receive(HUB)).parent_id == one.msg_id
    assert total(registry, "edgecore_messages_superseded_total") == 1
    assert total(registry, "edgecore_refusals_total", reason="invalid") == 1
    assert total(registry, "edgecore_refusals_total", reason="unsupported_operation") == 1
    assert caplog.text.count("acknowledged and not stored") == 2


@pytest.mark.parametrize(
    ("operation", "is_acked"),
    [
        (Operation.INSERT, True),
        (Operation.UPDATE, True),
        (Operation.PATCH, False),
        (Operation.DELETE, False),
    ],
)
async def test_a_write_is_passed_on_with_an_id_of_its_own(
    context: MessageContext, operation: Operation, *, is_acked: bool
) -> None:
    asked = request(operation, "null/node/n1", {"metadata": {}})
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(from_edged(context, asked))
        passed = await context.receive(HUB)
        assert passed.msg_id != asked.msg_id
        assert (passed.route, passed.content) == (asked.route, asked.content)
        said = reply(
            passed,
            raw({"Object": {}, "Err": None}),
            source="edgecontroller",
            group="resource",
            resource_version="9",
        )
        assert context.send_resp(said)
    answer = call.result()
    assert answer.parent_id == asked.msg_id
    assert loads(answer.content) == {"Object": {}, "Err": None}
    assert answer.header.resourceversion == "9"
    await context.send(META, insert(version=1))  # what follows shows whether an ack came before
    following = await context.receive(HUB)
    assert (following.parent_id == said.msg_id) is is_acked


async def test_a_refusal_of_the_hub_is_not_acknowledged_to_the_cloud(
    context: MessageContext,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(from_edged(context, request(Operation.QUERY, CONFIGMAP)))
        passed = await context.receive(HUB)
        context.send_resp(refusal(passed, failure(503, "not connected"), source=HUB))
    status = status_of(call.result().content)
    assert status is not None
    assert status.code == 503
    marker = insert(version=1)
    await context.send(META, marker)
    assert (await context.receive(HUB)).parent_id == marker.msg_id


async def test_a_missing_object_is_asked_for_and_what_comes_meanwhile_is_not_held_up(
    context: MessageContext,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(from_edged(context, request(Operation.QUERY, CONFIGMAP)))
        asked = await context.receive(HUB)
        await context.send(META, insert(POD, version=3))
        assert (await context.receive(HUB)).resource == POD
        context.send_resp(reply(asked, raw(content(CONFIGMAP, "u1", 5)), source="edgecontroller"))
    assert loads(call.result().content)["metadata"]["uid"] == "u1"


async def test_events_are_sent_and_nobody_waits_for_an_answer(context: MessageContext) -> None:
    event = request(Operation.INSERT, "default/event/x", {})
    offline = await from_edged(context, event)
    assert status_of(offline.content) is not None
    await link(context, LinkState.CONNECTED)
    event = request(Operation.INSERT, "default/event/x", {})
    assert bytes((await from_edged(context, event)).content) == b'"OK"'
    sent = await context.receive(HUB)
    assert (sent.msg_id, sent.header.sync) == (event.msg_id, False)


async def test_too_many_requests_are_refused_at_once(
    context: MessageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "MAX_REQUESTS", 1)
    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(from_edged(context, request(Operation.PATCH, "a/podpatch/b")))
        passed = await context.receive(HUB)
        refused = await from_edged(context, request(Operation.PATCH, "a/podpatch/c"))
        status = status_of(refused.content)
        assert status is not None
        assert status.code == 429
        context.send_resp(reply(passed, source="edgecontroller"))
        await held


async def test_a_request_that_nobody_answers_is_answered_here(
    context: MessageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "REQUEST_S", 0.01)
    answer = await from_edged(context, request(Operation.PATCH, "a/podpatch/b", "{}"))
    status = status_of(answer.content)
    assert status is not None
    assert status.code == 504


async def test_the_state_of_the_link_is_passed_on_to_edged(context: MessageContext) -> None:
    await link(context, LinkState.CONNECTED)
    await link(context, LinkState.DISCONNECTED)
    states = [loads((await context.receive(EDGED)).content)["state"] for _ in range(2)]
    assert states == ["cloud_connected", "cloud_disconnected"]


async def in_step(context: MessageContext, agreed: Capabilities) -> None:
    """Connect to a cloud of ours that finds nothing to be different."""
    await link(context, LinkState.CONNECTED, PeerProtocol.CLOUDEDGE_V1, agreed)
    asked = await context.receive(HUB)
    assert (asked.operation, asked.resource) == (Operation.QUERY, "null/inventory/n1")
    context.send_resp(reply(asked, raw({"updated": 0, "deleted": 0}), source="edgecontroller"))


async def test_our_cloud_is_told_what_is_here(context: MessageContext, store: EdgeStore) -> None:
    await store.apply([Put(stored(POD, uid="p", version=3))])
    await link(context, LinkState.CONNECTED, PeerProtocol.CLOUDEDGE_V1)
    asked = await context.receive(HUB)
    assert loads(asked.content) == {"objects": [["pod", "default", "web", "p", "3"]]}
    said = reply(asked, raw({"updated": 0, "deleted": 0}), source="edgecontroller")
    context.send_resp(said)
    # A cloud of the first version wants to hear that its answer has come.
    assert (await context.receive(HUB)).parent_id == said.msg_id
    assert context.pending()[HUB] == 0


async def test_it_tells_what_is_held_and_since_when_that_is_in_step(
    context: MessageContext, store: EdgeStore, running: MetaManager
) -> None:
    await store.apply([Put(stored(POD, version=3))])
    assert running.tell() == {"objects": 1, "complete": False, "inStepSince": None}
    await link(context, LinkState.CONNECTED, PeerProtocol.CLOUDEDGE_V1)
    asked = await context.receive(HUB)
    context.send_resp(reply(asked, raw({"updated": 0, "deleted": 0}), source="edgecontroller"))
    await until(lambda: running.tell()["inStepSince"] is not None)
    assert running.tell()["complete"] is True
    await link(context, LinkState.DISCONNECTED)
    await until(lambda: running.tell()["inStepSince"] is None)


async def test_one_message_acknowledges_all_of_a_commit(
    context: MessageContext, store: EdgeStore, registry: CollectorRegistry
) -> None:
    await in_step(context, frozenset({Capability.ACKS}))
    sent = [insert(POD, version=n) for n in range(1, 41)]
    for one in sent:
        await context.send(META, one)
    acked: list[str] = []
    messages = 0
    while len(acked) < len(sent):
        ack = await context.receive(HUB)
        assert (ack.operation, ack.parent_id) == (Operation.RESPONSE, "")
        acked += loads(ack.content)["acked"]
        messages += 1
    assert acked == [one.msg_id for one in sent]
    assert messages < len(sent)
    assert store.index.entries[POD].version == 40
    assert total(registry, "edgecore_messages_acknowledged_total") == 40


async def test_answers_are_not_acknowledged_to_a_cloud_that_knows_better(
    context: MessageContext,
) -> None:
    await in_step(context, frozenset({Capability.ACKS}))
    async with asyncio.TaskGroup() as tasks:
        read = tasks.create_task(from_edged(context, request(Operation.QUERY, CONFIGMAP)))
        asked = await context.receive(HUB)
        context.send_resp(reply(asked, raw(content(CONFIGMAP, "u1", 5)), source="edgecontroller"))
        await read
        write = tasks.create_task(from_edged(context, request(Operation.INSERT, "null/node/n1")))
        asked = await context.receive(HUB)
        context.send_resp(reply(asked, raw({"Object": {}, "Err": None}), source="edgecontroller"))
        await write
    marker = insert(version=1)
    await context.send(META, marker)
    assert loads((await context.receive(HUB)).content) == {"acked": [marker.msg_id]}


async def test_the_cloud_may_ask_for_an_inventory_which_is_neither_stored_nor_acknowledged(
    context: MessageContext, store: EdgeStore, registry: CollectorRegistry
) -> None:
    await store.apply([Put(stored(POD, uid="p", version=3))])
    await in_step(context, frozenset({Capability.DIGEST, Capability.ACKS}))
    await context.send(META, carrying(Operation.QUERY, "null/inventory/n1", None))
    asked = await context.receive(HUB)
    assert (asked.operation, asked.resource) == (Operation.QUERY, "null/inventory/n1")
    assert loads(asked.content)["objects"][0][:5] == ["pod", "default", "web", "p", "3"]
    assert store.index.entries.keys() == {POD}
    assert total(registry, "edgecore_messages_acknowledged_total") == 0
    assert total(registry, "edgecore_refusals_total", reason="unsupported_operation") == 0


def question(*, digest: bool) -> Message:
    """Return what edgehub asks before each beat."""
    return new(HUB, "meta", Operation.KEEPALIVE, PROGRESS_RESOURCE, raw({"digest": digest}))


async def test_edgehub_hears_that_this_edge_works_once_edged_has_said_so(
    context: MessageContext, store: EdgeStore
) -> None:
    asked = question(digest=True)
    await context.send(META, asked)
    passed = await context.receive(EDGED)
    assert (passed.operation, passed.resource) == (Operation.KEEPALIVE, PROGRESS_RESOURCE)
    await store.apply([Put(stored(POD, uid="p", version=3))])
    assert context.send_resp(reply(passed))
    sign = await context.receive(HUB)
    assert (sign.operation, sign.resource) == (Operation.KEEPALIVE, PROGRESS_RESOURCE)
    digest = inventory.digest(store.index)
    assert loads(sign.content) == {"asked": asked.msg_id, "digest": digest}


async def test_the_digest_is_said_where_it_is_wanted(context: MessageContext) -> None:
    asked = question(digest=False)
    await context.send(META, asked)
    context.send_resp(reply(await context.receive(EDGED)))
    sign = await context.receive(HUB)
    assert loads(sign.content) == {"asked": asked.msg_id, "digest": None}


async def test_edgehub_hears_nothing_where_edged_says_nothing(
    context: MessageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_PROGRESS_S", 0.01)
    await context.send(META, question(digest=False))
    late = await context.receive(EDGED)
    await until(lambda: late.msg_id not in context._replies)
    context.close(EDGED)
    await context.send(META, question(digest=False))
    marker = insert(version=1)
    await context.send(META, marker)
    assert (await context.receive(HUB)).parent_id == marker.msg_id


async def test_a_kubeedge_cloud_gets_no_inventory(context: MessageContext) -> None:
    await link(context, LinkState.CONNECTED)
    marker = insert(version=1)
    await context.send(META, marker)
    assert (await context.receive(HUB)).parent_id == marker.msg_id


async def test_a_new_store_is_complete_once_a_kubeedge_cloud_is_there(
    context: MessageContext, store: EdgeStore, caplog: pytest.LogCaptureFixture
) -> None:
    connection = store._database._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = ON")
    await link(context, LinkState.CONNECTED)
    await context.receive(EDGED)
    assert not store.is_complete
    assert "cannot be written" in caplog.text
    connection.execute("PRAGMA query_only = OFF")
    await link(context, LinkState.CONNECTED)
    await context.receive(EDGED)
    assert store.is_complete


async def test_modules_that_have_stopped_stop_nobody_else(
    context: MessageContext, store: EdgeStore, registry: CollectorRegistry
) -> None:
    context.close(EDGED)
    context.close(HUB)
    await context.send(META, insert(POD, version=3))
    answer = await from_edged(context, request(Operation.PATCH, "a/podpatch/b", "{}"))
    status = status_of(answer.content)
    assert status is not None
    assert status.code == 503
    dropped = {"reason": "shutting_down"}
    await until(lambda: total(registry, "edgecore_messages_dropped_total", **dropped) == 2)
    assert POD in store.index.entries


async def test_a_link_state_that_cannot_be_read_is_ignored(
    context: MessageContext, caplog: pytest.LogCaptureFixture
) -> None:
    await context.send(META, new(HUB, "meta", Operation.CONNECT, LINK_RESOURCE, raw("?")))
    marker = insert(version=1)
    await context.send(META, marker)
    assert (await context.receive(HUB)).parent_id == marker.msg_id
    assert "unusable state" in caplog.text
