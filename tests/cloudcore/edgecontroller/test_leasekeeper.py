"""Whose lease is renewed, and when.

Real: the bus and the tasks. The API server is a fake that can be slow, refuse, or hang; how leases
are written on the real one is told in ``test_leasewriter``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloudcore.edgecontroller import leasekeeper
from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.leaseform import BACKLOG, SERVED_BY
from cloudcore.edgecontroller.leasekeeper import AT_A_TIME, LeaseKeeper
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState, Peer
from cloudcore.kube.listwatch import ObjectChanged, RawObject
from cloudcore.kube.views import NodeView, view_as
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.errors import RemoteError
from common.names import GroupName, ModuleName, NodeID, Operation, PeerProtocol
from common.status import failure
from tests.cloudcore.cluster import body, eventually, load, node_object

NODE = NodeID("n1")
CONNECTION = "c1"


class FakeApi:
    """Leases by path. Every node has one, unless told otherwise; each write makes a new version."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.writes: list[NodeID] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusal: RemoteError | None = None
        self.answer: bytes | None = None
        self.inside = self.most_inside = 0
        self.has_leases = True

    async def get(self, path: str, *, as_node: NodeID | None = None) -> bytes:
        if not self.has_leases:
            raise RemoteError(failure(404, "no lease"))
        return msgspec.json.encode(self._lease(path, as_node))

    async def create(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        assert not self.has_leases, f"every node has a lease: {path}"
        self.has_leases = True
        made = load(body)
        made["metadata"]["resourceVersion"] = "1"
        self.leases[f"{path}/{as_node}"] = made
        return msgspec.json.encode(made)

    async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        assert as_node is not None
        self.writes.append(as_node)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.gate.wait()
            if self.refusal is not None:
                raise self.refusal
            sent, there = load(body), self._lease(path, as_node)
            version = there["metadata"]["resourceVersion"]
            if sent["metadata"]["resourceVersion"] != version:
                raise RemoteError(failure(409, "there is a newer version"))
            sent["metadata"]["resourceVersion"] = str(int(version) + 1)
            self.leases[path] = sent
            return self.answer or msgspec.json.encode(sent)
        finally:
            self.inside -= 1

    def _lease(self, path: str, node: NodeID | None) -> dict[str, Any]:
        assert path.endswith(f"/{node}")
        made = {
            "metadata": {"resourceVersion": "1"},
            "spec": {"renewTime": "2026-11-24T09:31:04.870222Z"},
        }
        return self.leases.setdefault(path, made)

    def overtake(self) -> None:
        for lease in self.leases.values():
            version = int(lease["metadata"]["resourceVersion"])
            lease["metadata"] |= {
                "resourceVersion": str(version + 1),
                "annotations": {SERVED_BY: "another/c9"},
            }


class Scene:
    """A keeper that is told of one node, and what came of it."""

    def __init__(self) -> None:
        self.api, self.bus = FakeApi(), MessageContext()
        self.backlog = 0
        self.bus.add_module(ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB)
        self.metrics = CloudMetrics(CollectorRegistry())
        sender = Sender(self.bus, ControllerContext(), self.metrics)
        state = ClusterState(LocationCache())
        self.peers, self.nodes = state.peers, state.nodes
        self.keeper = LeaseKeeper(self.api, state, sender, self.metrics)

    def connect(self, node: NodeID = NODE, connection: str = CONNECTION) -> None:
        self.keeper.connected(node, connection)

    def beat(
        self, node: NodeID = NODE, connection: str = CONNECTION, *, progresses: bool = True
    ) -> None:
        self.keeper.beat(node, connection, progresses=progresses, backlog=self.backlog)

    def knows(self, node: NodeID) -> None:
        """Have a Node of that name."""
        made = node_object(node)
        made["metadata"] |= {"uid": "node-uid", "resourceVersion": "1"}
        text = body(made)
        one = RawObject(view_as(text, NodeView), msgspec.Raw(text))
        self.nodes.cache.apply(ObjectChanged(one))

    def count(self, outcome: str) -> int:
        return int(self.metrics.lease_writes.value_of(outcome))

    @property
    def attempts(self) -> int:
        samples = next(iter(self.metrics.lease_writes.collect())).samples
        return int(sum(one.value for one in samples if one.name.endswith("_total")))

    async def until(self, outcome: str, count: int = 1) -> None:
        async def holds() -> bool:
            return self.count(outcome) >= count

        await eventually(holds)

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.keeper.run())
            yield
            running.cancel()

    async def claim(self) -> None:
        self.connect()
        await self.until("claimed")


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A keeper at work, which takes every beat for one that is due."""
    monkeypatch.setattr(leasekeeper, "LEAST_S", 0.0)
    made = Scene()
    async with made.runs():
        yield made


async def settled() -> None:
    """Let every task run as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_beat_renews_the_lease(scene: Scene) -> None:
    await scene.claim()
    for count in range(1, 4):
        scene.beat()
        await scene.until("renewed", count)
    assert scene.api.writes == [NODE] * 4
    samples = next(iter(scene.metrics.lease_seconds.collect())).samples
    assert [one.value for one in samples if one.name.endswith("_count")] == [3]


