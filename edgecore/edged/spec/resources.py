"""What the kernel is told of a pod's and a container's resources, and where its cgroup is. Pure.

Source: Kubernetes pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/cm/cgroup_manager_linux.go and
pkg/kubelet/kuberuntime/kuberuntime_container_linux.go.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from edgecore.edged.podview import Object, uid_of
from edgecore.edged.runtime.spec import LinuxResources
from edgecore.edged.spec.amounts import (
    COMPUTE,
    Kind,
    beside_each,
    container_amounts,
    milli,
    parsed,
    pod_level_amounts,
    pod_limits,
    pod_requests,
    whole,
)
from edgecore.edged.spec.cgroupdriver import CgroupDriver
from edgecore.edged.spec.qos import QoSClass, oom_score_adj, qos_class

MIN_SHARES: Final = 2
MAX_SHARES: Final = 262_144
PERIOD_US: Final = 100_000

_MIN_QUOTA_US: Final = 1000


class CgroupLimits(NamedTuple):
    """What a cgroup of several containers is set to; 0 leaves the kernel's default."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    """Per ``PERIOD_US``."""
    memory_bytes: int = 0


def linux_resources(pod: Object, container: Object, node_memory_bytes: int) -> LinuxResources:
    """Return what ``container`` may take.

    Args:
        pod: decides the class, and the limits where the container has none and the pod has.
        container: one of the pod's.
        node_memory_bytes: all memory of the machine, more than 0.

    Raises:
        SpecError: a quantity that is none.
    """
    requests = container_amounts(container, Kind.REQUESTS)
    limits = container_amounts(container, Kind.LIMITS)
    level = pod_level_amounts(pod, Kind.LIMITS)
    cpu_limit = limits.get("cpu") or level.get("cpu")
    memory_limit = limits.get("memory") or level.get("memory")
    return LinuxResources(
        cpu_shares=shares(milli(requests.get("cpu", cpu_limit))),
        cpu_quota_us=quota_us(milli(cpu_limit)),
        cpu_period_us=PERIOD_US,
        memory_limit_bytes=whole(memory_limit),
        oom_score_adj=oom_score_adj(pod, container, node_memory_bytes),
    )


def pod_cgroup_limits(pod: Object) -> CgroupLimits:
    """Return what the cgroup of ``pod`` is set to.

    Raises:
        SpecError: a quantity that is none.
    """
    if qos_class(pod) is QoSClass.BEST_EFFORT:
        return CgroupLimits(MIN_SHARES)
    limits, level = pod_limits(pod), pod_level_amounts(pod, Kind.LIMITS)
    parts = beside_each(pod, Kind.LIMITS)
    # Where one container may take what it likes, so may the pod.
    limited = {name for name in COMPUTE if level.get(name) or all(p.get(name) for p in parts)}
    return CgroupLimits(
        shares(milli(pod_requests(pod).get("cpu"))),
        quota_us(milli(limits.get("cpu"))) if "cpu" in limited else 0,
        whole(limits.get("memory")) if "memory" in limited else 0,
    )


def burstable_cgroup_limits(pods: Iterable[Object]) -> CgroupLimits:
    """Return what the cgroup is set to in which the burstable ones of ``pods`` live.

    Raises:
        SpecError: a quantity that is none.
    """
    burstable = (pod for pod in pods if qos_class(pod) is QoSClass.BURSTABLE)
    return CgroupLimits(shares(sum(milli(pod_requests(pod).get("cpu")) for pod in burstable)))


def node_cgroup_limits(allocatable: Mapping[str, str]) -> CgroupLimits:
    """Return what the cgroup of all pods is set to, from what the node gives to pods.

    Raises:
        SpecError: a quantity that is none.
    """
    amounts = parsed(allocatable)
    cpu_shares = shares(milli(amounts.get("cpu")))
    return CgroupLimits(cpu_shares, memory_bytes=whole(amounts.get("memory")))


def cgroup_parent(pod: Object, driver: CgroupDriver, root: str = "") -> str:
    """Return the path of the pod's cgroup below the mount of a hierarchy, as ``/kubepods/…``.

    Args:
        pod: with its UID.
        driver: the runtime's.
        root: name of the cgroup in which that of all pods lies, as kubelet's ``--cgroup-root``;
            empty for the topmost.

    Raises:
        SpecError: a quantity that is none.
    """
    qos = qos_class(pod)
    names = [root] if root else []
    names += ["kubepods"] if qos is QoSClass.GUARANTEED else ["kubepods", qos.lower()]
    return cgroup_path([*names, f"pod{uid_of(pod)}"], driver)


def cgroup_path(names: list[str], driver: CgroupDriver) -> str:
    """Return the path of a cgroup from the names on the way to it.

    systemd's slices are named by all their parents; a dash would be one more of them.
    """
    if driver is CgroupDriver.SYSTEMD:
        plain = [name.replace("-", "_") for name in names]
        names = [f"{'-'.join(plain[: i + 1])}.slice" for i in range(len(plain))]
    return "/" + "/".join(names)


def shares(millicpu: int) -> int:
    """Return the CPU shares (cgroup v1) that stand for so many thousandths of a core."""
    return min(max(millicpu * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def weight(cpu_shares: int) -> int:
    """Return the CPU weight (cgroup v2, 1 to 10000) that stands for so many shares, 2 and up."""
    return min(1 + (cpu_shares - MIN_SHARES) * 9999 // 262_142, 10_000)


def quota_us(millicpu: int) -> int:
    """Return the CPU time per ``PERIOD_US`` for so many thousandths of a core; 0 for no limit."""
    return max(millicpu * PERIOD_US // 1000, _MIN_QUOTA_US) if millicpu else 0
