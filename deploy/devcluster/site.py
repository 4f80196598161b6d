"""A cloud and its edges on this machine: what the demo and the end-to-end tests stand on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.devcluster.api import DEFAULT_WAIT_S, Object, WaitError
from deploy.devcluster.daemons import CloudAddress, CloudCore, Daemon, EdgeCore, Place
from deploy.devcluster.link import Link
from deploy.devcluster.netns import CLOUD_ADDRESS, Namespace
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.shaper import Line
from deploy.devcluster.wire import PERFECT, Wire

_POLL_S: Final = 0.05
_LOGS: Final = ("logs/pods", "pod-logs")
"""Where in the folder of an edge its pods' logs are: of processes, and as ``cri_options`` says."""


@dataclass(slots=True)
class Edge:
    """An edge with the links to its cloud."""

    daemon: EdgeCore
    websocket: Link
    https: Link

    def cut(self) -> None:
        """Cut it off from the cloud."""
        self.websocket.cut()
        self.https.cut()

    def mend(self) -> None:
        """Bring the link back."""
        self.websocket.mend()
        self.https.mend()


@dataclass(frozen=True, slots=True)
class RemoteEdge:
    """An edge in a network of its own, with the wire to its cloud."""

    daemon: EdgeCore
    wire: Wire


@asynccontextmanager
async def running_edge(
    node: str,
    cloud: CloudCore,
    data_dir: Path,
    *,
    token: str,
    options: tuple[str, ...] = ("--runtime=process",),
) -> AsyncIterator[Edge]:
    """Run an edge behind links of its own; at the end nothing of it is left running.

    Args:
        node: its name.
        cloud: whom it belongs to.
        data_dir: its own folder; edgecore's log lies beside it.
        token: to join with; not needed where ``data_dir`` has a certificate.
        options: further arguments of edgecore.
    """
    async with Link(cloud.websocket_port) as websocket, Link(cloud.https_port) as https:
        daemon = EdgeCore(
            node,
            data_dir,
            token=token,
            cloud=CloudAddress(websocket.port, https.port),
            options=options,
        )
        try:
            await daemon.start()
            yield Edge(daemon, websocket, https)
            await daemon.stop()
        finally:
            daemon.dispose()


def reachable_by_wire() -> tuple[str, ...]:
    """Return the arguments that make a cloudcore serve edges behind wires, and those here too."""
    return (
        f"--advertise-address={LOOPBACK},{CLOUD_ADDRESS}",
        "--websocket-address=0.0.0.0",
        "--https-address=0.0.0.0",
    )


@asynccontextmanager
async def edge_behind_wire(
    node: str,
    cloud: CloudCore,
    data_dir: Path,
    *,
    token: str,
    options: tuple[str, ...] = ("--runtime=process",),
    line: Line = PERFECT,
) -> AsyncIterator[RemoteEdge]:
    """Run an edge in a network of its own; at the end nothing of it is left running.

    Args:
        node: its name.
        cloud: whom it belongs to; started with the options of ``reachable_by_wire``.
        data_dir: its own folder; edgecore's log lies beside it.
        token: to join with; not needed where ``data_dir`` has a certificate.
        options: further arguments of edgecore.
        line: what its wire is like, from the first packet.
    """
    with Namespace() as namespace, Wire(namespace) as wire:
        wire.shape(line)
        daemon = EdgeCore(
            node,
            data_dir,
            token=token,
            cloud=CloudAddress(cloud.websocket_port, cloud.https_port, CLOUD_ADDRESS),
            options=options,
            place=Place(namespace.entry, namespace.monitor_address),
        )
        try:
            await daemon.start()
            yield RemoteEdge(daemon, wire)
            await daemon.stop()
        finally:
            daemon.dispose()


def cri_options(endpoint: str, data_dir: Path) -> tuple[str, ...]:
    """Return the arguments that make an edgecore run its pods in containers.

    Args:
        endpoint: of a container engine that no other edge uses.
        data_dir: the edge's own folder, which then has the pods' logs too.
    """
    return (
        "--runtime=cri",
        f"--runtime-endpoint={endpoint}",
        f"--pod-logs-dir={data_dir / 'pod-logs'}",
    )


async def until(
    holds: Callable[[], object], what: str, *, timeout_s: float = DEFAULT_WAIT_S
) -> None:
    """Return as soon as ``holds``; it is asked again and again.

    Raises:
        WaitError: it did not come true within ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise WaitError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(_POLL_S)


def whole_lines(text: str) -> list[str]:
    """Return the lines of a file that is being written: what follows their last end is none yet."""
    return text.split("\n")[:-1]


def log_lines(data_dir: Path, pod: Object, container: str = "*") -> list[str]:
    """Return what a container of the pod, or each, has printed, in CRI's log format, oldest first.

    That is what all starts of it have printed.
    """
    folder = f"{pod['metadata']['namespace']}_{name_of(pod)}_{pod['metadata']['uid']}"
    # Where logs are, and no further: beside them volumes come and go while they are walked through.
    folders = [data_dir / logs / folder for logs in _LOGS]
    files = sorted(file for one in folders for file in one.glob(f"{container}/*.log"))
    return [line for file in files for line in whole_lines(file.read_text(errors="replace"))]


def name_of(found: Object) -> str:
    """Return the name of an object."""
    name: str = found["metadata"]["name"]
    return name


def is_ready(found: Object) -> bool:
    """Whether a pod's or node's condition Ready is True."""
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def restarts(pod: Object) -> int:
    """Return how often the pod's first container was started again."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return int(statuses[0]["restartCount"]) if statuses else 0


async def until_metric(
    daemon: Daemon,
    name: str,
    value: float,
    *,
    timeout_s: float = DEFAULT_WAIT_S,
    **labels: str,
) -> None:
    """Return as soon as the sum of ``daemon``'s metric ``name`` over ``labels`` is ``value``.

    Raises:
        WaitError: it was not within ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while (found := await daemon.metric(name, **labels)) != value:
        if time.monotonic() > deadline:
            raise WaitError(f"not within {timeout_s:g} s: {name} is {found:g}, not {value:g}")
        await asyncio.sleep(_POLL_S)
