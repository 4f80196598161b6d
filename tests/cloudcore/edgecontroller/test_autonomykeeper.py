"""Pods of edge nodes stay as long as an annotation says.

Real in the first part: API server and its admission, etcd, the whole controller. In the second the
API server is a fake that can refuse; the keeper and its state are real.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloudcore.edgecontroller import autonomykeeper
from cloudcore.edgecontroller.autonomy import AUTONOMY, DEFAULT_S, RECORD
from cloudcore.edgecontroller.autonomykeeper import AT_A_TIME, AutonomyKeeper
from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.kube.listwatch import ObjectChanged, ObjectDeleted, RawObject
from cloudcore.kube.views import NodeView, ObjectKey, PodView, view_as
from cloudcore.metrics import CloudMetrics
from common.delivery.backoff import BackoffPolicy
from common.errors import RemoteError
from common.names import EDGE_NODE_LABEL, UID, NodeID
from common.podrefs import pod_refs
from common.status import failure
from tests.cloudcore.cluster import (
    body,
    controlled,
    eventually,
    load,
    make_edge_node,
    make_node,
    pod_object,
)

NODE = NodeID("n1")


# --- on the real API server -----------------------------------------------------------------------


def plain_pod(namespace: str, name: str, node: str, **annotations: str) -> dict[str, Any]:
    pod = pod_object(namespace, name, node)
    del pod["spec"]["tolerations"]
    pod["metadata"]["annotations"] = {
        f"cloudedge.io/{key}": said for key, said in annotations.items()
    }
    return pod


async def annotate(client: KubeClient, node: NodeID, says: str | None) -> None:
    await client.patch(
        kinds.NODES.path(name=node),
        body({"metadata": {"annotations": {AUTONOMY: says}}}),
        content_type=MERGE_PATCH,
    )


async def tolerated(client: KubeClient, namespace: str, name: str = "web") -> list[int | None]:
    pod = load(await client.get(kinds.PODS.path(namespace, name)))
    return [one.get("tolerationSeconds") for one in pod["spec"]["tolerations"]]


async def until_tolerated(
    client: KubeClient, namespace: str, seconds: int | None, name: str = "web"
) -> None:
    async def is_so() -> bool:
        return await tolerated(client, namespace, name) == [seconds, seconds]

    await eventually(is_so)


async def test_a_pod_that_is_bound_to_an_autonomous_node_stays_for_ever(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        await annotate(client, node, "forever")
        await client.create(kinds.PODS.path(namespace), body(plain_pod(namespace, "web", node)))
        await until_tolerated(client, namespace, None)


async def test_live_pods_follow_the_annotation_until_it_is_taken_away(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        made = plain_pod(namespace, "web", node)
        before = load(await client.create(kinds.PODS.path(namespace), body(made)))
        for says, seconds in (("12h", 43200), ("90s", 90), ("forever", None), ("7d", 604800)):
            await annotate(client, node, says)
            await until_tolerated(client, namespace, seconds)
        await annotate(client, node, None)
        await until_tolerated(client, namespace, DEFAULT_S)
        after = load(await client.get(kinds.PODS.path(namespace, "web")))
        assert after["spec"] == before["spec"]
        assert "annotations" not in after["metadata"]


async def test_a_pod_may_say_something_else_than_its_node_and_on_nodes_that_say_nothing(
    client: KubeClient, namespace: str
) -> None:
    async with controlled(client) as cloud:
        node, silent = await make_edge_node(cloud), await make_edge_node(cloud)
        await annotate(client, node, "forever")
        for pod in (
            plain_pod(namespace, "off", node, autonomy="off"),
            plain_pod(namespace, "own", silent, autonomy="1h"),
            plain_pod(namespace, "web", node),
        ):
            await client.create(kinds.PODS.path(namespace), body(pod))
        await until_tolerated(client, namespace, 3600, "own")
        await until_tolerated(client, namespace, None)
        assert await tolerated(client, namespace, "off") == [DEFAULT_S, DEFAULT_S]


async def test_pods_of_other_nodes_are_left_alone(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node, foreign = await make_edge_node(cloud), await make_node(client, edge=False)
        for one in (node, foreign):
            await annotate(client, one, "forever")
        for name, one in (("other", foreign), ("web", node)):
            await client.create(kinds.PODS.path(namespace), body(plain_pod(namespace, name, one)))
        await until_tolerated(client, namespace, None)
        assert await tolerated(client, namespace, "other") == [DEFAULT_S, DEFAULT_S]


async def test_two_cloudcores_do_the_work_once(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud, controlled(client) as other:
        node = await make_edge_node(cloud)
        await annotate(client, node, "forever")
        await client.create(kinds.PODS.path(namespace), body(plain_pod(namespace, "web", node)))
        await until_tolerated(client, namespace, None)
        pod = load(await client.get(kinds.PODS.path(namespace, "web")))
        assert pod["metadata"]["annotations"] == {RECORD: "not-ready=forever,unreachable=forever"}
        assert pod["metadata"]["generation"] == 2, "the spec has changed once"
        assert {await failures(one.metrics) for one in (cloud, other)} == {0}


async def failures(metrics: CloudMetrics) -> float:
    return sum(
        sample.value
        for family in metrics.autonomy_writes.collect()
        for sample in family.samples
        if sample.labels.get("outcome") not in (None, "written", "overtaken")
    )


# --- on one that refuses --------------------------------------------------------------------------


class FakeApi:
    """Takes patches, or refuses those of some pods; holds them back where it is told."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.refused: dict[str, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = self.most_inside = 0

    async def patch(self, path: str, body: bytes, *, content_type: str) -> bytes:
        assert content_type == MERGE_PATCH
        name = path.rpartition("/")[2]
        self.tried.append(name)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.gate.wait()
        finally:
            self.inside -= 1
        if name in self.refused:
            raise RemoteError(failure(self.refused[name], "no"))
        return body


