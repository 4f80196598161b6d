"""Whether a node is one that a pod asks for, by the node's name, labels and taints. Pure.

Source: Kubernetes component-helpers/scheduling/corev1; the reasons it can be refused for once it is
bound to a node are those that kubelet judges.
"""

import re
from collections.abc import Mapping
from typing import Final

from edgecore.edged.podview import Object, spec_of

_NUMBER: Final = re.compile(r"[+-]?\d+")


def is_wanted(pod: Object, name: str, labels: Mapping[str, str]) -> bool:
    """Whether the node ``name`` with ``labels`` meets what the pod requires of its node."""
    spec = spec_of(pod)
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    terms = required.get("nodeSelectorTerms") or ()
    return any(_term_matches(term, name, labels) for term in terms)


def is_tolerated(pod: Object, taint: Object) -> bool:
    """Whether the pod may be on a node with ``taint``, be it for a while."""
    return any(_tolerates(entry, taint) for entry in spec_of(pod).get("tolerations") or ())


def _term_matches(term: Object, name: str, labels: Mapping[str, str]) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    of_node = {"metadata.name": name}
    return all(_matches(e, labels) for e in expressions) and all(
        _matches(e, of_node) for e in fields
    )


def _matches(expression: Object, values: Mapping[str, str]) -> bool:
    """Whether ``values`` has what one requirement asks for; an unknown operator matches nothing."""
    wanted: list[str] = expression.get("values") or []
    value = values.get(expression["key"])
    match expression.get("operator"):
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _difference(value, wanted) > 0
        case "Lt":
            return _difference(value, wanted) < 0
    return False


def _difference(value: str | None, wanted: list[str]) -> int:
    """Return by how much a label's number is larger than the one asked for; 0 without numbers."""
    numbers = [text for text in (value, *wanted) if text is not None and _NUMBER.fullmatch(text)]
    return int(numbers[0]) - int(numbers[1]) if len(numbers) == len(wanted) + 1 == 2 else 0


def _tolerates(toleration: Object, taint: Object) -> bool:
    effect, key = toleration.get("effect"), toleration.get("key")
    if effect and effect != taint.get("effect"):
        return False
    if key and key != taint.get("key"):
        return False
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return (toleration.get("value") or "") == (taint.get("value") or "")
    return False
