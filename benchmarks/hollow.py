"""How fast and at what cost a change reaches many real edges, all in one process.

A hollow edge is edgecore with all its modules, and a runtime that runs nothing: each has a
connection, an edge-store of its own and waits for the disk before it acknowledges. They share one
interpreter, and the machine with cloudcore and the API server: what they need is the larger part.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks import objects
from benchmarks.figures import Figure, cpu_s, resident_bytes
from common.names import NodeID
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore, Daemon
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.site import until_metric

EDGES: Final = 300
UPDATES: Final = 20
NAMESPACE: Final = "bench-hollow"
_PREFIX: Final = "hollow"
_CONNECTED: Final = "cloudcore_connected_nodes"
_ACKNOWLEDGED: Final = "cloudcore_messages_acknowledged_total"
_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.01  # a poll costs cloudcore a millisecond or two
_SETTLE_S: Final = 3.0


async def measure(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    """Join hollow edges with one token, give each a pod, and fan a ConfigMap out to all."""
    token_file = folder / "hollow.token"
    token_file.write_text(await cloud.token())
    async with _running(cloud, folder, "one", 1, token_file) as edge:
        await until_metric(cloud, _CONNECTED, 1)
        await asyncio.sleep(_SETTLE_S)
        single = resident_bytes(_pid(edge))
    start = time.monotonic()
    async with _running(cloud, folder, _PREFIX, EDGES, token_file) as edges:
        await until_metric(cloud, _CONNECTED, EDGES, timeout_s=_TIMEOUT_S)
        joined = time.monotonic() - start
        await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await api.create(objects.path(NAMESPACE, "configmaps"), objects.configmap(0))
        await objects.create_pods(api, NAMESPACE, [(node, node) for node in _nodes()])
        await _quiet(cloud)
        figures = [
            Figure(f"{EDGES} hollow edges: enrolled and connected after", joined, "s"),
            *await _fan_out(api, cloud, edges),
        ]
        each = (resident_bytes(_pid(edges)) - single) / (EDGES - 1) / 1024
        figures.append(Figure("edgecore resident, another hollow edge with a pod", each, "KiB"))
        await objects.delete(api, (objects.path(NAMESPACE, f"pods/{node}") for node in _nodes()))
    await objects.delete(api, (f"/api/v1/nodes/{node}" for node in [*_nodes(), "one-0"]))
    return figures


async def _fan_out(api: Api, cloud: CloudCore, edges: Daemon) -> list[Figure]:
    latencies = []
    used = 0.0
    for number in range(UPDATES):
        before = await cloud.metric(_ACKNOWLEDGED)
        used_before = cpu_s(_pid(edges))
        start = time.monotonic()
        await api.replace(
            objects.path(NAMESPACE, f"configmaps/{objects.CONFIGMAP}"),
            objects.configmap(number + 1),
        )
        await _acknowledged(cloud, before + EDGES)
        latencies.append((time.monotonic() - start) * 1000)
        used += cpu_s(_pid(edges)) - used_before
    return [
        Figure(
            f"a changed ConfigMap durable at {EDGES} hollow edges, all acknowledged"
            f" (median of {UPDATES})",
            statistics.median(latencies),
            "ms",
        ),
        Figure("the same: worst", max(latencies), "ms"),
        Figure(
            "the same: CPU of edgecore, received, stored and acknowledged",
            used / (UPDATES * EDGES) * 1e6,
            "µs",
        ),
    ]


async def _acknowledged(cloud: CloudCore, count: float) -> None:
    async with asyncio.timeout(_TIMEOUT_S):
        while await cloud.metric(_ACKNOWLEDGED) < count:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(_POLL_S)


async def _quiet(cloud: CloudCore) -> None:
    """Return when nothing was acknowledged for some seconds: all pods run, and all know it."""
    before = -1.0
    async with asyncio.timeout(_TIMEOUT_S):
        while (now := await cloud.metric(_ACKNOWLEDGED)) != before:
            before = now
            await asyncio.sleep(_SETTLE_S)


@asynccontextmanager
async def _running(
    cloud: CloudCore, folder: Path, prefix: str, count: int, token_file: Path
) -> AsyncIterator[Daemon]:
    data_dir = folder / prefix
    data_dir.mkdir()
    edges = Daemon(
        "edgecore hollow",
        [
            "edgecore",
            "hollow",
            f"--count={count}",
            f"--node-name-prefix={prefix}",
            f"--cloud={LOOPBACK}",
            f"--websocket-port={cloud.websocket_port}",
            f"--https-port={cloud.https_port}",
            f"--token-file={token_file}",
        ],
        data_dir,
    )
    try:
        await edges.start()
        yield edges
        await edges.stop()
    finally:
        edges.kill()


def _nodes() -> list[NodeID]:
    return [NodeID(f"{_PREFIX}-{number}") for number in range(EDGES)]


def _pid(edges: Daemon) -> int:
    assert edges.pid is not None
    return edges.pid
