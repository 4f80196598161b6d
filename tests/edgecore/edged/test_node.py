"""The Node object: pure. The recorded registration of a real edge is the measure of its shape."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from edgecore.edged.facts import NodeFacts, Readings
from edgecore.edged.node import (
    NodeProfile,
    allocatable,
    new_node,
    node_patch,
    node_status,
    with_heartbeat,
)
from tests import transcript
from tests.edgecore.edged.world import merge

NOW = datetime(2026, 11, 23, 9, 31, 5, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 9, 36, 5, tzinfo=UTC)
FACTS = NodeFacts(2, 8 * 2**30, 100 * 2**30, "amd64", "6.1", "Debian", "m", "s", "b")
WELL = Readings(4 * 2**30, 0.5, 0.5, 0.9)
PROFILE = NodeProfile("n1", "192.0.2.7", 110, "process://0.1.0", {"zone": "a"})


def status(reported: Any = None, readings: Readings = WELL, problem: str = "") -> dict[str, Any]:
    return node_status(PROFILE, FACTS, readings, problem, reported or {}, NOW)


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
    ("readings", "kind"),
    [
        (replace(WELL, memory_available_bytes=50 * 2**20), "MemoryPressure"),
        (replace(WELL, disk_free_part=0.09), "DiskPressure"),
        (replace(WELL, inodes_free_part=0.04), "DiskPressure"),
        (replace(WELL, pids_free_part=0.01), "PIDPressure"),
    ],
)
def test_what_runs_short_is_a_condition(readings: Readings, kind: str) -> None:
    assert condition(status(), kind)["status"] == "False"
    assert condition(status(readings=readings), kind)["status"] == "True"
    assert condition(status(readings=readings), "Ready")["status"] == "True"


def test_a_runtime_that_is_away_makes_the_node_not_ready() -> None:
    ready = condition(status(problem="container runtime is down: x"), "Ready")
    assert (ready["status"], ready["message"]) == ("False", "container runtime is down: x")


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
