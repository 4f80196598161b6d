"""How much of what it uses a pod is sure of, and who goes first when memory is short. Pure.

Source: Kubernetes pkg/apis/core/v1/helper/qos/qos.go and pkg/kubelet/qos/policy.go;
https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from enum import StrEnum
from typing import Final

from edgecore.edged.podview import Object, containers_of, init_containers_of, spec_of
from edgecore.edged.spec.amounts import (
    COMPUTE,
    Amounts,
    Kind,
    added,
    container_amounts,
    pod_level_amounts,
    together,
    whole,
)
from edgecore.edged.spec.refusals import is_sidecar_of

_SOURCE: Final = "kubernetes.io/config.source"
_MIRROR: Final = "kubernetes.io/config.mirror"
_SYSTEM_CRITICAL: Final = 2_000_000_000
"""Lowest priority of the pods that the cluster itself needs."""

_GUARANTEED_SCORE: Final = -997
_BEST_EFFORT_SCORE: Final = 1000


class QoSClass(StrEnum):
    """What a pod can rely on."""

    GUARANTEED = "Guaranteed"
    """All that it may use."""
    BURSTABLE = "Burstable"
    """Something of it."""
    BEST_EFFORT = "BestEffort"
    """Nothing."""


def qos_class(pod: Object) -> QoSClass:
    """Return the pod's class: what the API server said once, or what its spec comes to.

    Raises:
        SpecError: a quantity that is none.
    """
    said = (pod.get("status") or {}).get("qosClass")
    return QoSClass(said) if said else spec_qos_class(pod)


def spec_qos_class(pod: Object) -> QoSClass:
    """Return the class that the pod's spec comes to.

    Raises:
        SpecError: a quantity that is none.
    """
    if spec_of(pod).get("resources") is not None:
        parts = [(pod_level_amounts(pod, Kind.REQUESTS), pod_level_amounts(pod, Kind.LIMITS))]
    else:
        parts = [
            (container_amounts(c, Kind.REQUESTS), container_amounts(c, Kind.LIMITS))
            for c in (*containers_of(pod), *init_containers_of(pod))
        ]
    requests = added(_counted(part) for part, _ in parts)
    limits = added(_counted(part) for _, part in parts)
    if not requests and not limits:
        return QoSClass.BEST_EFFORT
    all_limited = all(_counted(part).keys() == COMPUTE for _, part in parts)
    return QoSClass.GUARANTEED if all_limited and requests == limits else QoSClass.BURSTABLE


def is_static(pod: Object) -> bool:
    """Whether the pod comes from a manifest on this machine instead of the API server."""
    annotations = pod.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(_SOURCE, "api")) != "api"


def is_critical(pod: Object) -> bool:
    """Whether the node or the cluster cannot do without the pod."""
    annotations = pod.get("metadata", {}).get("annotations") or {}
    if is_static(pod) or _MIRROR in annotations:
        return True
    return int(spec_of(pod).get("priority") or 0) >= _SYSTEM_CRITICAL


def oom_score_adj(pod: Object, container: Object, node_memory_bytes: int) -> int:
    """Return how willingly the kernel ends the container when memory is short: -997 to 1000.

    Args:
        pod: decides by its class and priority.
        container: one of the pod's, whose request decides where the class leaves it open.
        node_memory_bytes: all memory of the machine, more than 0.

    Raises:
        SpecError: a quantity that is none.
    """
    if is_critical(pod) and spec_of(pod).get("priorityClassName") == "system-node-critical":
        return _GUARANTEED_SCORE
    qos = qos_class(pod)
    if qos is QoSClass.GUARANTEED:
        return _GUARANTEED_SCORE
    if qos is QoSClass.BEST_EFFORT:
        return _BEST_EFFORT_SCORE
    extra = _unclaimed_memory(pod)
    score = _score(_memory_request(container) + extra, node_memory_bytes)
    if is_sidecar_of(pod, container):
        # A sidecar goes no sooner than those that it serves.
        least = min((_memory_request(c) for c in containers_of(pod)), default=0)
        score = min(score, _score(least + extra, node_memory_bytes))
    # The ends of the scale are for the other classes.
    return min(max(score, 1000 + _GUARANTEED_SCORE), _BEST_EFFORT_SCORE - 1)


def _score(requested_bytes: int, node_memory_bytes: int) -> int:
    return 1000 - 1000 * requested_bytes // node_memory_bytes


def _unclaimed_memory(pod: Object) -> int:
    """Return each container's part of what the pod asks for and no container does, in bytes."""
    claimed = whole(pod_level_amounts(pod, Kind.REQUESTS).get("memory"))
    left = claimed - whole(together(pod, Kind.REQUESTS).get("memory"))
    sharers = len(containers_of(pod)) + len(init_containers_of(pod))
    return left // sharers if left > 0 else 0


def _memory_request(container: Object) -> int:
    return whole(container_amounts(container, Kind.REQUESTS).get("memory"))


def _counted(amounts: Amounts) -> Amounts:
    """Return what decides the class."""
    return {name: amount for name, amount in amounts.items() if name in COMPUTE and amount > 0}
