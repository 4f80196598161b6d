"""The Node object of this machine: what is registered, and the status that it should have. Pure.

Source: Kubernetes pkg/kubelet/nodestatus/setters.go and kubelet_node_status.go; the recorded
traffic shows it on the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from common.clock import rfc3339
from common.names import AGENT_NODE_LABEL, EDGE_NODE_LABEL
from edgecore.edged.facts import NodeFacts, Readings
from edgecore.edged.podview import Object
from edgecore.edged.strategic import diff, patch_text

KUBELET_VERSION: Final = "v1.36.3-cloudedge-0.1.0"
"""The Kubernetes API that edged follows, and its own version."""

# kubelet's default hard eviction thresholds; it has none for process ids.
_MEMORY_LEFT_BYTES: Final = 100 * 1024 * 1024
_DISK_LEFT: Final = 0.10
_INODES_LEFT: Final = 0.05
_PIDS_LEFT: Final = 0.05
_DISK_ALLOCATABLE: Final = 0.90


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """What a node says of itself, apart from what it can read."""

    name: str
    ip: str
    max_pods: int
    runtime_version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()


def new_node(profile: NodeProfile, facts: NodeFacts, status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Node to register."""
    labels = {
        "beta.kubernetes.io/arch": facts.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.architecture,
        "kubernetes.io/hostname": profile.name,
        "kubernetes.io/os": "linux",
        AGENT_NODE_LABEL: "",
        EDGE_NODE_LABEL: "",
    }
    annotations = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    return {
        "metadata": {
            "name": profile.name,
            "creationTimestamp": None,
            "labels": {**profile.labels, **labels},
            "annotations": annotations,
        },
        "spec": {"taints": list(profile.taints)} if profile.taints else {},
        "status": status,
    }


def allocatable(profile: NodeProfile, facts: NodeFacts) -> dict[str, str]:
    """Return what pods may take of the machine."""
    memory_bytes = max(0, facts.memory_bytes - _MEMORY_LEFT_BYTES)
    return {
        "cpu": str(facts.cpus),
        "memory": f"{memory_bytes // 1024}Ki",
        "ephemeral-storage": str(int(facts.disk_bytes * _DISK_ALLOCATABLE)),
        "pods": str(profile.max_pods),
    }


def node_status(
    profile: NodeProfile,
    facts: NodeFacts,
    readings: Readings,
    problem: str,
    reported: Object,
    now: datetime,
) -> dict[str, Any]:
    """Return the status that the Node should have.

    Args:
        profile: what is configured.
        facts: what the machine is.
        readings: how it fares.
        problem: why it cannot run pods; empty if it can.
        reported: the status that the API server has; times in it stay where nothing changed.
        now: for conditions that change.
    """
    return {
        "capacity": {
            "cpu": str(facts.cpus),
            "memory": f"{facts.memory_bytes // 1024}Ki",
            "ephemeral-storage": f"{facts.disk_bytes // 1024}Ki",
            "pods": str(profile.max_pods),
        },
        "allocatable": allocatable(profile, facts),
        "conditions": _conditions(readings, problem, reported, now),
        "addresses": [
            {"type": "InternalIP", "address": profile.ip},
            {"type": "Hostname", "address": profile.name},
        ],
        "nodeInfo": {
            "machineID": facts.machine_id,
            "systemUUID": facts.system_uuid,
            "bootID": facts.boot_id,
            "kernelVersion": facts.kernel,
            "osImage": facts.os_image,
            "containerRuntimeVersion": profile.runtime_version,
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": facts.architecture,
        },
    }


def node_patch(
    reported: Object, wanted: Mapping[str, Any], now: datetime, *, due: bool
) -> str | None:
    """Return the text of the patch of the Node's status; None where there is nothing to say.

    Args:
        reported: the status that the API server has.
        wanted: see ``node_status``.
        now: of this heartbeat.
        due: whether it is time to say it even if nothing changed.
    """
    if not due and not diff(reported, wanted):
        return None
    return patch_text({"status": diff(reported, with_heartbeat(wanted, now))})


def with_heartbeat(status: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return ``status`` with the moment at which it was true."""
    beat = {"lastHeartbeatTime": rfc3339(now)}
    return {**status, "conditions": [condition | beat for condition in status["conditions"]]}


def _conditions(
    readings: Readings, problem: str, reported: Object, now: datetime
) -> list[dict[str, Any]]:
    memory_low = readings.memory_available_bytes < _MEMORY_LEFT_BYTES
    disk_low = readings.disk_free_part < _DISK_LEFT or readings.inodes_free_part < _INODES_LEFT
    pids_low = readings.pids_free_part < _PIDS_LEFT
    table = (
        ("MemoryPressure", memory_low, *_words(memory_low, "Memory", "memory available")),
        ("DiskPressure", disk_low, *_words(disk_low, "Disk", "disk space")),
        ("PIDPressure", pids_low, *_words(pids_low, "PID", "PID available")),
        (
            "Ready",
            not problem,
            "EdgeNotReady" if problem else "EdgeReady",
            problem or "edge is posting ready status",
        ),
    )
    before = {c.get("type"): c for c in reported.get("conditions") or ()}
    conditions = []
    for kind, met, reason, message in table:
        status = "True" if met else "False"
        old = before.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastTransitionTime": since or rfc3339(now),
                "reason": reason,
                "message": message,
            }
        )
    return conditions


def _words(low: bool, what: str, resource: str) -> tuple[str, str]:  # noqa: FBT001 - from a table
    if what == "Disk":
        reason = "KubeletHasDiskPressure" if low else "KubeletHasNoDiskPressure"
        return reason, f"the edge has {'too little' if low else 'enough'} {resource}"
    reason = f"KubeletHas{'Insufficient' if low else 'Sufficient'}{what}"
    return reason, f"the edge has {'too little' if low else 'enough'} {resource}"
