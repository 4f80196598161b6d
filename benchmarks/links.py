"""What bad links cost: 1 MiB over 64 kbit/s, with and without cuts, and a day of doing nothing.

Real: control plane, cloudcore, edgecores in networks of their own with TCP and TLS. Their wires are
real up to IP. Nothing compresses the content. The three are measured at the same time.
"""

import asyncio
import base64
import math
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import objects
from benchmarks.figures import MIB, Figure
from deploy.devcluster.api import Api, Object
from deploy.devcluster.daemons import CloudCore, total
from deploy.devcluster.shaper import Line
from deploy.devcluster.site import RemoteEdge, edge_behind_wire, is_ready

NAMESPACE: Final = "bench-links"
MODEM: Final = Line(delay_s=0.05, bits_per_s=64_000)
CONTENT_BYTES: Final = MIB
_BARE_S: Final = CONTENT_BYTES * 8 / MODEM.bits_per_s
CUT_EVERY_S: Final = 60.0
CUT_S: Final = 22.0
"""Long enough for both sides to notice: the connection is another one afterwards."""

PODS: Final = 5
_IDLE_S: Final = 240.0
_SETTLE_S: Final = 25.0
_REPORT_S: Final = 900.0
"""Between two reports of a Node's status."""

_REPORTS: Final = 3
_REPORT_SETTLE_S: Final = 5.0
_DAY_S: Final = 86_400
_REQUEST_EVERY_S: Final = 5.0
_POLL_S: Final = 0.05
_TIMEOUT_S: Final = 900.0
_NODES: Final = "/api/v1/nodes"
_PODS: Final = objects.path(NAMESPACE, "pods")
_CONFIGMAPS: Final = objects.path(NAMESPACE, "configmaps")


