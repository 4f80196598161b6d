"""What a node may say of its own Node beside its status: labels, annotations, taints. Pure.

Labels and taints decide which pods come to a node, and with them whose Secrets: so a node may not
put any on itself that administrators choose by. The rules are those of the API server's
NodeRestriction, which judges the same once more where it is turned on. Here the refusal tells what
to do.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from common.names import AGENT_NODE_LABEL, EDGE_NODE_LABEL

ROLE_LABELS: Final = frozenset({EDGE_NODE_LABEL, AGENT_NODE_LABEL})
"""Edges say them when they register; cloudcore puts them itself, on a Node that it has made."""

_OWN_LABELS: Final = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_OWN_DOMAINS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESERVED_DOMAINS: Final = ("kubernetes.io", "k8s.io")

_PATCHED: Final = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_PATCHED_METADATA: Final = frozenset(
    {"annotations", "creationTimestamp", "labels", "name", "resourceVersion", "uid"}
)
_ADMINISTRATORS_ANNOTATIONS: Final = "cloudedge.io/"
"""What cloudcore is told by annotations, such as to make a comparison that would delete much."""

_CONTROLLERS_TAINTS: Final = "node.kubernetes.io/"
_TAINTS_FAULT: Final = (
    "a node may say taints, and what else is in its spec, only when it registers; an administrator"
    " may change them: kubectl taint node"
)


def may_label_itself(label: str) -> bool:
    """Whether a node may put that label on its own Node, change it, or take it away."""
    domain, slash, _ = label.rpartition("/")
    if not slash or label in _OWN_LABELS:
        return not label.startswith("$")  # those are orders to whoever applies a patch
    if any(domain == own or domain.endswith(f".{own}") for own in _OWN_DOMAINS):
        return True
    return not any(
        domain == reserved or domain.endswith(f".{reserved}") for reserved in _RESERVED_DOMAINS
    )


def registration_fault(node: Mapping[str, Any]) -> str:
    """Return why ``node`` may not be registered by itself; empty if it may.

    Taints are welcome: they keep pods away, and nobody has chosen any yet.
    """
    return _annotations_fault(_annotations(node)) or _labels_fault(
        _labels(node).keys() - ROLE_LABELS
    )


def patch_fault(change: Mapping[str, Any]) -> str:
    """Return why a node may not apply the strategic merge patch ``change`` to its Node."""
    others = change.keys() - _PATCHED
    if others:
        return f"its patch may not have {_listed(others)}"
    if change.get("spec"):
        return _TAINTS_FAULT
    metadata = _mapping(change.get("metadata"))
    others = metadata.keys() - _PATCHED_METADATA
    if others:
        return f"of its metadata it may change labels and annotations only, not {_listed(others)}"
    for taken_away in ("labels", "annotations"):
        if taken_away in metadata and metadata[taken_away] is None:
            return f"it may not take away all its {taken_away}"
    return _annotations_fault(_annotations(change)) or _labels_fault(_labels(change).keys())


def update_fault(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return why a node may not have ``wanted`` in place of ``current``, its Node as it is.

    Labels that are left out stay, and so do taints.
    """
    before, noted = _labels(current), _annotations(current)
    fault = _annotations_fault(
        name for name, value in _annotations(wanted).items() if noted.get(name) != value
    ) or _labels_fault(
        label
        for label, value in _labels(wanted).items()
        if label not in before or value != before[label]
    )
    if fault:
        return fault
    known = _taints(current)
    # Controllers come and go with theirs: the node's copy may be older.
    added = [one for one in _taints(wanted) - known if not one[0].startswith(_CONTROLLERS_TAINTS)]
    return _TAINTS_FAULT if added else ""


def _labels_fault(labels: Iterable[str]) -> str:
    refused = [label for label in labels if not may_label_itself(label)]
    if not refused:
        return ""
    return (
        f"a node may not put {_listed(refused)} on itself, nor take it away: take it out of the"
        " edge's configuration; an administrator may do it: kubectl label node"
    )


def _annotations_fault(annotations: Iterable[str]) -> str:
    # What begins with $ is an order to whoever applies a patch.
    refused = [name for name in annotations if name.startswith((_ADMINISTRATORS_ANNOTATIONS, "$"))]
    if not refused:
        return ""
    return (
        f"a node may not put {_listed(refused)} on itself, nor take it away; an administrator may:"
        " kubectl annotate node"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(name[:80] for name in names)[:8])


def _labels(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(node.get("metadata")).get("labels"))


def _annotations(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(node.get("metadata")).get("annotations"))


def _taints(node: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    taints = _mapping(node.get("spec")).get("taints")
    return {
        (str(one.get("key", "")), str(one.get("value") or ""), str(one.get("effect", "")))
        for one in (taints if isinstance(taints, list) else ())
        if isinstance(one, dict)
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
