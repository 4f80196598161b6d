"""What pods and containers ask for and are limited to, as exact numbers. Pure.

A request that is not set is what the limit says, as the API server would have made it: a pod from a
manifest on this machine never passed there.

Source: Kubernetes component-helpers/resource/helpers.go, pkg/apis/core/v1/defaults.go, and
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Final, TypeAlias

from edgecore.edged.podview import (
    Object,
    containers_of,
    init_containers_of,
    is_sidecar,
    spec_of,
)
from edgecore.edged.spec.quantity import parse_quantity
from edgecore.edged.spec.refusals import SpecError

Amounts: TypeAlias = Mapping[str, Fraction]
"""Quantities by the name of the resource: ``cpu`` in cores, ``memory`` in bytes."""

COMPUTE: Final = frozenset({"cpu", "memory"})
"""The resources that a pod may use more of than it asked for."""


class Kind(StrEnum):
    """What is said of a resource."""

    REQUESTS = "requests"
    LIMITS = "limits"


def container_amounts(container: Object, kind: Kind) -> dict[str, Fraction]:
    """Return the requests or the limits of one container.

    Raises:
        SpecError: a quantity that is none.
    """
    resources = container.get("resources") or {}
    amounts = parsed(resources.get(kind) or {})
    return amounts if kind is Kind.LIMITS else parsed(resources.get(Kind.LIMITS) or {}) | amounts


def pod_level_amounts(pod: Object, kind: Kind) -> dict[str, Fraction]:
    """Return what the pod says as a whole (``spec.resources``); nothing where it says nothing.

    Raises:
        SpecError: a quantity that is none.
    """
    said = spec_of(pod).get("resources") or {}
    amounts = _of_pods(parsed(said.get(kind) or {}))
    if kind is Kind.LIMITS or not said.get(Kind.LIMITS):
        return amounts
    limits = _of_pods(parsed(said[Kind.LIMITS]))
    asked = together(pod, Kind.REQUESTS)
    return limits | {name: asked[name] for name in COMPUTE & asked.keys()} | amounts


def beside_each(pod: Object, kind: Kind) -> list[Amounts]:
    """Return, for each container, its amounts and those of what its start finds running.

    For a container that is one of many that start together these are its own; an init container
    runs next to the sidecars before it.

    Raises:
        SpecError: a quantity that is none.
    """
    found: list[Amounts] = [container_amounts(c, kind) for c in containers_of(pod)]
    sidecars: Amounts = {}
    for container in init_containers_of(pod):
        found.append(added([container_amounts(container, kind), sidecars]))
        if is_sidecar(container):
            sidecars = found[-1]
    return found


def together(pod: Object, kind: Kind) -> dict[str, Fraction]:
    """Return the most that the containers come to: while they run, or at one step of the start.

    Raises:
        SpecError: a quantity that is none.
    """
    lasting = (*containers_of(pod), *filter(is_sidecar, init_containers_of(pod)))
    total = added(container_amounts(c, kind) for c in lasting)
    for step in beside_each(pod, kind)[len(containers_of(pod)) :]:
        total |= {name: max(amount, total.get(name, amount)) for name, amount in step.items()}
    return total


def pod_requests(pod: Object) -> dict[str, Fraction]:
    """Return what the node keeps free for the pod.

    Raises:
        SpecError: a quantity that is none.
    """
    level = pod_level_amounts(pod, Kind.REQUESTS)
    return added([together(pod, Kind.REQUESTS) | level, _overhead(pod)])


def pod_limits(pod: Object) -> dict[str, Fraction]:
    """Return what the pod's limits come to; it tells nothing of containers that have none.

    Raises:
        SpecError: a quantity that is none.
    """
    total = together(pod, Kind.LIMITS) | pod_level_amounts(pod, Kind.LIMITS)
    overhead = {name: more for name, more in _overhead(pod).items() if total.get(name)}
    return added([total, overhead])


def parsed(quantities: Mapping[str, object]) -> dict[str, Fraction]:
    """Return quantities as they stand in an object as numbers.

    Raises:
        SpecError: one of them is no quantity.
    """
    try:
        return {name: parse_quantity(str(text)) for name, text in quantities.items()}
    except ValueError as error:
        raise SpecError(f"invalid resources: {error}") from error


def added(parts: Iterable[Amounts]) -> dict[str, Fraction]:
    """Return the sum of ``parts``, resource by resource."""
    total: dict[str, Fraction] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total


def milli(amount: Fraction | None) -> int:
    """Return an amount in thousandths, rounded up; 0 for none."""
    return ceil((amount or 0) * 1000)


def whole(amount: Fraction | None) -> int:
    """Return an amount as a whole number, rounded up; 0 for none."""
    return ceil(amount or 0)


def _of_pods(amounts: Amounts) -> dict[str, Fraction]:
    """Return those amounts that can be said of a pod as a whole."""
    return {
        name: amount
        for name, amount in amounts.items()
        if name in COMPUTE or name.startswith("hugepages-")
    }


def _overhead(pod: Object) -> dict[str, Fraction]:
    return parsed(spec_of(pod).get("overhead") or {})
