"""What the kernel is told: pure, nothing faked. The values were worked out from the formulas."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.runtime.spec import LinuxResources
from edgecore.edged.spec.cgroupdriver import CgroupDriver
from edgecore.edged.spec.resources import (
    CgroupLimits,
    burstable_cgroup_limits,
    cgroup_parent,
    linux_resources,
    node_cgroup_limits,
    pod_cgroup_limits,
    quota_us,
    shares,
    weight,
)
from tests.edgecore.edged.world import container, pod_object

MEMORY = 8_000_000_000
UID = "11-22"


def with_class(qos: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    pod = pod_object("web", UID, containers=list(containers) or [container("c")], **spec)
    pod["status"] = {"qosClass": qos}
    return pod


def sized(**resources: dict[str, str]) -> dict[str, Any]:
    return container("c", resources=resources)


@pytest.mark.parametrize(
    ("millicpu", "share", "quota"),
    [
        (0, 2, 0),
        (1, 2, 1000),
        (2, 2, 1000),
        (3, 3, 1000),
        (10, 10, 1000),
        (11, 11, 1100),
        (100, 102, 10_000),
        (1000, 1024, 100_000),
        (2500, 2560, 250_000),
        (300_000, 262_144, 30_000_000),
    ],
)
def test_cores_become_shares_and_a_quota(millicpu: int, share: int, quota: int) -> None:
    assert (shares(millicpu), quota_us(millicpu)) == (share, quota)


@pytest.mark.parametrize(
    ("share", "weighs"), [(2, 1), (102, 4), (1024, 39), (262_144, 10_000), (999_999, 10_000)]
)
def test_shares_become_a_weight(share: int, weighs: int) -> None:
    assert weight(share) == weighs


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_cpu_never_counts_less_and_stays_in_the_kernels_bounds(one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert 2 <= shares(less) <= shares(more) <= 262_144
    assert 1 <= weight(shares(less)) <= weight(shares(more)) <= 10_000
    assert quota_us(less) <= quota_us(more)


@pytest.mark.parametrize(
    ("made", "level", "cpu_shares", "quota", "memory"),
    [
        (sized(), None, 2, 0, 0),
        (sized(requests={"cpu": "250m"}), None, 256, 0, 0),
        (sized(limits={"cpu": "500m", "memory": "64Mi"}), None, 512, 50_000, 64 << 20),
        (sized(requests={"cpu": "0"}, limits={"cpu": "1"}), None, 2, 100_000, 0),
        (sized(), {"cpu": "2", "memory": "1Gi"}, 2048, 200_000, 1 << 30),
        (sized(requests={"cpu": "1"}), {"cpu": "2"}, 1024, 200_000, 0),
        (sized(limits={"cpu": "1"}), {"cpu": "2", "memory": "1Gi"}, 1024, 100_000, 1 << 30),
    ],
)
def test_a_container_gets_its_own_limits_or_the_pods(
    made: dict[str, Any], level: dict[str, str] | None, cpu_shares: int, quota: int, memory: int
) -> None:
    resources = {"limits": level} if level else None
    pod = with_class("BestEffort", made, resources=resources)
    assert linux_resources(pod, made, MEMORY) == LinuxResources(
        cpu_shares, quota, 100_000, memory, oom_score_adj=1000
    )


BOTH = sized(limits={"cpu": "1", "memory": "1Ki"})
INIT = container("i", resources={"limits": {"cpu": "3", "memory": "4Ki"}})
SIDECAR = container("s", restartPolicy="Always", resources={"limits": {"cpu": "1"}})


@pytest.mark.parametrize(
    ("qos", "containers", "spec", "limits"),
    [
        ("BestEffort", [sized()], {}, CgroupLimits(2)),
        ("Guaranteed", [BOTH, BOTH], {}, CgroupLimits(2048, 200_000, 2048)),
        ("Guaranteed", [BOTH], {"initContainers": [INIT]}, CgroupLimits(3072, 300_000, 4096)),
        ("Burstable", [sized(requests={"cpu": "1"})], {}, CgroupLimits(1024)),
        ("Burstable", [BOTH, sized()], {}, CgroupLimits(1024)),
        ("Burstable", [BOTH, sized(limits={"cpu": "1"})], {}, CgroupLimits(2048, 200_000)),
        ("Burstable", [BOTH, sized(limits={"memory": "1Ki"})], {}, CgroupLimits(1024, 0, 2048)),
        ("Burstable", [BOTH], {"initContainers": [SIDECAR]}, CgroupLimits(2048, 200_000)),
        ("Burstable", [BOTH], {"overhead": {"cpu": "1"}}, CgroupLimits(2048, 200_000, 1024)),
        (
            "Burstable",
            [sized()],
            {"resources": {"limits": {"cpu": "2", "memory": "1Mi"}, "requests": {"cpu": "1"}}},
            CgroupLimits(1024, 200_000, 1 << 20),
        ),
    ],
)
def test_a_pods_cgroup_is_limited_where_all_its_containers_are(
    qos: str, containers: list[dict[str, Any]], spec: dict[str, Any], limits: CgroupLimits
) -> None:
    assert pod_cgroup_limits(with_class(qos, *containers, **spec)) == limits


def test_burstable_pods_share_what_they_ask_for_together() -> None:
    asking = with_class("Burstable", sized(requests={"cpu": "500m"}))
    pods = [asking, asking, with_class("Guaranteed", BOTH), with_class("BestEffort")]
    assert burstable_cgroup_limits(pods) == CgroupLimits(1024)
    assert burstable_cgroup_limits([]) == CgroupLimits(2)


def test_all_pods_together_get_what_the_node_gives_them() -> None:
    allocatable = {"cpu": "2", "memory": "4Gi", "pods": "110"}
    assert node_cgroup_limits(allocatable) == CgroupLimits(2048, 0, 4 << 30)


@pytest.mark.parametrize(
    ("qos", "driver", "root", "path"),
    [
        ("Guaranteed", "cgroupfs", "", "/kubepods/pod11-22"),
        ("Burstable", "cgroupfs", "", "/kubepods/burstable/pod11-22"),
        ("BestEffort", "cgroupfs", "edge", "/edge/kubepods/besteffort/pod11-22"),
        ("Guaranteed", "systemd", "", "/kubepods.slice/kubepods-pod11_22.slice"),
        (
            "Burstable",
            "systemd",
            "",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11_22.slice",
        ),
    ],
)
def test_a_pods_cgroup_is_where_kubelet_has_it(qos: str, driver: str, root: str, path: str) -> None:
    assert cgroup_parent(with_class(qos), CgroupDriver(driver), root) == path
