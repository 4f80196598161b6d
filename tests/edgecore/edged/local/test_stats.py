"""The summary of a kubelet. Nothing is faked; names are those of the Go types' JSON."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from common.names import UID
from edgecore.edged.local.stats import (
    FilesystemStats,
    NodeStats,
    Sample,
    Samples,
    starts_of,
    summary,
)
from edgecore.edged.runtime.base import (
    ContainerState,
    ContainerStats,
    ContainerStatus,
    PodObservation,
    PodStats,
)
from tests.edgecore.edged.bus import START

U = UID("uid")
DISK = FilesystemStats(1, 2, 3, 4, 5, 6)
FS = {
    "availableBytes": 1,
    "capacityBytes": 2,
    "usedBytes": 3,
    "inodesFree": 4,
    "inodes": 5,
    "inodesUsed": 6,
}


def sample(second: float = 0.0, cpu_s: float = 0.0, **containers: int) -> Sample:
    """What was taken at a second, with containers that took so many nanoseconds of CPU."""
    at = START + timedelta(seconds=second)
    node = NodeStats(
        at=at,
        booted_at=START - timedelta(days=1),
        cpu_core_ns=int(cpu_s * 10**9),
        memory_available=10,
        memory_usage=20,
        memory_working_set=30,
        memory_rss=40,
        max_pids=50,
        processes=60,
        filesystem=DISK,
    )
    made = tuple(ContainerStats(name, at, ns, 100, 7, 8) for name, ns in containers.items())
    return Sample(node, (PodStats(U, "default", "web", made),), {(U, "a"): START})


def test_the_node_is_told_with_all_that_is_known() -> None:
    made = summary("n1", sample(10, 5.0), sample(0, 1.0))["node"]
    at = "2026-11-24T00:00:10Z"
    assert made == {
        "nodeName": "n1",
        "startTime": "2026-11-23T00:00:00Z",
        "cpu": {"time": at, "usageNanoCores": 400_000_000, "usageCoreNanoSeconds": 5 * 10**9},
        "memory": {
            "time": at,
            "availableBytes": 10,
            "usageBytes": 20,
            "workingSetBytes": 30,
            "rssBytes": 40,
        },
        "fs": {"time": at, **FS},
        "rlimit": {"time": at, "maxpid": 50, "curproc": 60},
    }


def test_images_are_told_where_there_are_any() -> None:
    taken = sample()
    taken = replace(taken, node=replace(taken.node, image_filesystem=DISK))
    assert summary("n1", taken, None)["node"]["runtime"]["imageFs"]["usedBytes"] == 3


def test_a_pod_is_the_sum_of_its_containers() -> None:
    made: dict[str, Any]
    [made] = summary("n1", sample(10, a=4 * 10**9, b=10**9), sample(a=2 * 10**9, b=10**9))["pods"]
    assert made["podRef"] == {"name": "web", "namespace": "default", "uid": "uid"}
    assert made["startTime"] == "2026-11-24T00:00:00Z"
    assert made["cpu"]["usageCoreNanoSeconds"] == 5 * 10**9
    assert made["cpu"]["usageNanoCores"] == 2 * 10**8
    assert made["memory"]["workingSetBytes"] == 200
    [first, second] = made["containers"]
    assert (first["name"], first["startTime"]) == ("a", "2026-11-24T00:00:00Z")
    assert first["cpu"]["usageNanoCores"] == 2 * 10**8
    assert second["cpu"]["usageNanoCores"] == 0
    assert first["rootfs"]["usedBytes"] == 7
    assert first["rootfs"]["capacityBytes"] == 2


def test_a_rate_that_cannot_be_told_is_left_out() -> None:
    [pod] = summary("n1", sample(10, a=5, b=5), sample(a=9))["pods"]
    assert "usageNanoCores" not in pod["cpu"]
    assert all("usageNanoCores" not in one["cpu"] for one in pod["containers"])
    [pod] = summary("n1", sample(10, a=5), None)["pods"]
    assert "usageNanoCores" not in pod["cpu"]
    [pod] = summary("n1", sample(10, a=5), sample(10, a=1))["pods"]
    assert "usageNanoCores" not in pod["cpu"]


def test_a_pod_without_running_containers_takes_nothing() -> None:
    [pod] = summary("n1", sample(10), None)["pods"]
    assert pod["containers"] == []
    assert pod["cpu"] == {
        "time": "2026-11-24T00:00:10Z",
        "usageNanoCores": 0,
        "usageCoreNanoSeconds": 0,
    }


def test_rates_are_of_samples_that_are_far_enough_apart() -> None:
    kept = Samples()
    assert kept.before(sample(0)) is None
    kept = kept.add(sample(0))
    assert kept.before(sample(1)) is None
    kept = kept.add(sample(1))
    assert kept.before(sample(6)) == sample(0)
    kept = kept.add(sample(6))
    assert kept.before(sample(7)) == sample(0)
    assert kept.before(sample(11)) == sample(6)


def test_a_clock_that_was_set_back_stops_the_rates_for_a_while_only() -> None:
    kept = Samples().add(sample(0)).add(sample(1000))
    kept = kept.add(sample(100))
    assert kept.newer == sample(100)
    assert kept.before(sample(105)) == sample(100)


def test_starts_are_those_of_running_containers() -> None:
    running, ended = ContainerState.RUNNING, ContainerState.EXITED
    containers = (
        ContainerStatus("1", "c", 0, ended, "s", started_at=START - timedelta(days=1)),
        ContainerStatus("2", "c", 1, running, "s", started_at=START),
        ContainerStatus("3", "d", 0, running, "s"),
    )
    pod = PodObservation(U, "default", "web", "s", sandbox_ready=True, containers=containers)
    assert starts_of([pod]) == {(U, "c"): START}
