"""What a container may learn of its own pod: ``fieldRef`` and ``resourceFieldRef``. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from edgecore.edged.podview import Object, containers_of, init_containers_of, spec_of
from edgecore.edged.spec.quantity import in_units, parse_quantity

_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
_RESOURCE: Final = re.compile(r"(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-\w+)")


class FieldError(Exception):
    """A reference to a field cannot be followed; the text says which and why."""


class NodeView(Struct, frozen=True):
    """What pods may learn of the node."""

    name: str
    ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """Stands for the limits that a container does not set."""


def field_value(pod: Object, node: NodeView, path: str, ips: Sequence[str] = ()) -> str:
    """Return the value of ``fieldRef.fieldPath``.

    Args:
        pod: whose field it is.
        node: where it runs.
        path: as ``metadata.name``.
        ips: the pod's own addresses, the main one first; none where they are the node's.

    Raises:
        FieldError: there is no such field for pods to see.
    """
    metadata = pod.get("metadata", {})
    if subscript := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata.get(path.removeprefix("metadata."), ""))
        case "metadata.labels" | "metadata.annotations":
            return _lines(metadata.get(path.removeprefix("metadata.")) or {})
        case "spec.nodeName":
            return node.name
        case "spec.serviceAccountName":
            return str(spec_of(pod).get("serviceAccountName", ""))
        case "status.hostIP" | "status.hostIPs":
            return node.ip
        case "status.podIP":
            return ips[0] if ips else node.ip
        case "status.podIPs":
            return ",".join(ips) or node.ip
    raise FieldError(f"unsupported fieldPath: {path}")


def resource_value(pod: Object, node: NodeView, container_name: str, ref: Object) -> str:
    """Return the value of a ``resourceFieldRef`` of the container that it is about.

    Raises:
        FieldError: no such container or resource, or a quantity that is none.
    """
    name = ref.get("containerName") or container_name
    found = [c for c in (*containers_of(pod), *init_containers_of(pod)) if c.get("name") == name]
    if not found:
        raise FieldError(f"container {name} not found")
    resource = _RESOURCE.fullmatch(ref.get("resource", ""))
    if resource is None:
        raise FieldError(f"unsupported container resource: {ref.get('resource', '')}")
    kind, what = resource.groups()
    resources = found[0].get("resources") or {}
    quantity = str((resources.get(kind) or {}).get(what, "0"))
    try:
        if kind == "limits" and not parse_quantity(quantity):
            quantity = _limit_of_all(pod, node, what)
        return str(in_units(quantity, str(ref.get("divisor") or "1")))
    except ValueError as error:
        raise FieldError(f"{ref['resource']}: {error}") from error


def _limit_of_all(pod: Object, node: NodeView, what: str) -> str:
    """Return what limits a container that is not limited itself: the pod's limit, or the node."""
    level = (spec_of(pod).get("resources") or {}).get("limits") or {}
    quantity = str(level.get(what, "0")) if what in {"cpu", "memory"} else "0"
    return quantity if parse_quantity(quantity) else str(node.allocatable.get(what, "0"))


def _lines(pairs: Mapping[str, str]) -> str:
    """Return ``key="value"`` lines, sorted, without a line end behind the last."""
    return "\n".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(pairs.items())
    )