class Scene:
    """A keeper that is told of one node and its pods, and what it asks for."""

    def __init__(self) -> None:
        self.api, self.registry = FakeApi(), CollectorRegistry()
        self.state = ClusterState(LocationCache())
        self.keeper = AutonomyKeeper(self.api, self.state, CloudMetrics(self.registry), DEFAULT_S)
        self.version = 0

    def node(self, says: str | None) -> None:
        said = {"annotations": {AUTONOMY: says}} if says is not None else {}
        metadata = {
            "name": NODE,
            "uid": "u0",
            "resourceVersion": "1",
            "labels": {EDGE_NODE_LABEL: ""},
            **said,
        }
        self.state.locations.set_node(NODE, NodeLocation(UID("u0"), "True"))
        view = view_as(body({"metadata": metadata}), NodeView)
        self.keeper.note_node(ObjectKey("", NODE), view)

    def pod(self, name: str, says: str | None = None) -> None:
        self.version += 1
        said = {"annotations": {AUTONOMY: says}} if says is not None else {}
        plain = {
            "key": "node.kubernetes.io/unreachable",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": DEFAULT_S,
        }
        made = {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "uid": name,
                "resourceVersion": str(self.version),
                **said,
            },
            "spec": {"nodeName": NODE, "tolerations": [plain]},
        }
        one = RawObject(view_as(body(made), PodView), msgspec.Raw(body(made)))
        self.state.pods.cache.apply(ObjectChanged(one))
        key = ObjectKey("shop", name)
        self.state.locations.set_pod(key, PodLocation(UID(name), NODE, pod_refs(made)))
        self.keeper.note_pod(key)

    def gone(self, name: str) -> None:
        key = ObjectKey("shop", name)
        one = self.state.pods.cache.get(key)
        assert one is not None
        self.state.pods.cache.apply(ObjectDeleted(one))
        self.keeper.note_pod(key)

    def count(self, outcome: str) -> float:
        name = "cloudcore_autonomy_writes_total"
        return self.registry.get_sample_value(name, {"outcome": outcome}) or 0.0

    def faults(self) -> float:
        return self.registry.get_sample_value("cloudcore_autonomy_faults") or 0.0

    async def until_tried(self, *names: str) -> None:
        async def is_so() -> bool:
            return self.api.tried == list(names) and self.api.inside == 0

        await eventually(is_so)