async def measure(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    """Measure three edges behind wires of their own."""
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    async with asyncio.TaskGroup() as group:
        parts = [
            group.create_task(part(api, cloud, folder)) for part in (_slow, _slow_and_cut, _idle)
        ]
    return [figure for part in parts for figure in part.result()]


# --- a large ConfigMap ---------------------------------------------------------------------------


async def _slow(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    async with _edge(api, cloud, folder / "bench-slow") as edge, asyncio.TaskGroup() as group:
        await _create_pod(api, edge, "slow", await _configmap(api, "slow", {}))
        watch = _Watch(edge)
        edge.wire.shape(MODEM)
        watching = group.create_task(watch.run())
        requesting = group.create_task(_request(api, edge))
        took_s, _ = await _deliver(api, edge, "slow")
        watching.cancel()
        requesting.cancel()
    what = f"{CONTENT_BYTES // MIB} MiB over 64 kbit/s"
    return [
        Figure(
            f"{what}: on the edge's disk after", took_s, "s", None, f"bare line: {_BARE_S:.0f} s"
        ),
        Figure("the same: a keepalive's answer meanwhile, p99", _p99(watch.beats_s), "s", 2),
        Figure("the same: a request's answer meanwhile, p99", _p99(watch.requests_s), "s", 2),
        Figure("the same: connections that were lost", watch.lost, "", 0),
    ]


async def _slow_and_cut(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    async with _edge(api, cloud, folder / "bench-cut") as edge, asyncio.TaskGroup() as group:
        await _create_pod(api, edge, "cut", await _configmap(api, "cut", {}))
        edge.wire.shape(MODEM)
        cutting = group.create_task(_cut(edge))
        took_s, carried = await _deliver(api, edge, "cut")
        cutting.cancel()
        edge.wire.mend()
    what = f"the same, cut for {CUT_S:g} s after each {CUT_EVERY_S:g} s"
    return [
        Figure(f"{what}: on the edge's disk after", took_s, "s"),
        Figure(f"{what}: bytes carried, as a ratio to the content", carried, "x", 1.3),
    ]


async def _deliver(api: Api, edge: RemoteEdge, name: str) -> tuple[float, float]:
    """Change a ConfigMap and wait until the edge holds it; return the seconds, and what came down.

    That is as a ratio to the content, with all headers and whatever else is said meanwhile.
    """
    content = base64.b64encode(os.urandom(CONTENT_BYTES)).decode()
    start, carried = time.monotonic(), edge.wire.down.bytes
    patch = {"binaryData": {"content": content}}
    written = await api.patch(f"{_CONFIGMAPS}/{name}", patch)
    async with asyncio.timeout(_TIMEOUT_S):
        while _held(edge, name) != written["metadata"]["resourceVersion"]:  # noqa: ASYNC110 - a file
            await asyncio.sleep(_POLL_S)
    return time.monotonic() - start, (edge.wire.down.bytes - carried) / CONTENT_BYTES


def _held(edge: RemoteEdge, name: str) -> str | None:
    return edge.daemon.stored("configmap").get(f"{NAMESPACE}/{name}")


async def _cut(edge: RemoteEdge) -> None:
    while True:
        await asyncio.sleep(CUT_EVERY_S)
        edge.wire.cut()
        await asyncio.sleep(CUT_S)
        edge.wire.mend()


async def _request(api: Api, edge: RemoteEdge) -> None:
    """Give the edge something to ask for and to tell, again and again."""
    number = 0
    while True:
        number += 1
        name = f"{edge.daemon.node}-{number}"
        await _create_pod(api, edge, name, await _configmap(api, name, {"text": "small"}))
        await asyncio.sleep(_REQUEST_EVERY_S)


@dataclass
class _Watch:
    """How long answers take, from the edge's figures, looked at more often than they change."""

    edge: RemoteEdge
    beats_s: list[float] = field(default_factory=list)
    requests_s: list[float] = field(default_factory=list)
    lost: int = 0

    async def run(self) -> None:
        """Look until cancelled."""
        metrics = await self.edge.daemon.metrics()
        written_s = time.monotonic()
        while True:
            await asyncio.sleep(_POLL_S)
            before, metrics = metrics, await self.edge.daemon.metrics()
            if _grown(before, metrics, "edgecore_messages_sent_total", operation="beat"):
                written_s = time.monotonic()
            if _grown(before, metrics, "edgecore_messages_received_total", operation="beatanswer"):
                self.beats_s.append(time.monotonic() - written_s)
            answers = _grown(before, metrics, "edgecore_request_seconds_count")
            if answers:
                mean_s = _grown(before, metrics, "edgecore_request_seconds_sum") / answers
                self.requests_s += [mean_s] * int(answers)
            self.lost += int(_grown(before, metrics, "edgecore_connection_failures_total"))


def _grown(before: str, after: str, name: str, **labels: str) -> float:
    return total(after, name, **labels) - total(before, name, **labels)


def _p99(values: list[float]) -> float:
    assert values, "nothing was measured"
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


# --- a day of having nothing to do ---------------------------------------------------------------


async def _idle(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    async with _edge(api, cloud, folder / "bench-idle") as edge:
        for number in range(PODS):
            await _create_pod(api, edge, f"idle-{number}", await _configmap(api, f"c{number}", {}))
        await asyncio.sleep(_SETTLE_S)
        before, start = edge.wire.bytes, time.monotonic()
        await asyncio.sleep(_IDLE_S)
        each_s = (edge.wire.bytes - before) / (time.monotonic() - start)
        report = await _report_bytes(api, edge)
    a_day = each_s * _DAY_S + report * _DAY_S / _REPORT_S
    return [
        Figure(f"a report of the Node's status, every {_REPORT_S / 60:g} min", report, "bytes"),
        Figure(f"an idle edge with {PODS} pods: traffic", a_day / 1e6, "MB/day", 4, "19 MB/day"),
    ]


async def _report_bytes(api: Api, edge: RemoteEdge) -> float:
    """Return what passes when the Node's status is told; a little more than for a report in time.

    Somebody else changes the status, which comes to the edge and is set right.
    """
    before = edge.wire.bytes
    for _ in range(_REPORTS):
        node = await api.get(f"{_NODES}/{edge.daemon.node}")
        assert node is not None
        conditions = node["status"]["conditions"]
        for condition in conditions:
            if condition["type"] == "Ready":
                condition.update(status="False", reason="Bench", message="it is not")
        await api.patch(
            f"{_NODES}/{edge.daemon.node}/status", {"status": {"conditions": conditions}}
        )
        await _until_ready(api, f"{_NODES}/{edge.daemon.node}")
        await asyncio.sleep(_REPORT_SETTLE_S)
    return (edge.wire.bytes - before) / _REPORTS


# --- edges and pods ------------------------------------------------------------------------------


@asynccontextmanager
async def _edge(api: Api, cloud: CloudCore, data_dir: Path) -> AsyncIterator[RemoteEdge]:
    """A hollow edge behind a wire, as good as new for the start."""
    node = data_dir.name
    token = await cloud.token()
    options = ("--runtime=hollow",)
    async with edge_behind_wire(node, cloud, data_dir, token=token, options=options) as edge:
        await _until_ready(api, f"{_NODES}/{node}")
        yield edge
    for pod in await api.items(f"{_PODS}?fieldSelector=spec.nodeName={node}"):
        await api.delete(f"{_PODS}/{pod['metadata']['name']}", grace_s=0)
    await api.delete(f"{_NODES}/{node}")


async def _configmap(api: Api, name: str, data: Object) -> str:
    await api.create(_CONFIGMAPS, {"metadata": {"name": name}, "data": data})
    return name


async def _create_pod(api: Api, edge: RemoteEdge, name: str, configmap: str) -> None:
    env_from = [{"configMapRef": {"name": configmap}}]
    container = {"name": "c", "image": "busybox", "envFrom": env_from}
    spec = {
        "nodeName": edge.daemon.node,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
    }
    await api.create(_PODS, {"metadata": {"name": name}, "spec": spec})
    await _until_ready(api, f"{_PODS}/{name}")


async def _until_ready(api: Api, path: str) -> None:
    await api.wait(
        path, lambda found: found is not None and is_ready(found), "it is Ready", timeout_s=60
    )
