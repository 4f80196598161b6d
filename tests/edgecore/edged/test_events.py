"""Events: a real bus; the world keeps what it is told."""

import asyncio
import json
from typing import Any

from common.status import failure
from edgecore.edged.events import KEPT, Events
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.world import pod_object


def events(b: Bus) -> Events:
    return Events(b.tasks, b.requests, b.link, b.metrics, b.clock.now, "n1", lag_s=0)


def told(b: Bus) -> list[tuple[str, Any]]:
    return [(r.operation.value, json.loads(r.data())) for r in b.world.requests]


async def settle(made: Events) -> None:
    while made._timer is not None or made._sender._task is not None:
        await (made._sender._task or asyncio.sleep(0))


async def test_an_event_says_what_happened_to_whom() -> None:
    async with bus() as b:
        made = events(b)
        made.record(pod_object("web"), "Normal", "Started", "Started container c", container="c")
        await settle(made)
    [(operation, event)] = told(b)
    assert operation == "insert"
    assert event["involvedObject"]["uid"] == "uid-web"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{c}"
    assert event["metadata"]["namespace"] == "default"
    assert (event["reason"], event["count"], event["source"]["host"]) == ("Started", 1, "n1")


async def test_the_same_again_is_counted_and_not_another_one() -> None:
    async with bus() as b:
        made = events(b)
        for _ in range(3):
            made.record(pod_object("web"), "Warning", "BackOff", "again")
            await settle(made)
    assert [(operation, event["count"]) for operation, event in told(b)] == [
        ("insert", 1),
        ("update", 2),
        ("update", 3),
    ]
    assert len({event["metadata"]["name"] for _, event in told(b)}) == 1


async def test_offline_they_are_counted_and_told_later() -> None:
    async with bus(connected=False) as b:
        made = events(b)
        for _ in range(3):
            made.record(pod_object("web"), "Warning", "BackOff", "again")
        assert told(b) == []
        b.connect()
        made.wake()
        await settle(made)
    assert [(operation, event["count"]) for operation, event in told(b)] == [("insert", 3)]


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    async with bus(connected=False) as b:
        made = events(b)
        for number in range(KEPT + 5):
            made.record(pod_object("web"), "Warning", "Failed", f"nr {number}")
        assert len(made._events) == KEPT
        assert b.metrics.dropped.value_of("event_overflow") == 5


async def test_many_are_told_in_portions_and_a_refusal_ends_the_attempt() -> None:
    async with bus() as b:
        made = events(b)
        for number in range(20):
            made.record(pod_object("web"), "Warning", "Failed", f"nr {number}")
        await settle(made)
        assert len(told(b)) == 16
        b.world.refuse = lambda _: failure(503, "away")
        made.wake()
        await settle(made)
        assert len(told(b)) == 17
        made.close()


async def test_what_happens_at_the_same_time_is_told_together_a_little_later() -> None:
    async with bus() as b:
        made = Events(b.tasks, b.requests, b.link, b.metrics, b.clock.now, "n1", lag_s=0.01)
        made.record(pod_object("web"), "Normal", "Created", "Container created")
        assert told(b) == []
        made.record(pod_object("web"), "Normal", "Started", "Container started")
        await b.world.until(lambda: len(told(b)) == 2)
    assert [event["reason"] for _, event in told(b)] == ["Created", "Started"]