async def test_beats_that_come_while_the_api_server_is_slow_are_one_renewal(scene: Scene) -> None:
    await scene.claim()
    scene.api.gate.clear()
    for _ in range(5):
        scene.beat()
        await settled()
    assert scene.api.writes == [NODE, NODE]
    scene.api.gate.set()
    await scene.until("renewed", 2)
    await settled()
    assert scene.api.writes == [NODE] * 3


async def test_a_node_that_registers_has_a_lease_before_its_next_beat(scene: Scene) -> None:
    scene.api.has_leases = False
    scene.connect()
    scene.beat()
    await scene.until("no_node")
    await settled()
    scene.knows(NODE)
    scene.keeper.registered(NODE)
    await scene.until("claimed")
    [lease] = scene.api.leases.values()
    assert lease["metadata"]["ownerReferences"][0]["name"] == NODE


async def test_of_a_node_that_registers_and_is_not_connected_nothing_is_written(
    scene: Scene,
) -> None:
    scene.keeper.registered(NODE)
    await settled()
    assert scene.attempts == 0


async def test_a_beat_and_a_connection_at_one_moment_are_one_write(scene: Scene) -> None:
    scene.connect()
    scene.beat()
    await scene.until("claimed")
    await settled()
    (lease,) = scene.api.leases.values()
    assert lease["spec"]["renewTime"] > "2026-11-24T09:31:04.870222Z"
    assert scene.attempts == 1


