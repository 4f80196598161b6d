"""What a node gives up when it is short of something: first what nobody misses, then a pod. Pure.

Source: Kubernetes pkg/kubelet/eviction (eviction_manager.go, helpers.go), whose order and words
these are; https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

from msgspec import Struct, field

from common.names import UID
from edgecore.edged.node.pressure import Pressure, Shortage, Signal
from edgecore.edged.podview import (
    MIN_GRACE_S,
    Object,
    containers_of,
    grace_s_of,
    init_containers_of,
    is_deleting,
    is_over,
    spec_of,
    uid_of,
)
from edgecore.edged.runtime.base import ContainerStats
from edgecore.edged.spec.amounts import Kind, container_amounts, pod_requests, whole
from edgecore.edged.spec.nodeaffinity import is_tolerated
from edgecore.edged.spec.qos import QoSClass, is_critical, qos_class
from edgecore.edged.spec.refusals import SpecError

REASON: Final = "Evicted"
"""Of the status of a pod that was evicted, or was not let in."""

_MEMORY_TAINT: Final = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
_RESOURCES: Final = {
    Signal.MEMORY: "memory",
    Signal.DISK: "ephemeral-storage",
    Signal.IMAGE_DISK: "ephemeral-storage",
    Signal.INODES: "inodes",
    Signal.IMAGE_INODES: "inodes",
    Signal.PIDS: "pids",
}
_COUNTED: Final = frozenset({Signal.INODES, Signal.IMAGE_INODES, Signal.PIDS})
_OF_IMAGES: Final = frozenset({Signal.IMAGE_DISK, Signal.IMAGE_INODES})
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")


class Step(StrEnum):
    """What to do next about a shortage."""

    NOTHING = "nothing"
    REMOVE_CONTAINERS = "remove containers that have ended"
    REMOVE_IMAGES = "remove images that nobody needs"
    EVICT = "evict a pod"
    WAIT = "wait for a pod that is being evicted"


class PodUsage(Struct, frozen=True):
    """What a running pod takes. Sizes in bytes."""

    containers: tuple[ContainerStats, ...] = ()
    logs: Mapping[str, int] = field(default_factory=dict)
    """By container."""
    volumes: int = 0
    """Of volumes that are on this machine's disk."""
    volumes_inodes: int = 0
    processes: int = 0


Usages: TypeAlias = Mapping[UID, PodUsage]
"""By UID of the pod; a pod of which nothing is known has none."""


class Eviction(Struct, frozen=True):
    """A pod that has to go; it has failed for good, and is one that a controller replaces."""

    pod: Object
    message: str
    grace_s: float


def next_step(
    due: Sequence[Shortage], tried: frozenset[Step], *, is_ending: bool, dedicated_image_disk: bool
) -> Step:
    """Return what to do now; after any step but ``WAIT`` the node is read anew, and asked again.

    Args:
        due: what the node is short of, the most urgent first.
        tried: steps of this round, which is over when nothing is due, or a pod was evicted.
        is_ending: whether a pod that was evicted has not ended yet.
        dedicated_image_disk: whether images are on a file system of their own.
    """
    if not due:
        return Step.NOTHING
    if is_ending:
        return Step.WAIT
    for step in _reclaims(due[0].threshold.signal, dedicated_image_disk=dedicated_image_disk):
        if step not in tried:
            return step
    return Step.EVICT


def choose(
    shortage: Shortage, pods: Iterable[Object], usages: Usages, *, dedicated_image_disk: bool
) -> Eviction | None:
    """Return the pod to evict; None if there is none that may be.

    Static pods and critical ones never are. A soft threshold leaves the pod its own grace.

    Args:
        shortage: what has to be relieved.
        pods: that run on this node.
        usages: of these.
        dedicated_image_disk: whether images are on a file system of their own.
    """
    signal = shortage.threshold.signal
    candidates = [pod for pod in pods if not (is_critical(pod) or is_over(pod) or is_deleting(pod))]
    if not candidates:
        return None

    def order(pod: Object) -> tuple[float, ...]:
        return _order(signal, pod, usages.get(uid_of(pod)), dedicated=dedicated_image_disk)

    pod = min(candidates, key=order)
    is_hard = shortage.threshold.grace_s == 0
    grace_s = float(MIN_GRACE_S) if is_hard else grace_s_of(pod)
    return Eviction(pod, _message(shortage, pod, usages.get(uid_of(pod))), grace_s)


