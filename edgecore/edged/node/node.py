"""The Node object of this machine: what is registered, and the status that it should have. Pure.

Source: Kubernetes pkg/kubelet/nodestatus/setters.go and kubelet_node_status.go; the recorded
traffic shows it on the wire.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from msgspec import Struct, field

from common.clock import rfc3339
from common.names import AGENT_NODE_LABEL, EDGE_NODE_LABEL
from edgecore.edged.node.facts import NodeFacts
from edgecore.edged.node.pressure import DEFAULT_THRESHOLDS, Pressure, Signal, Threshold
from edgecore.edged.podview import Object
from edgecore.edged.runtime.images import Image
from edgecore.edged.spec.quantity import parse_quantity
from edgecore.edged.strategic import diff, patch_text

KUBELET_VERSION: Final = "v1.36.3-cloudedge-0.1.0"
"""The Kubernetes API that edged follows, and its own version."""

UNKNOWN_VERSION: Final = "unknown"
"""Stands for the runtime's version until the runtime has answered for the first time."""

MAX_IMAGES: Final = 50
MAX_IMAGE_NAMES: Final = 5
"""Images in the status, and names of each, as kubelet bounds them."""

_WORDS: Final = {
    Pressure.MEMORY: ("InsufficientMemory", "SufficientMemory", "memory available"),
    Pressure.DISK: ("DiskPressure", "NoDiskPressure", "disk space"),
    Pressure.PID: ("InsufficientPID", "SufficientPID", "PID available"),
}


class NodeProfile(Struct, frozen=True):
    """What a node says of itself, apart from what it can read."""

    name: str
    ip: str
    max_pods: int
    runtime_version: str = UNKNOWN_VERSION
    """As the runtime said it last."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    thresholds: tuple[Threshold, ...] = DEFAULT_THRESHOLDS
    """What a hard one keeps back is not for pods either."""
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    """Quantities of ``cpu``, ``memory`` and ``ephemeral-storage`` that are not for pods."""
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    """As ``system_reserved``, for edged and the runtime."""
    kubelet_port: int = 0
    """Where the node's own endpoint listens; 0 for nowhere."""


class NodeState(Struct, frozen=True):
    """How a node fares."""

    pressures: tuple[Pressure, ...] = ()
    problem: str = ""
    """Why it cannot run pods; empty if it can."""
    images: tuple[Image, ...] = ()


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
    memory_bytes = _left(profile, "memory", facts.memory_bytes, Signal.MEMORY)
    disk_bytes = _left(profile, "ephemeral-storage", facts.disk_bytes, Signal.DISK)
    cpu_milli = int(_left(profile, "cpu", facts.cpus, None) * 1000)
    return {
        "cpu": f"{cpu_milli}m" if cpu_milli % 1000 else str(cpu_milli // 1000),
        "memory": f"{int(memory_bytes) // 1024}Ki",
        "ephemeral-storage": str(int(disk_bytes)),
        "pods": str(profile.max_pods),
    }


def _left(profile: NodeProfile, resource: str, capacity: int, signal: Signal | None) -> Fraction:
    """Return what is left for pods after what is reserved and what must stay free."""
    left = Fraction(capacity)
    for reserved in (profile.system_reserved, profile.kube_reserved):
        left -= parse_quantity(reserved.get(resource, "0"))
    for threshold in profile.thresholds:
        if threshold.signal is signal and not threshold.grace_s:
            left -= threshold.least(capacity)
    return max(left, Fraction(0))


def node_status(
    profile: NodeProfile,
    facts: NodeFacts,
    state: NodeState,
    reported: Object,
    now: datetime,
) -> dict[str, Any]:
    """Return the status that the Node should have.

    Args:
        profile: what is configured.
        facts: what the machine is.
        state: how it fares.
        reported: the status that the API server has; times in it stay where nothing changed.
        now: for conditions that change.
    """
    status = {
        "capacity": {
            "cpu": str(facts.cpus),
            "memory": f"{facts.memory_bytes // 1024}Ki",
            "ephemeral-storage": f"{facts.disk_bytes // 1024}Ki",
            "pods": str(profile.max_pods),
        },
        "allocatable": allocatable(profile, facts),
        "conditions": _conditions(state, reported, now),
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
    if profile.kubelet_port:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": profile.kubelet_port}}
    if state.images or reported.get("images"):
        # The API server keeps no empty list: said only where it has one to lose.
        status["images"] = _images(state.images)
    return status


def _images(images: Iterable[Image]) -> list[dict[str, Any]]:
    """Return the largest images, in an order that stays while they do."""
    largest = sorted(images, key=lambda image: (-image.size_bytes, image.id))[:MAX_IMAGES]
    return [
        {
            "names": [*image.digests, *image.tags][:MAX_IMAGE_NAMES],
            "sizeBytes": image.size_bytes,
        }
        for image in largest
    ]


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


def _conditions(state: NodeState, reported: Object, now: datetime) -> list[dict[str, Any]]:
    table = [
        (pressure.value, pressure in state.pressures, *_words(pressure, state.pressures))
        for pressure in Pressure
    ]
    reason, message = "EdgeReady", "edge is posting ready status"
    if state.problem:
        reason, message = "KubeletNotReady", state.problem
    table.append(("Ready", not state.problem, reason, message))
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


def _words(pressure: Pressure, pressures: tuple[Pressure, ...]) -> tuple[str, str]:
    """Return the reason and the message of a condition."""
    low, enough, resource = _WORDS[pressure]
    if pressure in pressures:
        return f"KubeletHas{low}", f"the edge has too little {resource}"
    return f"KubeletHas{enough}", f"the edge has enough {resource}"
