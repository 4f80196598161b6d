"""Whether a node takes a pod that is bound to it; what it refuses has failed for good. Pure.

Judged once, before the first container: a pod that runs keeps its place. A critical pod is refused
like any other; kubelet would evict others to make room for it.

Source: Kubernetes pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/sysctl/allowlist.go and the
scheduler's plugins that they ask.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from msgspec import Struct

from edgecore.edged.containerstatus import Rejection
from edgecore.edged.podview import Object, spec_of
from edgecore.edged.spec.amounts import Amounts, added, milli, parsed, pod_requests, whole
from edgecore.edged.spec.hostports import port_conflict
from edgecore.edged.spec.nodeaffinity import is_tolerated, is_wanted
from edgecore.edged.spec.qos import is_static
from edgecore.edged.spec.refusals import SpecError
from edgecore.edged.spec.sysctls import forbidden_sysctl

_OS_LABEL: Final = "kubernetes.io/os"
_OS: Final = "linux"


class AdmittingNode(Struct, frozen=True):
    """What a pod is judged by."""

    name: str
    allocatable: Mapping[str, str]
    """What all pods together may ask for; ``pods`` is their number."""
    labels: Mapping[str, str] | None = None
    """None: not known, and not judged."""
    taints: Sequence[Object] = ()


def admit(pod: Object, others: Sequence[Object], node: AdmittingNode) -> Rejection | None:
    """Return why the node does not take ``pod``; None if it does.

    Args:
        pod: that is to start.
        others: those that the node took already and that have not ended.
        node: that is asked.
    """
    try:
        return (
            _unfit(pod) or node_fit(pod, others, node.allocatable) or _unwanted(pod, others, node)
        )
    except SpecError as error:
        return Rejection("UnexpectedAdmissionError", str(error))


def node_fit(
    pod: Object, others: Sequence[Object], allocatable: Mapping[str, str]
) -> Rejection | None:
    """Return which resource there is not enough of for ``pod`` beside ``others``; None if none.

    A resource that only devices provide and that the node does not know is not judged.

    Raises:
        SpecError: a quantity that is none.
    """
    capacity = parsed(allocatable)
    requested = {"pods": Fraction(1), **pod_requests(pod)}
    used = added([{"pods": Fraction(len(others))}, *(pod_requests(other) for other in others)])
    for name in sorted(requested, key=_importance):
        wanted = _units(requested, name)
        if not wanted or (_is_extended(name) and name not in capacity):
            continue
        taken, all_of_it = _units(used, name), _units(capacity, name)
        if wanted > all_of_it - taken:
            return Rejection(
                f"OutOf{name}",
                f"Node didn't have enough resource: {name}, requested: {wanted}, "
                f"used: {taken}, capacity: {all_of_it}",
            )
    return None


def _unfit(pod: Object) -> Rejection | None:
    """Return why no node like this takes the pod."""
    labels, spec = pod.get("metadata", {}).get("labels") or {}, spec_of(pod)
    if labels.get(_OS_LABEL, _OS) != _OS:
        return Rejection(
            "PodOSSelectorNodeLabelDoesNotMatch",
            f"Failed to admit pod as the `{_OS_LABEL}` label doesn't match node label",
        )
    if (spec.get("os") or {}).get("name", _OS) != _OS:
        message = "Failed to admit pod as the OS field doesn't match node OS"
        return Rejection("PodOSNotSupported", message)
    if (spec.get("securityContext") or {}).get("supplementalGroupsPolicy") == "Strict":
        message = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Rejection("SupplementalGroupsPolicyNotSupported", message)
    if fault := forbidden_sysctl(pod):
        return Rejection("SysctlForbidden", fault)
    return None


def _unwanted(pod: Object, others: Sequence[Object], node: AdmittingNode) -> Rejection | None:
    """Return which of the pod's other requirements the node does not meet."""
    if node.labels is not None and not is_wanted(pod, node.name, node.labels):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if spec_of(pod).get("nodeName", node.name) != node.name:
        return _failed("NodeName", "node(s) didn't match the requested node name")
    if conflict := port_conflict(pod, others):
        fault = "node(s) didn't have free ports for the requested pod ports"
        return _failed("NodePorts", f"{fault} ({conflict})")
    evicting = (taint for taint in node.taints if taint.get("effect") == "NoExecute")
    if not is_static(pod) and not all(is_tolerated(pod, taint) for taint in evicting):
        return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _failed(predicate: str, fault: str) -> Rejection:
    return Rejection(predicate, f"Predicate {predicate} failed: {fault}")


def _importance(name: str) -> tuple[int, str]:
    order = ("pods", "cpu", "memory", "ephemeral-storage")
    return order.index(name) if name in order else len(order), name


def _units(amounts: Amounts, name: str) -> int:
    """Return an amount in the unit in which it is judged."""
    return milli(amounts.get(name)) if name == "cpu" else whole(amounts.get(name))


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name
