"""How fast and at what cost changes reach many edges.

Real API server, real wss; the edges are peers that acknowledge at once (see ``peers``). They live
in this process, and share two cores with cloudcore, the API server and etcd.
"""

import asyncio
import statistics
import time
from typing import Final

from benchmarks import objects
from benchmarks.figures import MIB, Figure, cpu_s, resident_bytes
from benchmarks.fleet import Fleet, delete_nodes, registered
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore

NODES: Final = 300
PODS_PER_NODE: Final = 3
UPDATES: Final = 20
BURST_NODES: Final = 100
BURST_CONFIGMAPS: Final = 20
BURSTS: Final = 10
TIMEOUT_S: Final = 60.0
_SETTLE_S: Final = 2.0
_ACKNOWLEDGED_S: Final = 0.05
NAMESPACE: Final = "bench"
_ACKNOWLEDGED: Final = "cloudcore_messages_acknowledged_total"
_POLL_S: Final = 0.005


async def measure(api: Api, cloud: CloudCore) -> list[Figure]:
    """Connect a fleet, deliver pods to it, and fan a ConfigMap out to all of it."""
    assert cloud.pid is not None
    await asyncio.sleep(_SETTLE_S)
    empty = resident_bytes(cloud.pid)
    figures = [Figure("cloudcore resident, empty", empty / MIB, "MiB", 100, "106 MiB")]
    async with await registered(api, cloud, NODES) as fleet:
        await asyncio.sleep(_SETTLE_S)
        each = (resident_bytes(cloud.pid) - empty) / NODES / 1024
        # Its own connections to the API server are in it; ``scale`` has the figure for thousands.
        figures.append(
            Figure("cloudcore resident, each of 300 nodes", each, "KiB", None, "175 KiB")
        )
        await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await api.create(objects.path(NAMESPACE, "configmaps"), objects.configmap(0))
        figures += await _first_delivery(api, cloud.pid, fleet)
        figures += await _fan_out(api, cloud.pid, fleet)
        figures += await _burst(api, cloud, fleet)
        await objects.delete(
            api,
            (
                objects.path(NAMESPACE, f"pods/{name}")
                for index in range(NODES)
                for name in _names_of(index)
            ),
        )
        await delete_nodes(api, fleet)
    return figures


async def _first_delivery(api: Api, pid: int, fleet: Fleet) -> list[Figure]:
    pods = {node: _names_of(index) for index, node in enumerate(fleet.nodes)}
    fleet.expect({n: [f"{NAMESPACE}/pod/{p}" for p in names] for n, names in pods.items()})
    used = cpu_s(pid)
    start = time.monotonic()
    await objects.create_pods(api, NAMESPACE, [(n, p) for n, names in pods.items() for p in names])
    created = time.monotonic()
    last = await fleet.arrive(TIMEOUT_S)
    count = NODES * PODS_PER_NODE
    return [
        Figure(f"{count} pods: all created after", created - start, "s", None, "1.0 s"),
        Figure(
            f"{count} pods: last delivered after the last create",
            max(0.0, last - created),
            "s",
            0.3,
            "7.1 s",
        ),
        Figure(
            "first delivery: CPU of cloudcore a pod",
            (cpu_s(pid) - used) / count * 1e6,
            "µs",
            None,
            "3,400 µs",
        ),
    ]


async def _fan_out(api: Api, pid: int, fleet: Fleet) -> list[Figure]:
    resource = f"{NAMESPACE}/configmap/{objects.CONFIGMAP}"
    path = objects.path(NAMESPACE, f"configmaps/{objects.CONFIGMAP}")
    latencies = []
    used = 0.0
    for number in range(UPDATES):
        fleet.expect({node: [resource] for node in fleet.nodes})
        before = cpu_s(pid)
        start = time.monotonic()
        await api.replace(path, objects.configmap(number + 1))
        latencies.append((await fleet.arrive(TIMEOUT_S) - start) * 1000)
        # The acknowledgements of the last messages are still to be read.
        await asyncio.sleep(_ACKNOWLEDGED_S)
        used += cpu_s(pid) - before
    each = used / (UPDATES * NODES) * 1e6
    return [
        Figure(
            f"a changed ConfigMap at {NODES} edges: the last one (median of {UPDATES})",
            statistics.median(latencies),
            "ms",
            25,
            "109 ms",
        ),
        Figure("the same: worst", max(latencies), "ms"),
        Figure(
            "the same: CPU of cloudcore, delivered and acknowledged",
            each,
            "µs",
            100,
            "1,500 µs",
        ),
    ]


async def _burst(api: Api, cloud: CloudCore, fleet: Fleet) -> list[Figure]:
    """Change many ConfigMaps at once, all of which many nodes need."""
    nodes = fleet.nodes[:BURST_NODES]
    names = [f"burst-{number}" for number in range(BURST_CONFIGMAPS)]
    fleet.expect({node: [f"{NAMESPACE}/pod/burst-{node}"] for node in nodes})
    for name in names:
        await api.create(objects.path(NAMESPACE, "configmaps"), objects.configmap(0, name))
    pods = [(node, f"burst-{node}") for node in nodes]
    await objects.create_pods(api, NAMESPACE, pods, names)
    await fleet.arrive(TIMEOUT_S)
    await asyncio.sleep(_SETTLE_S)
    rounds = [await _one_burst(api, cloud, fleet, names, number) for number in range(BURSTS)]
    await objects.delete(api, (objects.path(NAMESPACE, f"pods/{name}") for _, name in pods))
    what = f"{BURST_CONFIGMAPS} ConfigMaps changed at once for {BURST_NODES} edges"
    return [
        Figure(
            f"{what}: delivered and acknowledged (median of {BURSTS})",
            statistics.median(rate for rate, _, _ in rounds),
            "/s",
            5000,
            "91/s",
            at_least=True,
        ),
        Figure(
            "the same, without the time until the API server has taken the first change",
            statistics.median(rate for _, rate, _ in rounds),
            "/s",
        ),
        Figure(
            "the same: CPU of cloudcore each",
            statistics.mean(cpu for _, _, cpu in rounds) * 1e6,
            "µs",
            100,
            "4,100 µs",
        ),
    ]


async def _one_burst(
    api: Api, cloud: CloudCore, fleet: Fleet, names: list[str], number: int
) -> tuple[float, float, float]:
    """Return messages a second from the first PUT's start, from its answer, and CPU of each."""
    assert cloud.pid is not None
    count = BURST_NODES * len(names)
    resources = [f"{NAMESPACE}/configmap/{name}" for name in names]
    fleet.expect(dict.fromkeys(fleet.nodes[:BURST_NODES], resources))
    acknowledged = await cloud.metric(_ACKNOWLEDGED)
    used = cpu_s(cloud.pid)
    answered: list[float] = []

    async def change(name: str) -> None:
        path = objects.path(NAMESPACE, f"configmaps/{name}")
        await api.replace(path, objects.configmap(number + 1, name))
        answered.append(time.monotonic())

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(change(name))
    await fleet.arrive(TIMEOUT_S)
    async with asyncio.timeout(TIMEOUT_S):
        while await cloud.metric(_ACKNOWLEDGED) < acknowledged + count:  # noqa: ASYNC110 - not ours
            await asyncio.sleep(_POLL_S)
    end = time.monotonic()
    return count / (end - start), count / (end - answered[0]), (cpu_s(cloud.pid) - used) / count


def _names_of(index: int) -> list[str]:
    return [f"pod-{index}-{number}" for number in range(PODS_PER_NODE)]
