"""Reporting a pod's status: a real bus; the world merges patches as the API server does."""

import json
from typing import Any

from common.beehive.message import Message, raw, reply
from common.names import UID
from common.status import Status, failure
from edgecore.edged.containerstatus import Situation
from edgecore.edged.reporter import Reporter
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from tests.edgecore.edged.bus import START, Bus, bus
from tests.edgecore.edged.world import IP, pod_object

PATCH, POD = "default/podpatch/web", "default/pod/web"


def situation(*, state: ContainerState = ContainerState.RUNNING, over: bool = False) -> Situation:
    container = ContainerStatus("id", "c", 0, state, "s", started_at=START)
    observed = PodObservation(
        UID("uid-web"), "default", "web", "s", sandbox_ready=not over, containers=(container,)
    )
    return Situation(observed, "process", IP, over=over)


def reporter(b: Bus) -> Reporter:
    made = Reporter(b.tasks, b.requests, b.link, b.clock)
    pod = pod_object("web")
    b.world.objects[POD] = b.world._versioned(pod)
    made.pushed(b.world.objects[POD])
    return made


async def test_a_status_is_sent_once_and_then_agreed_upon() -> None:
    async with bus() as b:
        made = reporter(b)
        made.report(situation())
        await b.world.until(lambda: b.world.status("web")["phase"] == "Running")
        made.report(situation())
        made.wake()
    [patch] = b.world.asked("patch", PATCH)
    assert bytes(patch.content).startswith(b'"')  # a string of JSON text
    assert json.loads(patch.data())["metadata"] == {"uid": "uid-web"}
    assert made.reported == b.world.status("web")


async def test_offline_nothing_is_sent_and_the_newest_is_when_the_link_is_back() -> None:
    async with bus(connected=False) as b:
        made = reporter(b)
        made.report(situation())
        made.report(situation(state=ContainerState.EXITED))
        assert b.world.requests == []
        b.connect()
        made.wake()
        await b.world.until(lambda: b.world.container("web")["state"].get("terminated"))
    assert len(b.world.asked("patch", PATCH)) == 1


async def test_what_somebody_else_wrote_is_set_right() -> None:
    async with bus() as b:
        made = reporter(b)
        made.report(situation())
        await b.world.until(lambda: b.world.status("web")["phase"] == "Running")
        flipped: Any = json.loads(json.dumps(b.world.objects[POD]))
        flipped["status"]["conditions"][2] |= {"status": "False", "reason": "NodeNotReady"}
        b.world.objects[POD] = b.world._versioned(flipped)
        made.pushed(b.world.objects[POD])
        await b.world.until(lambda: b.world.status("web")["conditions"][2]["status"] == "True")


async def settle(made: Reporter) -> None:
    while made._sender._task is not None:
        await made._sender._task


async def test_who_undoes_what_is_said_is_not_fought_without_end() -> None:
    async with bus() as b:
        made = reporter(b)
        pod = b.world.objects[POD]
        made.report(situation())
        for _ in range(50):
            await settle(made)
            b.world.objects[POD] = b.world._versioned(pod)
            made.pushed(b.world.objects[POD])
        await settle(made)
        assert len(b.world.asked("patch", PATCH)) == 30
        b.clock.seconds += 60
        made.wake()
        await settle(made)
        assert b.world.status("web")["phase"] == "Running"
        made.close()


async def test_a_patch_that_changes_nothing_is_sent_again_only_after_a_pause() -> None:
    async with bus() as b:
        made = reporter(b)
        untouched = b.world._patch

        def dropping(request: Message) -> Message:
            untouched(request)
            b.world.objects[POD]["status"].pop("hostIPs", None)  # a field that is not kept
            return reply(request, raw({"Object": b.world.objects[POD], "Err": None}))

        b.world._patch = dropping  # type: ignore[method-assign]
        made.report(situation())
        await settle(made)
        assert made._sender._timer is not None
        # The first patch, then one for the field alone, which then waits.
        assert len(b.world.asked("patch", PATCH)) == 2
        made.close()


