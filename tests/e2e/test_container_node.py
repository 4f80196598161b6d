"""A node with real containers: what it says of itself, on loopback too, its limits and its logs.

Real: control plane, cloudcore, edgecore, containerd and what the kernel counts. The machine is
short of nothing: thresholds say that it were. Where logs are rotated, the test says when.
"""

import asyncio
import gzip
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from common.clock import Clock
from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.ports import free_ports
from deploy.devcluster.sandboxes import remove_sandboxes
from deploy.devcluster.site import log_lines, name_of, until
from edgecore.edged.local.logread import LogOptions, log_files, read_log
from edgecore.edged.local.logrotate import LogLimits, LogRotator
from edgecore.edged.runtime.cri.runtime import CriRuntime
from tests.e2e.conftest import Join
from tests.e2e.podchecks import OBEY, Place, conditions
from tests.edgecore.edged.runtime.cri.engines import Pod

TAKEN_MIB = 24
LOG_BYTES = 64 * 1024
ROTATIONS = 4
EVICTED_S = 120


async def test_a_node_tells_the_cloud_and_those_on_loopback_what_it_is_and_runs(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str
) -> None:
    del container_engine
    address = f"127.0.0.1:{free_ports(1)[0]}"
    place = Place(
        api, await join(runtime="cri", options=(f"--local-address={address}",)), namespace
    )
    await place.create(
        place.pod(
            "web",
            f"for i in 1 2 3; do echo line $i; done; {OBEY}",
            container={"resources": {"requests": {"memory": "16Mi"}}},
        )
    )
    found = await place.ready("web")
    await until(lambda: len(log_lines(place.edge.daemon.data_dir, found)) == 3, "it has printed")
    await node_is_complete(api, place, int(address.rpartition(":")[2]))

    token = (place.edge.daemon.data_dir / "local-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"http://{address}") as session:

        async def ask(path: str, method: str = "GET") -> Any:
            async with session.request(method, path, headers=headers) as response:
                assert response.status == 200, await response.text()
                is_json = response.content_type == "application/json"
                return await (response.json() if is_json else response.text())

        async with session.get("/healthz") as open_to_all:
            assert await open_to_all.text() == "ok\n"
        for path in ("/pods", "/stats/summary", "/metrics/resource"):
            async with session.get(path) as refused:
                assert refused.status == 401
        [shown] = (await ask("/pods"))["items"]
        assert (name_of(shown), shown["status"]["phase"]) == ("web", "Running")
        summary = await ask("/stats/summary")
        [stats] = summary["pods"]
        assert summary["node"]["nodeName"] == place.node
        assert stats["podRef"]["uid"] == found["metadata"]["uid"]
        assert stats["containers"][0]["memory"]["workingSetBytes"] > 0
        metrics = await ask("/metrics/resource")
        labels = f'container="c",namespace="{namespace}",pod="web"'
        assert f"container_memory_working_set_bytes{{{labels}}}" in metrics
        logs, run = f"/containerLogs/{namespace}/web/c", f"/exec/{namespace}/web/c"
        assert await ask(logs) == "line 1\nline 2\nline 3\n"
        assert await ask(f"{logs}?tailLines=1") == "line 3\n"
        answer = await ask(f"{run}?command=sh&command=-c&command=hostname;exit+3", "POST")
        assert answer == {"exitCode": 3, "output": "web\n"}


async def node_is_complete(api: Api, place: Place, port: int) -> None:
    """See that the Node says all that a kubelet's does."""

    def knows_images(node: Object | None) -> bool:
        return bool(node and node["status"].get("images"))

    node = await api.wait(f"/api/v1/nodes/{place.node}", knows_images, "it tells of its images")
    assert node is not None
    status = node["status"]
    assert status["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == port
    assert conditions(node) == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    names = {name for image in status["images"] for name in image["names"]}
    assert "docker.io/library/busybox:latest" in names
    assert len(status["images"]) <= 50
    assert {"cpu", "memory", "ephemeral-storage", "pods"} <= status["capacity"].keys()
    assert status["allocatable"].keys() == status["capacity"].keys()
    # What may not be used up is not given away.
    capacity, allocatable = (int(status[k]["memory"][:-2]) for k in ("capacity", "allocatable"))
    assert capacity - allocatable == 50 * 1024


async def test_a_node_that_is_short_of_disk_says_so_and_refuses_pods_but_critical_ones(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str
) -> None:
    del container_engine
    short = ("--eviction-hard=nodefs.available<1Pi",)
    place = Place(api, await join(runtime="cri", options=short), namespace)
    node = f"/api/v1/nodes/{place.node}"

    def is_short(found: Object | None) -> bool:
        return found is not None and conditions(found)["DiskPressure"] == "True"

    await api.wait(node, is_short, "the node is short of disk")
    await place.create(
        place.pod("ordinary", OBEY),
        place.pod("critical", OBEY, priorityClassName="system-node-critical"),
    )
    refused = await place.ended("ordinary", "Failed")
    assert refused["status"]["reason"] == "Evicted"
    words = "Pod was rejected: The node had condition: [DiskPressure]."
    assert refused["status"]["message"].strip() == words
    await place.event(refused, "Evicted", "The node had condition: [DiskPressure].")
    await place.ready("critical")


async def test_a_node_that_is_short_of_memory_gives_up_the_pod_that_takes_more_than_it_asked_for(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str
) -> None:
    del container_engine
    # The grace leaves time for all pods to start: one of which nothing is known would go first.
    short = ("--eviction-soft=memory.available<1Pi", "--eviction-soft-grace=memory.available=40s")
    place = Place(api, await join(runtime="cri", options=short), namespace)

    def taker(name: str, request: str, **spec: object) -> Object:
        container = {
            "resources": {"requests": {"memory": request}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }
        volumes = [{"name": "v", "emptyDir": {"medium": "Memory"}}]
        take = f"dd if=/dev/zero of=/v/x bs=1M count={TAKEN_MIB} 2>&1; {OBEY}"
        return place.pod(name, take, container=container, volumes=volumes, **spec)

    version = await api.version(place.pods)
    critical = taker("critical", "1Mi", priorityClassName="system-node-critical")
    await place.create(taker("modest", "64Mi"), critical, taker("greedy", "1Mi"))
    for name in ("modest", "critical", "greedy"):
        await place.ready(name)

    # The next one would go ten seconds later: nothing makes this machine have what it wants.
    phases: dict[str, str] = {}
    async with asyncio.timeout(EVICTED_S), aclosing(api.follow(place.pods, version)) as states:
        async for greedy in states:
            phases[name_of(greedy)] = greedy["status"]["phase"]
            if phases.get("greedy") == "Failed":
                break
    assert phases == {"greedy": "Failed", "modest": "Running", "critical": "Running"}
    status = greedy["status"]
    assert status["reason"] == "Evicted"
    assert conditions(greedy)["DisruptionTarget"] == "True"
    low, threshold, used = status["message"].strip().split(". ")
    assert low == "The node was low on resource: memory"
    assert threshold.startswith("Threshold quantity: ")
    assert ", available: " in threshold
    assert used.startswith("Container c was using ")
    assert used.endswith(", request is 1Mi, has larger consumption of memory.")
    await place.event(greedy, "Evicted", "The node was low on resource: memory.")


async def test_logs_are_rotated_under_a_container_that_never_stops_and_not_a_line_is_lost(
    container_engine: ContainerEngine, tmp_path: Path
) -> None:
    runtime, pod = CriRuntime(container_engine.endpoint), Pod(tmp_path)
    (tmp_path / f"default_web_{pod.uid}").symlink_to(pod.log_dir)
    log = pod.log_dir / "c" / "0.log"
    rotator = LogRotator(runtime, Clock(), tmp_path, LogLimits(max_bytes=LOG_BYTES, max_files=9))
    count = "i=0; while :; do i=$((i+1)); echo line $i; done"
    container_id = await pod.run(runtime, "sh", "-c", count)
    for _ in range(ROTATIONS):
        await until(lambda: log.stat().st_size >= LOG_BYTES, "the log is too long")
        await rotator.rotate([await pod.seen(runtime)])
    await runtime.stop_container(container_id, 0)
    files = log_files(log)
    whole = b"".join(read_log(files, LogOptions())).decode()
    await runtime.close()
    await remove_sandboxes(container_engine.endpoint)

    assert [file.suffix == ".gz" for file in files] == [*[True] * (ROTATIONS - 1), False, False]
    assert gzip.decompress(files[0].read_bytes()).split(b"\n")[0].endswith(b" stdout F line 1")
    *lines, last = whole.splitlines()
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    # It was killed while it wrote: the engine may have read a part of its last line only.
    assert f"line {len(lines) + 1}".startswith(last)
