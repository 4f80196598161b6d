"""The Node object: pure. The recorded registration of a real edge is the measure of its shape."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from edgecore.edged.node.facts import NodeFacts
from edgecore.edged.node.node import (
    MAX_IMAGE_NAMES,
    MAX_IMAGES,
    NodeProfile,
    NodeState,
    allocatable,
    new_node,
    node_patch,
    node_status,
    with_heartbeat,
)
from edgecore.edged.node.pressure import Pressure, parse_thresholds
from edgecore.edged.runtime.images import Image
from tests import transcript
from tests.edgecore.edged.world import merge

NOW = datetime(2026, 11, 23, 9, 31, 5, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 9, 36, 5, tzinfo=UTC)
FACTS = NodeFacts(2, 8 * 2**30, 100 * 2**30, "amd64", "6.1", "Debian", "m", "s", "b")
WELL = NodeState()
PROFILE = NodeProfile("n1", "192.0.2.7", 110, "process://0.1.0", {"zone": "a"})


def status(
    reported: Any = None, state: NodeState = WELL, profile: NodeProfile = PROFILE
) -> dict[str, Any]:
    return node_status(profile, FACTS, state, reported or {}, NOW)


def condition(made: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in made["conditions"] if c["type"] == kind)
    return found


def recorded_node() -> dict[str, Any]:
    node: dict[str, Any] = next(
        line.message["content"]
        for line in transcript.lines()
        if line.direction == "up"
        and (line.operation, line.resource) == ("insert", "null/node/ke-real")
    )
    return node


def test_a_registration_has_what_the_recorded_one_has() -> None:
    recorded = recorded_node()
    made = new_node(PROFILE, FACTS, with_heartbeat(status(), NOW))
    assert made.keys() == recorded.keys()
    assert made["metadata"]["labels"].keys() == recorded["metadata"]["labels"].keys() | {"zone"}
    assert made["metadata"]["annotations"] == recorded["metadata"]["annotations"]
    assert made["status"]["nodeInfo"].keys() == recorded["status"]["nodeInfo"].keys()
    kinds = [c["type"] for c in recorded["status"]["conditions"]]
    assert [c["type"] for c in made["status"]["conditions"]] == kinds
    for ours, theirs in zip(
        made["status"]["conditions"], recorded["status"]["conditions"], strict=True
    ):
        assert ours.keys() == theirs.keys()
    assert [a["type"] for a in made["status"]["addresses"]] == ["InternalIP", "Hostname"]


def test_the_labels_that_make_an_edge_cannot_be_overridden() -> None:
    profile = replace(PROFILE, labels={"kubernetes.io/hostname": "other"})
    labels = new_node(profile, FACTS, status())["metadata"]["labels"]
    assert labels["kubernetes.io/hostname"] == "n1"
    assert labels["node-role.kubernetes.io/edge"] == ""


def test_taints_are_registered_where_there_are_some() -> None:
    taint = {"key": "edge", "effect": "NoSchedule"}
    assert new_node(PROFILE, FACTS, {})["spec"] == {}
    assert new_node(replace(PROFILE, taints=(taint,)), FACTS, {})["spec"] == {"taints": [taint]}


@pytest.mark.parametrize(
    ("pressure", "reason"),
    [
        (Pressure.MEMORY, "KubeletHasInsufficientMemory"),
        (Pressure.DISK, "KubeletHasDiskPressure"),
        (Pressure.PID, "KubeletHasInsufficientPID"),
    ],
)
def test_what_runs_short_is_a_condition(pressure: Pressure, reason: str) -> None:
    short = status(state=NodeState((pressure,)))
    assert condition(status(), pressure)["status"] == "False"
    assert condition(short, pressure)["status"] == "True"
    assert condition(short, pressure)["reason"] == reason
    others = [p for p in Pressure if p is not pressure]
    assert all(condition(short, other) == condition(status(), other) for other in others)
    assert condition(short, "Ready")["status"] == "True"


def test_reasons_of_a_node_that_fares_well_are_those_of_the_recorded_one() -> None:
    ours, theirs = (
        [c["reason"] for c in conditions[:3]]
        for conditions in (status()["conditions"], recorded_node()["status"]["conditions"])
    )
    assert ours == theirs


def test_a_runtime_that_is_away_makes_the_node_not_ready() -> None:
    ready = condition(status(state=NodeState(problem="container runtime is down: x")), "Ready")
    assert (ready["status"], ready["message"]) == ("False", "container runtime is down: x")
    recorded = condition(recorded_node()["status"], "Ready")
    assert ready["reason"] == recorded["reason"] == "KubeletNotReady"


def test_the_largest_images_are_listed_with_digests_first() -> None:
    images = tuple(Image(f"i{n:03}", (f"x:{n}",), (f"x@sha256:{n}",), n) for n in range(60))
    listed = status(state=NodeState(images=images))["images"]
    assert len(listed) == MAX_IMAGES
    assert listed[0] == {"names": ["x@sha256:59", "x:59"], "sizeBytes": 59}
    assert status(state=NodeState(images=images[::-1]))["images"] == listed


def test_an_image_with_many_names_is_listed_with_a_few() -> None:
    image = Image("i", tuple(f"x:{n}" for n in range(9)), ("x@sha256:1",), 7)
    names = status(state=NodeState(images=(image,)))["images"][0]["names"]
    assert names == ["x@sha256:1", "x:0", "x:1", "x:2", "x:3"]
    assert len(names) == MAX_IMAGE_NAMES


def test_without_images_there_is_no_list_unless_there_was_one() -> None:
    assert "images" not in status()
    assert status({"images": [{"names": ["x"]}]})["images"] == []


def test_the_port_of_the_nodes_own_endpoint_is_told_where_there_is_one() -> None:
    assert "daemonEndpoints" not in status()
    made = status(profile=replace(PROFILE, kubelet_port=10350))
    assert made["daemonEndpoints"] == recorded_node()["status"]["daemonEndpoints"]


def test_nothing_is_sent_while_nothing_changed_and_it_is_not_due() -> None:
    reported = with_heartbeat(status(), NOW)
    assert node_patch(reported, status(reported), LATER, due=False) is None


def test_a_due_report_carries_the_heartbeat_of_every_condition_and_nothing_else() -> None:
    reported = with_heartbeat(status(), NOW)
    patch = json.loads(node_patch(reported, status(reported), LATER, due=True) or "")
    assert patch["status"].keys() == {"conditions", "$setElementOrder/conditions"}
    assert all(
        c == {"type": c["type"], "lastHeartbeatTime": "2026-11-23T09:36:05Z"}
        for c in patch["status"]["conditions"]
    )
    assert len(patch["status"]["conditions"]) == 4


def test_a_condition_that_somebody_flipped_is_set_back_and_other_peoples_stay() -> None:
    reported = with_heartbeat(status(), NOW)
    reported["conditions"][3] |= {
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "lastTransitionTime": "2026-11-23T09:33:00Z",
    }
    reported["conditions"].append({"type": "NetworkUnavailable", "status": "False"})
    patch = json.loads(node_patch(reported, status(reported), LATER, due=False) or "")
    after = merge(reported, patch["status"])
    assert condition(after, "Ready")["status"] == "True"
    assert condition(after, "Ready")["reason"] == "EdgeReady"
    assert condition(after, "NetworkUnavailable") == {
        "type": "NetworkUnavailable",
        "status": "False",
    }
    assert condition(after, "Ready")["lastTransitionTime"] == "2026-11-23T09:31:05Z"


def test_pods_may_take_less_than_there_is() -> None:
    assert allocatable(PROFILE, FACTS) == {
        "cpu": "2",
        "memory": f"{(8 * 2**30 - 100 * 2**20) // 1024}Ki",
        "ephemeral-storage": str(90 * 2**30),
        "pods": "110",
    }


def test_what_is_reserved_is_not_for_pods() -> None:
    profile = replace(
        PROFILE,
        system_reserved={"cpu": "100m", "memory": "1Gi", "ephemeral-storage": "10Gi"},
        kube_reserved={"memory": "1Gi"},
        thresholds=parse_thresholds(
            "memory.available<1Gi", "nodefs.available<50%", "nodefs.available=1m"
        ),
    )
    left = allocatable(profile, FACTS)
    assert left == {
        "cpu": "1900m",
        "memory": f"{5 * 2**20}Ki",
        "ephemeral-storage": str(90 * 2**30),
        "pods": "110",
    }


def test_more_reserved_than_there_is_leaves_nothing() -> None:
    left = allocatable(replace(PROFILE, system_reserved={"cpu": "3", "memory": "1Ti"}), FACTS)
    assert (left["cpu"], left["memory"]) == ("0", "0Ki")
