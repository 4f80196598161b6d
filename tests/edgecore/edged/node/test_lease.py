"""The lease: a real bus; the world keeps it as the API server does."""

import json
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import parse_rfc3339
from common.status import failure
from edgecore.edged.node.lease import Lease, renewed
from tests import transcript
from tests.edgecore.edged.bus import START, Bus, bus

LEASE = "kube-node-lease/lease/n1"


def lease(b: Bus) -> Lease:
    return Lease(b.tasks, b.requests, b.link, b.clock, "n1", 10.0)


async def renew(made: Lease) -> None:
    made.wake()
    while made._renewer._task is not None:
        await made._renewer._task


def renew_times(b: Bus) -> list[str]:
    writes = [r for r in b.world.requests if r.operation != "query"]
    return [json.loads(write.data())["spec"]["renewTime"] for write in writes]


async def test_a_lease_is_made_where_there_is_none_and_renewed_then() -> None:
    async with bus() as b:
        made = lease(b)
        made.node_uid = "uid-node"
        await renew(made)
        await renew(made)
        made.close()
    assert [r.operation for r in b.world.requests] == ["query", "insert", "update"]
    kept = b.world.objects[LEASE]
    assert kept["spec"]["leaseDurationSeconds"] == 40
    assert kept["spec"]["holderIdentity"] == "n1"
    assert kept["metadata"]["ownerReferences"][0]["uid"] == "uid-node"
    assert renew_times(b) == sorted(set(renew_times(b)))


async def test_one_that_is_there_is_taken_over_with_all_that_it_has() -> None:
    recorded: Any = next(
        line.message["content"]["Object"]
        for line in transcript.lines()
        if line.direction == "down" and line.resource == "kube-node-lease/lease/ke-real"
    )
    async with bus() as b:
        b.world.objects[LEASE] = recorded
        made = lease(b)
        await renew(made)
        made.close()
    [_, update] = b.world.requests
    sent = json.loads(update.data())
    assert update.operation == "update"
    assert sent["metadata"] == recorded["metadata"]
    assert sent["spec"].keys() == recorded["spec"].keys()


@pytest.mark.parametrize("code", [404, 409])
async def test_a_lease_that_somebody_else_wrote_or_removed_is_looked_at_again(code: int) -> None:
    async with bus() as b:
        made = lease(b)
        await renew(made)
        b.world.refuse = lambda r: failure(code, "no") if r.operation == "update" else None
        await renew(made)
        b.world.refuse = lambda _: None
        await renew(made)
        made.close()
    assert [r.operation for r in b.world.requests][2:] == ["update", "query", "update"]


async def test_a_daemon_that_makes_no_progress_does_not_renew() -> None:
    async with bus() as b:
        made = lease(b)
        made.makes_progress = never
        await renew(made)
        assert made._renewer._timer is not None  # it looks again
        made.close()
    assert b.world.requests == []


async def never() -> bool:
    return False


async def test_a_link_that_carries_the_renewal_needs_no_request_and_another_one_does() -> None:
    async with bus() as b:
        made = lease(b)
        b.link.has_beats = True
        await renew(made)
        assert made._renewer._timer is None
        assert b.world.requests == []
        b.link.has_beats = False
        await renew(made)
        made.close()
    assert [r.operation for r in b.world.requests] == ["query", "insert"]


async def test_without_a_link_there_is_neither_a_request_nor_a_timer() -> None:
    async with bus(connected=False) as b:
        made = lease(b)
        await renew(made)
        assert made._renewer._timer is None
    assert b.world.requests == []


@given(st.lists(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)), min_size=2))
def test_its_time_always_advances_whatever_the_clock_does(jumps: list[timedelta]) -> None:
    kept: dict[str, Any] = {}
    times = []
    for jump in jumps:
        kept = renewed(kept, "n1", START + jump)
        times.append(parse_rfc3339(kept["spec"]["renewTime"]))
    assert all(earlier < later for earlier, later in pairwise(times))
