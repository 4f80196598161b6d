"""The link of an EdgeSite on a real bus; the controller and MetaManager are the test."""

import asyncio

import pytest

from common.beehive.message import Message, new, raw, reply
from common.names import GroupName, ModuleName, Operation
from common.wire import status_of
from edgesite import underway
from edgesite.underway import MAX_ASKED
from tests.edgesite.site import NODE, Bench, content_of, request, told

POD = {"kind": "Pod", "metadata": {"namespace": "default", "name": "web", "uid": "p1"}}
QUERY = request(Operation.QUERY, "default/configmap/greeting")


async def asked(bench: Bench, message: Message, answer: Message | None = None) -> Message:
    """Send ``message`` up as MetaManager does; return what it gets for an answer."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(
            bench.bus.send_sync(ModuleName.EDGE_HUB, message, timeout_s=20), name="asking"
        )
        await bench.link.up(await bench.bus.receive(ModuleName.EDGE_HUB))
        if answer is not None:
            assert (await bench.at_controller()).resource == message.resource
            await bench.link.down(answer)
    return asking.result()


async def test_a_query_and_its_answer_pass_unchanged() -> None:
    bench = Bench()
    async with bench.connected():
        answer = reply(QUERY, raw({"kind": "ConfigMap"}), source=ModuleName.EDGE_CONTROLLER)
        assert await asked(bench, QUERY, answer) is answer


async def test_before_it_is_connected_requests_are_refused_and_events_dropped() -> None:
    bench = Bench()
    status = status_of((await asked(bench, QUERY)).content)
    assert status is not None
    assert (status.code, status.message) == (503, "not connected")
    await bench.link.up(request(Operation.INSERT, "default/event/web.1a2b", {}))
    assert bench.edge.dropped.value_of("not_connected") == 1


async def test_objects_before_it_is_connected_are_dropped() -> None:
    """P11: an API server that is not ours yet may say what it likes."""
    bench = Bench()
    await bench.link.down(told(Operation.DELETE, "default/pod/web", POD))
    assert bench.bus.pending()[ModuleName.META_MANAGER] == 0
    assert bench.cloud.dropped.value_of("not_connected") == 1


async def test_a_node_may_ask_for_no_more_than_behind_a_hub() -> None:
    bench = Bench()
    async with bench.connected():
        answer = await asked(bench, request(Operation.QUERY, "default/secret/of-others"))
        status = status_of(answer.content)
        assert status is not None
        assert status.code == 403
        assert bench.bus.pending()[ModuleName.EDGE_CONTROLLER] == 0


async def test_the_deletion_of_a_pod_that_does_not_exist_is_done() -> None:
    bench = Bench()
    async with bench.connected():
        answer = await asked(
            bench, request(Operation.DELETE, "default/pod/gone", {"metadata": {"uid": "p0"}})
        )
        assert content_of(answer) == "OK"


async def test_an_event_is_handed_on_and_its_answer_is_missed_by_nobody() -> None:
    bench = Bench()
    event = request(
        Operation.INSERT,
        "default/event/web.1a2b",
        {
            "metadata": {"namespace": "default", "name": "web.1a2b"},
            "involvedObject": {
                "kind": "Pod",
                "namespace": "default",
                "name": "web",
                "uid": "p1",
            },
        },
    )
    async with bench.connected():
        await bench.link.up(event)
        assert await bench.at_controller() == event
        await bench.link.down(reply(event))
        assert bench.cloud.dropped.value_of("late_reply") == 0
        await bench.link.down(reply(QUERY))
        assert bench.cloud.dropped.value_of("late_reply") == 1


async def test_more_than_the_controller_has_room_for_is_refused_and_nobody_waits() -> None:
    bench = Bench()
    async with bench.connected():
        for _ in range(MAX_ASKED):
            await bench.link.up(request(Operation.QUERY, "default/configmap/greeting"))
        status = status_of((await asked(bench, QUERY)).content)
        assert status is not None
        assert status.code == 503
        assert bench.edge.refused.value_of("full") == 1


async def test_an_object_is_under_way_until_it_is_stored() -> None:
    bench = Bench()
    async with bench.connected():
        insert = told(Operation.INSERT, "default/pod/web", POD)
        await bench.link.down(insert)
        assert await bench.at_edge() is insert
        assert (bench.link.backlog(NODE), bench.link.is_quiet) == (1, False)
        await bench.link.up(request(Operation.RESPONSE, "", {"acked": [insert.msg_id]}))
        assert (bench.link.backlog(NODE), bench.link.is_quiet) == (0, True)
        assert bench.cloud.acknowledged.value == 1


async def test_the_link_is_not_quiet_while_something_waits_to_go_down() -> None:
    bench = Bench()
    await bench.bus.send(ModuleName.CLOUD_HUB, told(Operation.INSERT, "default/pod/web", POD))
    assert not bench.link.is_quiet


async def test_what_is_not_stored_in_time_is_found_by_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when the disk is full: MetaManager acknowledges nothing that it cannot keep."""
    bench = Bench()
    async with bench.connected():
        await bench.link.down(told(Operation.INSERT, "default/pod/web", POD))
        await bench.at_edge()
        await bench.link.remind()
        assert bench.bus.pending()[ModuleName.META_MANAGER] == 0
        monkeypatch.setattr(underway, "OVERDUE_S", 0.0)
        await bench.link.remind()
        wanted = await bench.at_edge()
        assert (wanted.operation, wanted.resource) == (Operation.QUERY, f"null/inventory/{NODE}")
        assert wanted.route.group == GroupName.RESOURCE
        assert bench.link.is_quiet


async def test_a_beat_says_what_the_controller_wants_to_know() -> None:
    bench = Bench()
    async with bench.connected() as connection:
        await bench.link.beat(progresses=True, digest="0123456789abcdef")
        beat = await bench.at_controller()
        assert (beat.operation, beat.resource) == (Operation.KEEPALIVE, f"node/{NODE}")
        assert content_of(beat) == {
            "connection": connection,
            "progresses": True,
            "digest": "0123456789abcdef",
            "is_quiet": True,
            "backlog": 0,
        }


async def test_the_controller_gets_the_digest_or_the_inventory_that_it_asks_for() -> None:
    bench = Bench()
    async with bench.connected():
        await bench.link.down(told(Operation.KEEPALIVE, f"node/{NODE}"))
        assert bench.link.wants_digest
        await bench.link.beat(progresses=True, digest="0" * 16)
        assert not bench.link.wants_digest
        await bench.link.down(told(Operation.QUERY, f"null/inventory/{NODE}"))
        assert (await bench.at_edge()).resource == f"null/inventory/{NODE}"


async def test_when_metamanager_has_stopped_what_comes_is_dropped() -> None:
    bench = Bench()
    async with bench.connected():
        bench.bus.close(ModuleName.META_MANAGER)
        await bench.link.down(told(Operation.INSERT, "default/pod/web", POD))
        assert bench.cloud.dropped.value_of("disconnected") == 1


async def test_what_no_cloud_serves_is_dropped_and_counted() -> None:
    bench = Bench()
    async with bench.connected():
        await bench.link.up(new("twin", "twin", Operation.UPDATE, "device/one"))
        assert bench.cloud.dropped.value_of("unserved") == 1