async def test_a_server_that_is_away_is_asked_again_and_a_refusal_waits_for_the_next_link() -> None:
    async with bus() as b:
        b.world.refuse = lambda _: failure(503, "away")
        made = reporter(b)
        made.report(situation())
        await b.world.until(lambda: b.world.asked("patch", PATCH))
        await settle(made)
        assert made._sender._timer is not None
        b.world.refuse = lambda _: failure(404, "gone")
        made.wake()
        await b.world.until(lambda: len(b.world.asked("patch", PATCH)) == 2)
        await settle(made)
        made.wake()
        await settle(made)
        assert len(b.world.asked("patch", PATCH)) == 2
        b.world.refuse = lambda _: None
        b.connect()
        made.wake()
        await b.world.until(lambda: b.world.status("web")["phase"] == "Running")
    assert len(b.world.asked("patch", PATCH)) == 3


async def test_a_refusal_may_be_of_the_moment_and_is_doubted_after_a_while() -> None:
    async with bus() as b:
        b.world.refuse = lambda _: failure(404, "never heard of it")
        made = reporter(b)
        made.report(situation())
        await b.world.until(lambda: b.world.asked("patch", PATCH))
        await settle(made)
        assert made._sender._timer is not None
        b.world.refuse = lambda _: None
        b.clock.seconds += 60
        made.wake()
        await b.world.until(lambda: b.world.status("web")["phase"] == "Running")
    assert len(b.world.asked("patch", PATCH)) == 2


async def test_a_refused_change_to_an_older_status_is_worked_out_anew() -> None:
    async with bus() as b:
        made = reporter(b)

        def overtaken(_: Message) -> Status:
            # Of an earlier start, which the edge-store did not know: one address for a family.
            b.world.refuse = lambda _: None
            b.world.objects[POD]["status"]["podIPs"] = [{"ip": "10.0.0.1"}]
            b.world.objects[POD] = b.world._versioned(b.world.objects[POD])
            made.pushed(b.world.objects[POD])
            return failure(422, "no more than one IP for each IP family")

        b.world.refuse = overtaken
        made.report(situation())
        await b.world.until(lambda: b.world.status("web")["phase"] == "Running")
    assert b.world.status("web")["podIPs"] == [{"ip": IP}]
    assert len(b.world.asked("patch", PATCH)) == 2


async def test_a_pod_that_ended_after_its_deletion_is_deleted_once_per_connection() -> None:
    async with bus() as b:
        made = reporter(b)
        marked = pod_object("web")
        marked["metadata"]["deletionTimestamp"] = "t"
        b.world.objects[POD] = b.world._versioned(marked)
        made.pushed(b.world.objects[POD])
        made.report(situation(state=ContainerState.EXITED, over=True))
        await b.world.until(lambda: b.world.asked("delete", POD))
        made.wake()
        await settle(made)
        b.connect()
        made.wake()
        await b.world.until(lambda: len(b.world.asked("delete", POD)) == 2)
    kinds = [request.operation for request in b.world.requests]
    assert kinds == ["patch", "delete", "delete"]  # the last status first
    assert json.loads(b.world.asked("delete", POD)[0].data()) == {
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "uid-web"},
    }


async def test_a_pod_that_is_still_here_long_after_it_was_deleted_is_deleted_again() -> None:
    async with bus() as b:
        made = reporter(b)
        marked = pod_object("web")
        marked["metadata"]["deletionTimestamp"] = "t"
        b.world.objects[POD] = b.world._versioned(marked)
        made.pushed(b.world.objects[POD])
        made.report(situation(state=ContainerState.EXITED, over=True))
        await b.world.until(lambda: b.world.asked("delete", POD))
        await settle(made)
        assert made._sender._timer is not None
        b.clock.seconds += 60
        made.wake()
        await b.world.until(lambda: len(b.world.asked("delete", POD)) == 2)


async def test_a_pod_that_ended_by_itself_is_not_deleted() -> None:
    async with bus() as b:
        made = reporter(b)
        made.report(situation(state=ContainerState.EXITED, over=True))
        await b.world.until(lambda: b.world.status("web")["phase"] == "Succeeded")
    assert b.world.asked("delete", POD) == []