def refuse(pod: Object, pressures: Sequence[Pressure]) -> str | None:
    """Return why a node under pressure does not let a new pod in; None if it does.

    A pod that has been on this node before is none: a cold boot on a full disk brings it back.

    Args:
        pod: that is to start.
        pressures: of the node, in their order.
    """
    if not pressures or is_critical(pod) or (pod.get("status") or {}).get("startTime"):
        return None
    if list(pressures) == [Pressure.MEMORY] and not _is_first_to_go(pod):
        return None
    return f"The node had condition: [{' '.join(pressures)}]."


def _is_first_to_go(pod: Object) -> bool:
    """Whether the pod is not to be started when memory is short."""
    try:
        if qos_class(pod) is not QoSClass.BEST_EFFORT:
            return False
    except SpecError:
        return False  # which others refuse in words of their own
    return not is_tolerated(pod, _MEMORY_TAINT)


def _reclaims(signal: Signal, *, dedicated_image_disk: bool) -> tuple[Step, ...]:
    """Return what may relieve a shortage without hurting anybody."""
    if signal in {Signal.MEMORY, Signal.PIDS}:
        return ()
    if dedicated_image_disk and signal not in _OF_IMAGES:
        return ()  # neither containers nor images are on the disk of volumes and logs
    return Step.REMOVE_CONTAINERS, Step.REMOVE_IMAGES


def _order(
    signal: Signal, pod: Object, usage: PodUsage | None, *, dedicated: bool
) -> tuple[float, ...]:
    """Return what pods are sorted by: the first one goes."""
    priority = int(spec_of(pod).get("priority") or 0)
    is_known = usage is not None
    if signal is Signal.PIDS:
        return priority, is_known, -usage.processes if usage else 0
    if usage is None:
        return False, 0, priority, 0
    used = _used(signal, usage, dedicated=dedicated)
    over = used - _requested(signal, pod)
    return True, over <= 0, priority, -over


def _used(signal: Signal, usage: PodUsage, *, dedicated: bool) -> int:
    """Return what a pod takes of what is short."""
    if signal is Signal.MEMORY:
        return sum(c.memory_working_set for c in usage.containers)
    is_counted = signal in _COUNTED
    layers = sum(c.rootfs_inodes if is_counted else c.rootfs_used for c in usage.containers)
    others = usage.volumes_inodes if is_counted else usage.volumes + sum(usage.logs.values())
    if not dedicated:
        return layers + others
    return layers if signal in _OF_IMAGES else others


def _requested(signal: Signal, pod: Object) -> int:
    if signal in _COUNTED:
        return 0
    try:
        return whole(pod_requests(pod).get(_RESOURCES[signal]))
    except SpecError:
        return 0


def _message(shortage: Shortage, pod: Object, usage: PodUsage | None) -> str:
    """Return why the pod was evicted, in kubelet's words."""
    threshold, reading = shortage.threshold, shortage.reading
    resource = _RESOURCES[threshold.signal]
    least = threshold.text if threshold.amount else _binary(threshold.least(reading.capacity))
    text = _decimal if threshold.signal in _COUNTED else _binary
    parts = [
        f"The node was low on resource: {resource}.",
        f"Threshold quantity: {least}, available: {text(reading.available)}.",
    ]
    for container, used in _used_by_container(resource, usage):
        requested = _container_request(pod, container, resource)
        if used > requested:
            parts.append(
                f"Container {container} was using {_binary(used)}, request is "
                f"{_binary(requested)}, has larger consumption of {resource}."
            )
    return " ".join(parts)


def _used_by_container(resource: str, usage: PodUsage | None) -> list[tuple[str, int]]:
    if usage is None:
        return []
    match resource:
        case "memory":
            return [(c.name, c.memory_working_set) for c in usage.containers]
        case "ephemeral-storage":
            return [(c.name, c.rootfs_used + usage.logs.get(c.name, 0)) for c in usage.containers]
    return []


def _container_request(pod: Object, name: str, resource: str) -> int:
    for container in (*containers_of(pod), *init_containers_of(pod)):
        if container.get("name") == name:
            try:
                return whole(container_amounts(container, Kind.REQUESTS).get(resource))
            except SpecError:
                return 0
    return 0


def _binary(number: int) -> str:
    """Return a number of bytes as a quantity: ``100Mi``."""
    return _quantity(number, 1024, _BINARY) if number >= 1024 else _decimal(number)


def _decimal(number: int) -> str:
    """Return a number of things as a quantity: ``5k``."""
    return _quantity(number, 1000, _DECIMAL)


def _quantity(number: int, base: int, suffixes: Sequence[str]) -> str:
    """Return the shortest exact form."""
    power = 0
    while number and number % base == 0 and power < len(suffixes) - 1:
        number, power = number // base, power + 1
    return f"{number}{suffixes[power]}"