async def test_a_node_that_beats_too_often_is_not_renewed_more_often(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.claim()
    monkeypatch.setattr(leasekeeper, "LEAST_S", 1000.0)
    for _ in range(5):
        scene.beat()
        await settled()
    assert scene.api.writes == [NODE, NODE]
    monkeypatch.setattr(leasekeeper, "LEAST_S", 0.0)
    scene.beat()
    await scene.until("renewed", 2)


async def test_a_node_that_makes_no_progress_is_not_renewed(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await scene.claim()
    scene.beat()
    for _ in range(2):
        scene.beat(progresses=False)
    await scene.until("no_beat")
    assert scene.api.writes == [NODE]
    scene.beat()
    await scene.until("renewed")
    lines = [record.message for record in caplog.records]
    assert [line for line in lines if "progress" in line] == [
        "edge makes no progress: no renewal",
        "edge makes progress again",
    ]


async def test_nothing_is_renewed_for_a_connection_that_is_gone(scene: Scene) -> None:
    await scene.claim()
    scene.beat()
    scene.keeper.disconnected(NODE)
    scene.beat()
    scene.keeper.disconnected(NODE)
    await settled()
    assert scene.api.writes == [NODE]
    scene.connect(connection="c2")
    await scene.until("claimed", 2)
    scene.beat()  # of the first one, late
    await settled()
    assert len(scene.api.writes) == 2
    scene.beat(connection="c2")
    await scene.until("renewed")


async def test_a_connection_takes_over_from_an_older_one_of_the_same_node(scene: Scene) -> None:
    await scene.claim()
    scene.api.gate.clear()
    scene.beat()
    await settled()
    scene.connect(connection="c2")
    scene.api.gate.set()
    await scene.until("claimed", 2)
    (lease,) = scene.api.leases.values()
    assert lease["metadata"]["annotations"][SERVED_BY].endswith("/c2")
    scene.backlog = 5
    scene.beat(connection="c2")
    await scene.until("renewed", 2)
    (lease,) = scene.api.leases.values()
    assert lease["metadata"]["annotations"][BACKLOG] == "5", "it tells with the renewal"


async def test_a_node_that_another_cloudcore_serves_is_let_go(scene: Scene) -> None:
    await scene.claim()
    scene.api.overtake()
    scene.beat()
    scene.peers.connected(NODE, Peer(PeerProtocol.CLOUDEDGE_V1, CONNECTION))
    told = await scene.bus.receive(ModuleName.CLOUD_HUB)
    assert scene.peers.get(NODE) is None
    assert (told.operation, told.resource) == (Operation.DISCONNECTED, f"node/{NODE}")
    assert load(told.content) == {"connection": CONNECTION}
    scene.beat()
    await settled()
    assert scene.count("overtaken") == 1
    assert scene.api.writes == [NODE, NODE]


async def test_who_is_overtaken_while_cloudcore_stops_tells_nobody(scene: Scene) -> None:
    await scene.claim()
    scene.api.overtake()
    scene.bus.close(ModuleName.CLOUD_HUB)
    scene.beat()
    await scene.until("overtaken")


async def test_a_connection_that_was_replaced_here_meanwhile_is_not_ended(scene: Scene) -> None:
    await scene.claim()
    scene.api.gate.clear()
    scene.beat()
    await settled()
    scene.api.overtake()
    scene.connect(connection="c2")
    scene.api.gate.set()
    await scene.until("claimed", 2)
    assert scene.bus.pending()[ModuleName.CLOUD_HUB] == 0


@pytest.mark.parametrize("code", [403, 429, 500, 503, 504])
async def test_an_api_server_that_refuses_builds_nothing_up(
    scene: Scene, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    await scene.claim()
    scene.api.refusal = RemoteError(failure(code, "no"))
    for count in range(1, 4):
        scene.beat()
        await scene.until(str(code), count)
    await settled()
    assert scene.attempts == 4
    scene.api.refusal = None
    caplog.set_level("INFO")
    scene.beat()
    await scene.until("renewed")
    assert [r.levelname for r in caplog.records if "not renewed" in r.message] == ["WARNING"]
    assert "leases are renewed again" in caplog.messages


async def test_an_api_server_that_hangs_is_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.claim()
    monkeypatch.setattr(leasekeeper, "ATTEMPT_S", 0.01)
    scene.api.gate.clear()
    scene.beat()
    await scene.until("late")
    monkeypatch.setattr(leasekeeper, "ATTEMPT_S", 10.0)
    scene.api.gate.set()
    scene.beat()
    await scene.until("renewed")


async def test_an_answer_that_is_none_harms_nobody_else(scene: Scene) -> None:
    await scene.claim()
    scene.api.answer = b"<html>"
    scene.beat()
    await scene.until("fault")
    scene.api.answer = None
    scene.connect(NodeID("n2"))
    await scene.until("claimed", 2)


async def test_only_so_many_are_written_at_a_time(scene: Scene) -> None:
    scene.api.gate.clear()
    nodes = [NodeID(f"node-{number}") for number in range(3 * AT_A_TIME)]
    for node in nodes:
        scene.connect(node)

    async def is_full() -> bool:
        return scene.api.inside == AT_A_TIME

    await eventually(is_full)
    scene.api.gate.set()
    await scene.until("claimed", len(nodes))
    assert scene.api.most_inside == AT_A_TIME
    assert sorted(scene.api.writes) == sorted(nodes)
