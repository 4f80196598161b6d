"""Leases are taken over and renewed in the name of their nodes.

Real: API server, with its rules for nodes. A client around the real one lets a test act between
two requests. Where it says so, an API server that was restored from a backup is played.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cloudcore.edgecontroller.leaseform import (
    BACKLOG,
    CLOUDCORE,
    CONNECTED_SINCE,
    SERVED_BY,
    parse_lease,
    renewal_in,
)
from cloudcore.edgecontroller.leasewriter import LeaseWriter, Outcome, Tenure
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.listwatch import ObjectChanged, RawObject
from cloudcore.kube.views import NodeView, view_as
from common.clock import Clock, rfc3339_micro
from common.errors import RemoteError
from common.names import NODE_LEASE_NAMESPACE, NodeID
from common.status import failure
from tests.cloudcore.cluster import body, load, make_node, node_object, unique

pytestmark = pytest.mark.e2e

SINCE = datetime(2026, 11, 24, 9, 31, 4, tzinfo=UTC)

Step = Callable[[], Awaitable[object]]


class Between:
    """The real client; ``before_write`` is done once, before the next write."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.before_write: list[Step] = []
        self.writes = 0

    async def get(self, path: str, *, as_node: NodeID | None = None) -> bytes:
        return await self._client.get(path, as_node=as_node)

    async def create(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        await self._write()
        return await self._client.create(path, body, as_node=as_node)

    async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        await self._write()
        return await self._client.update(path, body, as_node=as_node)

    async def _write(self) -> None:
        self.writes += 1
        if self.before_write:
            await self.before_write.pop(0)()


class Bench:
    """A writer for one node, and the lease as the API server has it."""

    def __init__(self, client: KubeClient, node: NodeID) -> None:
        self.client, self.node, self.between = client, node, Between(client)
        self.state = ClusterState(LocationCache())
        self.path = kinds.LEASES.path(NODE_LEASE_NAMESPACE, node)
        self.writer = LeaseWriter(self.between, self.state, Clock())

    def knows(self, node: bytes) -> None:
        one = RawObject(view_as(node, NodeView), msgspec.Raw(node))
        self.state.nodes.cache.apply(ObjectChanged(one))

    def tenure(self, connection: str) -> Tenure:
        return Tenure(self.node, connection, f"cloud/{connection}", SINCE)

    async def lease(self) -> dict[str, Any]:
        lease: dict[str, Any] = load(await self.client.get(self.path))
        return lease

    async def annotate(self, **annotations: str) -> None:
        await self.client.patch(
            self.path, body({"metadata": {"annotations": annotations}}), content_type=MERGE_PATCH
        )

    async def delete(self) -> None:
        with suppress(RemoteError):  # without its Node it is collected as garbage
            await self.client.delete(self.path)


@pytest.fixture
async def bench(client: KubeClient) -> Bench:
    """A node that is registered, and known."""
    made = Bench(client, await make_node(client))
    made.knows(await client.get(kinds.NODES.path(name=made.node)))
    return made


def notes(connection: str, backlog: int = 0) -> dict[str, str]:
    return {
        SERVED_BY: f"cloud/{connection}",
        CLOUDCORE: "cloud",
        CONNECTED_SINCE: "2026-11-24T09:31:04Z",
        BACKLOG: str(backlog),
    }


def renewed(lease: dict[str, Any]) -> datetime:
    moment = renewal_in(lease["spec"])
    assert moment is not None
    return moment


async def test_a_lease_is_made_and_renewed_in_the_nodes_name(bench: Bench) -> None:
    tenure = bench.tenure("c1")
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.CLAIMED
    lease = await bench.lease()
    assert lease["metadata"]["annotations"] == notes("c1")
    owner = lease["metadata"]["ownerReferences"][0]
    node = load(await bench.client.get(kinds.NODES.path(name=bench.node)))
    assert (owner["kind"], owner["uid"]) == ("Node", node["metadata"]["uid"])
    assert lease["spec"]["holderIdentity"] == bench.node
    for _ in range(3):
        before = renewed(lease)
        assert await bench.writer.write(tenure, is_alive=True) is Outcome.RENEWED
        lease = await bench.lease()
        assert renewed(lease) > before
        tenure.backlog += 1
    assert lease["metadata"]["annotations"] == notes("c1", 2), "as it was with the last renewal"
    assert bench.between.writes == 4


async def test_a_clock_that_was_set_back_renews_all_the_same(bench: Bench) -> None:
    tenure = bench.tenure("c1")
    await bench.writer.write(tenure, is_alive=True)
    assert tenure.renewed is not None
    tenure.renewed += timedelta(days=1)
    await bench.writer.write(tenure, is_alive=True)
    assert renewed(await bench.lease()) == tenure.renewed
    assert tenure.renewed > datetime.now(UTC) + timedelta(hours=23)


async def test_a_connection_alone_is_no_sign_of_life(bench: Bench) -> None:
    first = bench.tenure("c1")
    assert await bench.writer.write(first, is_alive=False) is Outcome.NO_BEAT
    assert await bench.writer.write(first, is_alive=True) is Outcome.CLAIMED
    before = await bench.lease()
    assert await bench.writer.write(first, is_alive=False) is Outcome.NO_BEAT
    second = bench.tenure("c2")
    assert await bench.writer.write(second, is_alive=False) is Outcome.CLAIMED
    after = await bench.lease()
    assert after["metadata"]["annotations"] == notes("c2")
    assert renewed(after) == renewed(before)


async def test_a_node_that_comes_back_elsewhere_is_shown_there_before_it_beats(
    bench: Bench,
) -> None:
    await bench.writer.write(bench.tenure("c1"), is_alive=True)
    elsewhere = Tenure(bench.node, "c2", "another/c2", SINCE + timedelta(hours=1), backlog=8)
    assert await bench.writer.write(elsewhere, is_alive=False) is Outcome.CLAIMED
    assert (await bench.lease())["metadata"]["annotations"] == {
        SERVED_BY: "another/c2",
        CLOUDCORE: "another",
        CONNECTED_SINCE: "2026-11-24T10:31:04Z",
        BACKLOG: "8",
    }


async def test_without_a_node_no_lease_is_made(client: KubeClient) -> None:
    bench = Bench(client, NodeID(unique("n")))
    tenure = bench.tenure("c1")
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.NO_NODE
    bench.knows(await client.create(kinds.NODES.path(), body(node_object(bench.node))))
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.CLAIMED


async def test_a_lease_of_the_nodes_own_is_taken_over_with_all_that_it_has(bench: Bench) -> None:
    later = datetime.now(UTC) + timedelta(minutes=5)
    lease = {
        "metadata": {"name": bench.node, "labels": {"a": "b"}},
        "spec": {
            "holderIdentity": bench.node,
            "leaseDurationSeconds": 60,
            "renewTime": rfc3339_micro(later),
        },
    }
    await bench.client.create(kinds.LEASES.path(NODE_LEASE_NAMESPACE), body(lease))
    assert await bench.writer.write(bench.tenure("c1"), is_alive=True) is Outcome.CLAIMED
    taken = await bench.lease()
    assert taken["metadata"]["labels"] == {"a": "b"}
    assert taken["spec"]["leaseDurationSeconds"] == 60
    assert renewed(taken) == later + timedelta(microseconds=1)


async def test_a_lease_that_is_gone_is_made_anew_for_the_node_as_it_is_now(bench: Bench) -> None:
    tenure = bench.tenure("c1")
    for _ in range(2):  # once made by this connection, once found by it
        await bench.writer.write(tenure, is_alive=True)
        node = kinds.NODES.path(name=bench.node)
        await bench.client.delete(node)
        await bench.delete()
        bench.knows(await bench.client.create(kinds.NODES.path(), body(node_object(bench.node))))
        assert await bench.writer.write(tenure, is_alive=True) is Outcome.CLAIMED
        owner = (await bench.lease())["metadata"]["ownerReferences"][0]
        assert owner["uid"] == load(await bench.client.get(node))["metadata"]["uid"]
        assert await bench.writer.write(tenure, is_alive=True) is Outcome.RENEWED
        tenure = bench.tenure("c2")


async def test_what_somebody_else_wrote_is_kept(bench: Bench) -> None:
    tenure = bench.tenure("c1")
    await bench.writer.write(tenure, is_alive=True)
    await bench.annotate(note="kept")
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.CLAIMED
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.RENEWED
    annotations = (await bench.lease())["metadata"]["annotations"]
    assert annotations == {**notes("c1"), "note": "kept"}


async def test_the_older_connection_writes_no_more(bench: Bench) -> None:
    older, newer = bench.tenure("c1"), bench.tenure("c2")
    await bench.writer.write(older, is_alive=True)
    assert await bench.writer.write(newer, is_alive=True) is Outcome.CLAIMED
    before = await bench.lease()
    assert await bench.writer.write(older, is_alive=True) is Outcome.OVERTAKEN
    assert await bench.lease() == before
    assert await bench.writer.write(newer, is_alive=True) is Outcome.RENEWED


async def test_of_two_that_take_over_at_one_moment_one_does(bench: Bench) -> None:
    await bench.writer.write(bench.tenure("c0"), is_alive=True)

    async def overtake() -> None:
        assert await bench.writer.write(bench.tenure("c2"), is_alive=True) is Outcome.CLAIMED

    bench.between.before_write = [overtake]
    assert await bench.writer.write(bench.tenure("c1"), is_alive=True) is Outcome.OVERTAKEN
    assert (await bench.lease())["metadata"]["annotations"] == notes("c2")


async def test_a_lease_made_by_another_one_meanwhile_is_taken_for_what_it_is(bench: Bench) -> None:
    async def make() -> None:
        lease = {"metadata": {"name": bench.node}, "spec": {"holderIdentity": bench.node}}
        await bench.client.create(kinds.LEASES.path(NODE_LEASE_NAMESPACE), body(lease))

    bench.between.before_write = [make]
    assert await bench.writer.write(bench.tenure("c1"), is_alive=True) is Outcome.CLAIMED


async def test_who_is_always_late_gives_up(bench: Bench) -> None:
    await bench.writer.write(bench.tenure("c0"), is_alive=True)

    async def disturb() -> None:
        await bench.annotate(note=unique("x"))

    bench.between.before_write = [disturb] * 5
    assert await bench.writer.write(bench.tenure("c1"), is_alive=True) is Outcome.CONTENDED


async def test_nothing_is_written_for_a_connection_that_is_over(bench: Bench) -> None:
    tenure = bench.tenure("c1")
    tenure.is_over = True
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.NO_BEAT
    with pytest.raises(RemoteError):
        await bench.lease()


async def test_other_refusals_are_the_callers(bench: Bench) -> None:
    tenure = bench.tenure("c1")
    await bench.writer.write(tenure, is_alive=True)

    async def refuse() -> None:
        raise RemoteError(failure(429, "busy"))

    for _ in range(2):  # of a renewal, then of a takeover
        bench.between.before_write = [refuse]
        with pytest.raises(RemoteError, match="busy"):
            await bench.writer.write(tenure, is_alive=True)
        tenure = bench.tenure("c2")
    bench.node = NodeID("somebody-else")
    stranger = bench.tenure("c3")
    stranger.path = bench.path
    with pytest.raises(RemoteError, match="403"):
        await bench.writer.write(stranger, is_alive=True)


async def test_after_a_restore_from_a_backup_nobody_is_overtaken(bench: Bench) -> None:
    """Played: the API server's lease has an older version, and the name of a former connection."""
    tenure = bench.tenure("c1")
    await bench.writer.write(bench.tenure("c0"), is_alive=True)
    backup = parse_lease(await bench.client.get(bench.path))
    assert backup.holder == "cloud/c0"
    await bench.writer.write(tenure, is_alive=True)
    await bench.annotate(**{SERVED_BY: "cloud/c0"})
    tenure.version = str(int((await bench.lease())["metadata"]["resourceVersion"]) + 1000)
    assert await bench.writer.write(tenure, is_alive=True) is Outcome.CLAIMED
    assert (await bench.lease())["metadata"]["annotations"] == notes("c1")
