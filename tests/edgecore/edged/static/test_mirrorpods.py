"""Mirror pods: a real bus; the world keeps pods as the API server does, and the test the clock."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from common.beehive.message import Message, raw, reply
from common.names import UID, Operation
from common.status import Status, failure, not_found
from edgecore.edged.podview import uid_of
from edgecore.edged.static.manifests import StaticSet
from edgecore.edged.static.mirror import MirrorStep, mirror_object
from edgecore.edged.static.mirrorpods import MirrorPods
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.static.test_mirror import DELETING, static

KEY = "default/web-n1"
RESOURCE = "default/pod/web-n1"


@asynccontextmanager
async def keeping(
    *, connected: bool = True
) -> AsyncIterator[tuple[Bus, MirrorPods, list[tuple[str, str]]]]:
    changes: list[tuple[str, str]] = []
    async with bus(connected=connected) as b:

        def changed(uid: UID) -> None:
            mirror = made.mirror_of(uid)
            changes.append((uid, uid_of(mirror) if mirror else ""))

        made = MirrorPods(b.tasks, b.requests, b.link, b.clock, "n1", changed)
        made.node_uid = "uid-node"
        yield b, made, changes
        made.close()


async def settle(made: MirrorPods) -> None:
    while made._keeper._task is not None:
        await made._keeper._task


async def later(b: Bus, made: MirrorPods, seconds: float = 1.0) -> None:
    """Let time pass, and the timer that was set for it end."""
    assert made._keeper._timer is not None
    b.clock.seconds += seconds
    made._wake()
    await settle(made)


def asked(b: Bus) -> list[str]:
    return [r.operation.value for r in b.world.requests]


def in_api(b: Bus, uid: str, of: dict[str, Any]) -> dict[str, Any]:
    """The mirror that the world was asked to make, with the UID that an API server gives."""
    made = b.world.objects[RESOURCE]
    assert made["metadata"]["annotations"]["kubernetes.io/config.mirror"] == uid_of(of)
    return {**made, "metadata": {**made["metadata"], "uid": uid}}


async def test_a_static_pod_gets_a_mirror_and_keeps_it() -> None:
    async with keeping() as (b, made, changes):
        made.static(StaticSet((static(),)))
        await settle(made)
        mirror = in_api(b, "uid-1", static())
        made.pushed(mirror)
        await settle(made)
        made.static(StaticSet((static(),)))
        await settle(made)
        assert asked(b) == ["insert"]
        assert made.mirror_of(uid_of(static())) == mirror
        assert made.static_of(mirror) == static()
        assert changes == [(uid_of(static()), "uid-1")]
    sent = json.loads(b.world.requests[0].data())
    assert sent["metadata"]["ownerReferences"][0]["uid"] == "uid-node"


async def test_the_answer_is_enough_to_know_the_mirror() -> None:
    async with keeping() as (b, made, _):
        b.world._write = lambda request: giving_uid(b, request, "uid-1")  # type: ignore[method-assign]
        made.static(StaticSet((static(),)))
        await settle(made)
        mirror = made.mirror_of(uid_of(static()))
        assert mirror is not None
        assert uid_of(mirror) == "uid-1"


def giving_uid(b: Bus, request: Message, uid: str) -> Message:
    answer = type(b.world)._write(b.world, request)
    b.world.objects[RESOURCE]["metadata"]["uid"] = uid
    content = json.loads(answer.data())
    content["Object"]["metadata"]["uid"] = uid
    return reply(request, raw(content))


async def test_one_that_is_deleted_comes_back() -> None:
    async with keeping() as (b, made, changes):
        made.static(StaticSet((static(),)))
        await settle(made)
        mirror = in_api(b, "uid-1", static())
        made.pushed(mirror)
        del b.world.objects[RESOURCE]
        b.clock.seconds += 5.0
        made.gone(KEY, UID("uid-1"))
        await settle(made)
        assert asked(b) == ["insert", "insert"]
        assert [uid for _, uid in changes] == ["uid-1", ""]


async def test_one_that_is_being_deleted_is_deleted_and_made_again() -> None:
    async with keeping() as (b, made, _):
        made.static(StaticSet((static(),)))
        await settle(made)
        mirror = in_api(b, "uid-1", static())
        b.clock.seconds += 5.0
        made.pushed({**mirror, "metadata": mirror["metadata"] | DELETING})
        b.world.objects.clear()
        await settle(made)
        assert asked(b) == ["insert", "delete", "insert"]
    options = json.loads(b.world.requests[1].data())
    assert options == {"gracePeriodSeconds": 0, "preconditions": {"uid": "uid-1"}}


async def test_a_changed_pod_gets_another_mirror_and_what_is_said_of_the_old_one_is_old() -> None:
    async with keeping() as (b, made, _):
        made.static(StaticSet((static(),)))
        await settle(made)
        old = in_api(b, "uid-1", static())
        made.pushed(old)
        b.world.objects.clear()
        b.clock.seconds += 5.0
        made.static(StaticSet((static("other"),)))
        assert made.mirror_of(uid_of(static("other"))) is None
        await settle(made)
        new = in_api(b, "uid-2", static("other"))
        made.pushed(new)
        made.pushed(old)
        made.gone(KEY, UID("uid-1"))
        await settle(made)
        assert asked(b) == ["insert", "delete", "insert"]
        assert made.mirror_of(uid_of(static("other"))) == new


async def test_a_mirror_goes_with_its_pod_and_only_if_that_is_known_to_be_gone() -> None:
    async with keeping() as (b, made, _):
        made.static(StaticSet((static(),)))
        await settle(made)
        made.pushed(in_api(b, "uid-1", static()))
        made.static(StaticSet(complete=False))
        await settle(made)
        assert asked(b) == ["insert"]
        made.static(StaticSet())
        await settle(made)
        assert asked(b) == ["insert", "delete"]
        made.static(StaticSet())
        assert made._paces == {}
        assert made._deleted == {}


async def test_the_mirror_of_a_pod_that_is_gone_is_removed_after_a_restart() -> None:
    async with keeping() as (b, made, changes):
        made.static(StaticSet())
        metadata = {"name": "web-n1", "namespace": "default", "uid": "uid-1"}
        annotations = {"kubernetes.io/config.mirror": "hash"}
        made.pushed({"metadata": {**metadata, "annotations": annotations}})
        await settle(made)
        assert asked(b) == ["delete"]
        assert made._mirrors == {}
        assert changes == []


async def test_that_a_mirror_is_not_there_to_be_deleted_is_as_good() -> None:
    async with keeping() as (b, made, _):
        b.world.refuse = lambda _: not_found("pods", "web-n1")
        made.static(StaticSet())
        made.pushed({"metadata": {"name": "web-n1", "namespace": "default", "uid": "uid-1"}})
        await settle(made)
        assert made._mirrors == {}


async def test_whoever_keeps_deleting_it_finds_it_back_ever_later() -> None:
    async with keeping() as (b, made, _):
        made.static(StaticSet((static(),)))
        await settle(made)
        for number in range(5):
            made.pushed(in_api(b, f"uid-{number}", static()))
            b.world.objects.clear()
            made.gone(KEY, UID(""))
            await settle(made)
            assert len(b.world.asked("insert", RESOURCE)) == number + 1
            await later(b, made, 2.0**number)
            assert len(b.world.asked("insert", RESOURCE)) == number + 2
        assert made._paces[KEY, MirrorStep.CREATE].backoff.attempts == 6
        made.pushed(in_api(b, "uid", static()))
        b.world.objects.clear()
        b.clock.seconds += 3600
        made.gone(KEY, UID("uid"))
        await settle(made)
        assert made._paces[KEY, MirrorStep.CREATE].backoff.attempts == 1


async def test_what_is_refused_is_tried_again_later_and_on_a_new_connection_at_once() -> None:
    refusal: list[Status] = [failure(403, "no"), failure(503, "later"), failure(409, "is there")]
    async with keeping() as (b, made, _):
        b.world.refuse = lambda _: refusal[0] if refusal else None
        made.static(StaticSet((static(),)))
        await settle(made)
        refusal.pop(0)
        await later(b, made)
        refusal.pop(0)
        made.wake()
        await settle(made)
        refusal.pop(0)
        await later(b, made)
        assert asked(b) == ["insert"] * 4
        assert RESOURCE in b.world.objects


async def test_a_delete_that_is_refused_is_tried_again_later() -> None:
    async with keeping() as (b, made, _):
        b.world.refuse = lambda r: failure(500, "no") if r.operation is Operation.DELETE else None
        made.static(StaticSet())
        made.pushed({"metadata": {"name": "web-n1", "namespace": "default", "uid": "uid-1"}})
        await settle(made)
        b.world.refuse = lambda _: None
        await later(b, made)
        assert asked(b) == ["delete", "delete"]
        assert made._mirrors == {}


async def test_a_mirror_that_was_known_before_its_pod_is_told_once() -> None:
    mirror = mirror_object(static(), "n1", "uid-node")
    mirror["metadata"]["uid"] = "uid-1"
    async with keeping() as (b, made, changes):
        made.pushed(mirror)
        made.static(StaticSet((static(),)))
        made.static(StaticSet((static(),)))
        await settle(made)
        assert changes == [(uid_of(static()), "uid-1")]
        assert asked(b) == []


async def test_nothing_is_made_before_the_node_is_known() -> None:
    async with keeping() as (b, made, _):
        made.node_uid = ""
        made.static(StaticSet((static(),)))
        await settle(made)
        assert made._keeper._timer is not None
        assert asked(b) == []
        made.node_uid = "uid-node"
        made.wake()
        await settle(made)
        assert asked(b) == ["insert"]


async def test_without_a_link_nothing_is_asked_and_everything_after() -> None:
    async with keeping(connected=False) as (b, made, _):
        made.static(StaticSet((static(),)))
        assert made._keeper._task is None
        b.connect()
        made.wake()
        await settle(made)
        assert asked(b) == ["insert"]


async def test_a_link_that_goes_meanwhile_ends_the_round() -> None:
    async with keeping() as (b, made, _):

        def cut(_: Message) -> Status:
            b.link.connected = False
            return failure(503, "gone")

        b.world.refuse = cut
        made.static(StaticSet((static(),)))
        await settle(made)
        assert made._keeper._timer is None
        assert asked(b) == ["insert"]


async def test_an_answer_that_comes_after_the_push_is_no_news() -> None:
    async with keeping() as (b, made, _):
        b.world.hold = lambda _: True
        made.static(StaticSet((static(),)))
        await b.world.until(lambda: b.world.requests)
        [request] = b.world.requests
        pushed = {**json.loads(request.data())}
        pushed["metadata"] |= {"uid": "uid-1", "resourceVersion": "7"}
        made.pushed(pushed)
        answer = giving_uid(b, request, "uid-0")
        b.world.context.send_resp(reply(request, answer.content))
        await settle(made)
        assert made.mirror_of(uid_of(static())) == pushed
        assert len(b.world.requests) == 1


async def test_what_comes_while_a_mirror_is_deleted_stays_known() -> None:
    async with keeping() as (b, made, _):
        made.static(StaticSet((static(),)))
        await settle(made)
        mirror = in_api(b, "uid-1", static())
        made.pushed({**mirror, "metadata": mirror["metadata"] | DELETING})
        b.world.hold = lambda _: True
        await b.world.until(lambda: len(b.world.requests) == 2)
        made.pushed({**mirror, "metadata": mirror["metadata"] | {"uid": "uid-2"}})
        b.world.context.send_resp(reply(b.world.requests[1]))
        await settle(made)
        assert asked(b) == ["insert", "delete"]


async def test_other_pods_that_go_are_no_news() -> None:
    async with keeping() as (b, made, changes):
        made.static(StaticSet((static(),)))
        await settle(made)
        made.gone("default/other", UID("uid"))
        made.gone(KEY, UID("of a pod that had the name once"))
        await settle(made)
        assert asked(b) == ["insert"]
        assert changes == []
        assert made.mirror_of(UID("unknown")) is None
        assert made.static_of({"metadata": {"name": "x", "namespace": "y"}}) is None
