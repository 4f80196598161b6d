"""What node, pods and containers take, as a kubelet tells it in ``/stats/summary``. Pure.

Source: Kubernetes staging/src/k8s.io/kubelet/pkg/apis/stats/v1alpha1/types.go.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from msgspec import Struct, field

from common.clock import rfc3339
from common.names import UID
from edgecore.edged.runtime.base import ContainerState, ContainerStats, PodObservation, PodStats

_RATE_OVER: Final = timedelta(seconds=5)
"""A rate over less time would say more of the moment than of the container."""

Starts: TypeAlias = Mapping[tuple[UID, str], datetime]
"""When the running containers of pods were started, by the pod's UID and the container's name."""


class FilesystemStats(Struct, frozen=True):
    """A file system; ``used`` and ``inodes_used`` may be the part that is edged's only."""

    available: int
    capacity: int
    used: int
    inodes_free: int
    inodes: int
    inodes_used: int


class NodeStats(Struct, frozen=True):
    """What all of the machine takes at one moment. Sizes in bytes."""

    at: datetime
    booted_at: datetime
    cpu_core_ns: int
    """CPU time of all processors since the machine was booted."""
    memory_available: int
    memory_usage: int
    memory_working_set: int
    memory_rss: int
    max_pids: int
    processes: int
    filesystem: FilesystemStats
    """That of volumes and logs."""
    image_filesystem: FilesystemStats | None = None


class Sample(Struct, frozen=True):
    """What everything took at one moment."""

    node: NodeStats
    pods: tuple[PodStats, ...] = ()
    starts: Starts = field(default_factory=dict)


class Samples(Struct, frozen=True):
    """Samples that were taken before: what rates are made of."""

    older: Sample | None = None
    newer: Sample | None = None

    def add(self, sample: Sample) -> "Samples":
        """Return what to keep after ``sample`` was taken."""
        if self.newer is None or _is_far(self.newer, sample):
            return Samples(self.newer, sample)
        return self

    def before(self, sample: Sample) -> Sample | None:
        """Return the sample to compare ``sample`` with; None while there is none."""
        kept = (one for one in (self.newer, self.older) if one is not None)
        return next((one for one in kept if _is_far(one, sample)), None)


def _is_far(one: Sample, other: Sample) -> bool:
    # In either direction: what the clock was set back from serves nobody any more.
    return abs(other.node.at - one.node.at) >= _RATE_OVER


def starts_of(observations: Iterable[PodObservation]) -> Starts:
    """Return when the containers were started that run now."""
    return {
        (pod.uid, container.name): container.started_at
        for pod in observations
        for container in pod.containers
        if container.state is ContainerState.RUNNING and container.started_at is not None
    }


def summary(node_name: str, sample: Sample, before: Sample | None) -> dict[str, Any]:
    """Return the ``Summary`` of a kubelet.

    Args:
        node_name: of this node.
        sample: what to tell.
        before: an older sample for the rates; without one they are left out.
    """
    older = {
        (pod.uid, container.name): container
        for pod in (before.pods if before else ())
        for container in pod.containers
    }
    return {
        "node": _node(node_name, sample.node, before.node if before else None),
        "pods": [_pod(pod, sample, older) for pod in sample.pods],
    }


def _node(name: str, now: NodeStats, before: NodeStats | None) -> dict[str, Any]:
    at = rfc3339(now.at)
    rate = _rate(now.at, now.cpu_core_ns, (before.at, before.cpu_core_ns) if before else None)
    made = {
        "nodeName": name,
        "startTime": rfc3339(now.booted_at),
        "cpu": _cpu(at, now.cpu_core_ns, rate),
        "memory": {
            "time": at,
            "availableBytes": now.memory_available,
            "usageBytes": now.memory_usage,
            "workingSetBytes": now.memory_working_set,
            "rssBytes": now.memory_rss,
        },
        "fs": _filesystem(at, now.filesystem),
        "rlimit": {"time": at, "maxpid": now.max_pids, "curproc": now.processes},
    }
    if now.image_filesystem is not None:
        images = _filesystem(at, now.image_filesystem)
        made["runtime"] = {"imageFs": images, "containerFs": images}
    return made


def _pod(
    pod: PodStats, sample: Sample, older: Mapping[tuple[UID, str], ContainerStats]
) -> dict[str, Any]:
    at = rfc3339(max((c.at for c in pod.containers), default=sample.node.at))
    rates = {c.name: _container_rate(c, older.get((pod.uid, c.name))) for c in pod.containers}
    known = [rate for rate in rates.values() if rate is not None]
    starts = {c.name: sample.starts.get((pod.uid, c.name), c.at) for c in pod.containers}
    cpu = sum(c.cpu_core_ns for c in pod.containers)
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": rfc3339(min(starts.values(), default=sample.node.at)),
        "containers": [
            _container(c, sample.node.filesystem, starts[c.name], rates[c.name])
            for c in pod.containers
        ],
        "cpu": _cpu(at, cpu, sum(known) if len(known) == len(rates) else None),
        "memory": {
            "time": at,
            "workingSetBytes": sum(c.memory_working_set for c in pod.containers),
        },
    }


def _container(
    container: ContainerStats, disk: FilesystemStats, started: datetime, rate: int | None
) -> dict[str, Any]:
    at = rfc3339(container.at)
    return {
        "name": container.name,
        "startTime": rfc3339(started),
        "cpu": _cpu(at, container.cpu_core_ns, rate),
        "memory": {"time": at, "workingSetBytes": container.memory_working_set},
        "rootfs": {
            "time": at,
            "availableBytes": disk.available,
            "capacityBytes": disk.capacity,
            "usedBytes": container.rootfs_used,
            "inodesFree": disk.inodes_free,
            "inodes": disk.inodes,
            "inodesUsed": container.rootfs_inodes,
        },
    }


def _container_rate(now: ContainerStats, before: ContainerStats | None) -> int | None:
    return _rate(now.at, now.cpu_core_ns, (before.at, before.cpu_core_ns) if before else None)


def _rate(at: datetime, cpu_ns: int, before: tuple[datetime, int] | None) -> int | None:
    """Return the CPU time taken a second; None if the clock or the container began anew."""
    if before is None or before[0] >= at or before[1] > cpu_ns:
        return None
    return round((cpu_ns - before[1]) / (at - before[0]).total_seconds())


def _cpu(at: str, cpu_ns: int, rate: int | None) -> dict[str, Any]:
    rates = {} if rate is None else {"usageNanoCores": rate}
    return {"time": at, **rates, "usageCoreNanoSeconds": cpu_ns}


def _filesystem(at: str, disk: FilesystemStats) -> dict[str, Any]:
    return {
        "time": at,
        "availableBytes": disk.available,
        "capacityBytes": disk.capacity,
        "usedBytes": disk.used,
        "inodesFree": disk.inodes_free,
        "inodes": disk.inodes,
        "inodesUsed": disk.inodes_used,
    }