@asynccontextmanager
async def working() -> AsyncIterator[Scene]:
    scene = Scene()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.keeper.run())
        yield scene
        running.cancel()


async def test_a_pod_that_has_changed_meanwhile_is_written_when_the_newer_one_comes() -> None:
    async with working() as scene:
        scene.node("forever")
        for code in (409, 404):
            scene.api.refused["web"] = code
            scene.pod("web")
            await scene.until_tried(*["web"] * scene.version)
        scene.api.refused.clear()
        scene.pod("web")
        await scene.until_tried("web", "web", "web")
        assert (scene.count("overtaken"), scene.count("written")) == (2, 1)


async def test_what_fails_is_tried_again_behind_the_others_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autonomykeeper, "BackoffPolicy", lambda: BackoffPolicy(first_s=0.01))
    caplog.set_level(logging.INFO, logger=autonomykeeper.__name__)
    async with working() as scene:
        scene.node("forever")
        scene.api.refused = {"a": 403, "b": 503}
        for name in ("a", "b", "c"):
            scene.pod(name)

        async def is_tried_again() -> bool:
            return scene.count("403") > 1 and scene.count("503") > 1 and scene.count("written") == 1

        await eventually(is_tried_again)
        scene.api.refused.clear()

        async def is_done() -> bool:
            return scene.count("written") == 3

        await eventually(is_done)
        assert scene.api.tried[-1] != "c"
    told = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert set(told) == {"autonomy of a pod is not written, it is tried again"}
    assert len(told) <= 2, "one for each time that it begins to fail"
    assert "autonomy of pods is written again" in caplog.messages


async def test_few_are_written_at_a_time() -> None:
    async with working() as scene:
        scene.node("forever")
        scene.api.gate.clear()
        for number in range(200):
            scene.pod(f"p{number}")

        async def is_full() -> bool:
            return scene.api.inside == AT_A_TIME

        await eventually(is_full)
        scene.api.gate.set()

        async def is_done() -> bool:
            return scene.count("written") == 200

        await eventually(is_done)
        assert scene.api.most_inside == AT_A_TIME


async def test_thousands_of_pods_that_need_nothing_do_not_stop_the_daemon() -> None:
    async with working() as scene:
        for number in range(1000):
            scene.pod(f"p{number}")
        turns = 0
        while len(scene.keeper._waiting) > 0:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        assert scene.api.tried == []


async def test_a_slip_of_the_pen_changes_nothing_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with working() as scene:
        scene.node("for ever")
        scene.pod("web")
        scene.pod("own", "1h")
        scene.pod("faulty", "1 h")
        scene.node("for ever")
        await scene.until_tried("own")

        async def is_told() -> bool:
            return scene.faults() == 2

        await eventually(is_told)
        scene.pod("faulty", "1 h")
        scene.pod("last", "1h")
        await scene.until_tried("own", "last")
        assert [one.key for one in caplog.records] == [NODE, "shop/faulty"]  # type: ignore[attr-defined]
        assert "'for ever': it has to be forever, off, or a duration" in caplog.text
        scene.gone("faulty")
        scene.node("forever")

        async def is_written() -> bool:
            return "web" in scene.api.tried

        await eventually(is_written)
        assert scene.faults() == 0


async def test_what_a_node_said_is_forgotten_with_it() -> None:
    async with working() as scene:
        scene.node("forever")
        scene.keeper.note_node(ObjectKey("", NODE), None)
        scene.pod("web")
        scene.pod("own", "1h")
        await scene.until_tried("own")
