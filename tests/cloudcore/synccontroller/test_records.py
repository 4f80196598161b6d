"""Pods that were deleted while a KubeEdge edge was away. Real: caches, holds, the bus.

The API server is in memory. With a real one: ``test_resync``.
"""

import json
from typing import Any

from cloudcore.edgecontroller.progress import Progress
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.holds import Holds
from cloudcore.synccontroller.records import Records, name_of
from common.capabilities import NONE
from common.names import NodeID, Operation, PeerProtocol
from tests.cloudcore.synccontroller.stage import NODE, Stage, released_node

CONFIGMAPS = "/api/v1/namespaces/kubeedge/configmaps"
PATH = f"{CONFIGMAPS}/pods-of-n1"


class Scene:
    """A KubeEdge edge; ``again`` is a cloudcore that has just started."""

    def __init__(self, stage: Stage | None = None) -> None:
        if stage is None:
            stage = Stage()
            stage.add_node()
        self.stage = stage
        progress = Progress([])
        self.holds = Holds(stage.client.typed, stage.state.locations, stage.metrics)
        self.records = Records(stage.client.typed, stage.state, stage.sender, progress, self.holds)

    def connect(self, connection: str = "c1") -> None:
        self.stage.connect(NODE, NONE, protocol=PeerProtocol.KUBEEDGE, connection=connection)

    def disconnect(self) -> None:
        self.stage.state.peers.disconnected(NODE)

    def delete(self, key: ObjectKey) -> None:
        self.stage.client.objects.pop(f"/api/v1/namespaces/{key.namespace}/pods/{key.name}")
        self.stage.state.drop(self.stage.state.locations.remove_pod(key))

    def again(self) -> "Scene":
        return Scene(self.stage)

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.stage.client.objects[PATH]
        return found

    async def look(self) -> list[str]:
        """Return the UIDs of the pods that were deleted on the edge."""
        await self.records.look()
        sent = await self.stage.sent()
        assert all(one.operation is Operation.DELETE for one in sent)
        return sorted(json.loads(bytes(one.content))["metadata"]["uid"] for one in sent)


async def test_the_pods_of_a_node_are_recorded_and_written_only_when_they_change() -> None:
    scene = Scene()
    scene.connect()
    await scene.look()
    assert scene.stage.client.made("POST") == []  # nothing to record
    scene.stage.add_pod("web")
    for _ in range(3):
        await scene.look()
    assert scene.record["data"] == {"pods": "uid-web ns/web"}
    assert scene.record["metadata"]["ownerReferences"][0]["uid"] == "uid-n1"
    scene.stage.add_pod("db")
    for _ in range(3):
        await scene.look()
    assert scene.record["data"] == {"pods": "uid-db ns/db\nuid-web ns/web"}
    assert scene.stage.client.made("POST") == [CONFIGMAPS]
    assert scene.stage.client.made("PUT") == [PATH]


async def test_a_pod_that_was_deleted_while_the_edge_was_away_is_ended_when_it_comes() -> None:
    scene = Scene()
    scene.connect()
    gone, stays = scene.stage.add_pod("gone"), scene.stage.add_pod("stays")
    await scene.look()
    scene.disconnect()
    await scene.look()
    scene.delete(gone)
    assert await scene.look() == []
    scene = scene.again()
    scene.connect("c2")
    assert await scene.look() == ["uid-gone"]
    assert await scene.look() == []
    assert stays in scene.stage.state.locations.pods_of(NODE)


async def test_a_deletion_that_may_not_have_arrived_is_told_again() -> None:
    scene = Scene()
    scene.connect()
    key = scene.stage.add_pod("web")
    await scene.look()
    scene.delete(key)
    await scene.look()
    scene.connect("c2")
    assert await scene.look() == ["uid-web"]


async def test_what_exists_after_all_is_not_ended() -> None:
    scene = Scene()
    scene.connect()
    key, other = scene.stage.add_pod("web"), NodeID("n2")
    scene.stage.add_node(other)
    scene.stage.add_pod("moved")
    await scene.look()
    scene = scene.again()
    scene.stage.state.drop(scene.stage.state.locations.remove_pod(key))  # a cache that is behind
    scene.stage.client.objects["/api/v1/namespaces/ns/pods/moved"]["spec"]["nodeName"] = other
    scene.stage.state.drop(scene.stage.state.locations.remove_pod(ObjectKey("ns", "moved")))
    scene.connect("c2")
    assert await scene.look() == ["uid-moved"]


async def test_while_the_api_server_is_away_nothing_is_ended_and_nothing_forgotten() -> None:
    scene = Scene()
    scene.connect()
    key = scene.stage.add_pod("web")
    await scene.look()
    scene = scene.again()
    scene.delete(key)
    scene.stage.client.failures = {"*": 503}
    scene.connect("c2")
    assert await scene.look() == []
    scene.stage.client.failures = {f"/api/v1/namespaces/ns/pods/{key.name}": 503}
    assert await scene.look() == []
    assert scene.record["data"] == {"pods": "uid-web ns/web"}
    scene.stage.client.failures = {}
    assert await scene.look() == ["uid-web"]


async def test_a_record_that_somebody_else_has_written_is_read_again() -> None:
    scene = Scene()
    scene.connect()
    scene.stage.add_pod("web")
    await scene.look()
    scene.record["metadata"]["resourceVersion"] = "999"
    scene.record["data"] = {"pods": "uid-old ns/old"}
    scene.stage.add_pod("db")
    await scene.look()
    await scene.look()
    recorded = scene.record["data"]["pods"]
    assert recorded == "uid-db ns/db\nuid-old ns/old\nuid-web ns/web"


async def test_many_at_a_time_are_held_until_the_node_is_released() -> None:
    scene = Scene()
    scene.connect()
    keys = [scene.stage.add_pod(f"p{number}") for number in range(8)]
    await scene.look()
    scene = scene.again()
    for key in keys:
        scene.delete(key)
    scene.connect("c2")
    assert await scene.look() == []
    assert await scene.look() == []
    assert scene.holds.note(released_node())
    assert len(await scene.look()) == 8
    assert scene.stage.client.made("PATCH") == ["/api/v1/nodes/n1"]


async def test_more_pods_than_a_record_takes_are_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr("cloudcore.synccontroller.podrecord.MAX_PODS", 2)
    scene = Scene()
    scene.connect()
    for number in range(3):
        scene.stage.add_pod(f"p{number}")
    await scene.look()
    assert scene.stage.metrics.dropped.value_of("pod_record_full") == 1


async def test_our_own_edges_have_no_record() -> None:
    scene = Scene()
    scene.stage.connect()
    scene.stage.add_pod("web")
    await scene.look()
    assert scene.stage.client.requests == []


def test_the_name_fits() -> None:
    assert name_of(NODE) == "pods-of-n1"
    assert len(name_of(NodeID("n" * 253))) <= 253
