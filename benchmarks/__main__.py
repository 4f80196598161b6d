"""Measure everything, or the parts named: ``python -m benchmarks [codec store containers …]``.

``storm-pods`` and ``storm-busy`` take several minutes each and are measured only when named.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import (
    codec,
    containers,
    delivery,
    edge,
    hollow,
    links,
    neighbours,
    scale,
    store,
    storm,
)
from benchmarks.figures import Figure, table
from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.machine import why_not
from deploy.devcluster.site import reachable_by_wire
from deploy.devcluster.wire import why_not as why_no_wire


async def _codec(_: Path) -> list[Figure]:
    return codec.measure()


async def _delivery(folder: Path) -> list[Figure]:
    async with _cluster(folder) as (api, cloud):
        return [
            *await delivery.measure(api, cloud),
            *await hollow.measure(api, cloud, folder),
        ]


async def _edge(folder: Path) -> list[Figure]:
    starts = edge.measure_start(folder)
    async with _cluster(folder) as (api, cloud):
        return [*starts, *await edge.measure(api, cloud, folder)]


async def _containers(folder: Path) -> list[Figure]:
    if why := why_not():
        sys.stderr.write(f"not measured: containers: {why}\n")
        return []
    async with _cluster(folder) as (api, cloud):
        return await containers.measure(api, cloud, folder)


async def _links(folder: Path) -> list[Figure]:
    if why := why_no_wire():
        sys.stderr.write(f"not measured: links: {why}\n")
        return []
    async with _cluster(folder, *reachable_by_wire()) as (api, cloud):
        return await links.measure(api, cloud, folder)


async def _scale(folder: Path) -> list[Figure]:
    async with (
        ControlPlane(folder / "control-plane") as control_plane,
        Api(control_plane) as api,
        _running(control_plane, folder, *_MANY_NODES) as cloud,
    ):
        return await scale.measure(control_plane, api, cloud)


async def _neighbours(folder: Path) -> list[Figure]:
    async with _cluster(folder, *_MANY_NODES) as (api, cloud):
        return await neighbours.measure(api, cloud)


async def _storm(folder: Path) -> list[Figure]:
    async with _cluster(folder, *_MANY_NODES) as (api, cloud):
        return await storm.measure(api, cloud)


async def _storm_of_pods(folder: Path) -> list[Figure]:
    async with _cluster(folder, *_MANY_NODES) as (api, cloud):
        return await storm.measure(api, cloud, pods=10)


async def _storm_of_busy_api(folder: Path) -> list[Figure]:
    async with (
        ControlPlane(folder / "control-plane", extra_args=storm.BUSY) as control_plane,
        Api(control_plane) as api,
    ):
        kubeconfig = await storm.unprivileged(api, control_plane, folder)
        options = (*_MANY_NODES, f"--kubeconfig={kubeconfig}")
        async with _running(control_plane, folder, *options) as cloud:
            return await storm.measure(api, cloud, wanted_s=None)


@asynccontextmanager
async def _cluster(folder: Path, *options: str) -> AsyncIterator[tuple[Api, CloudCore]]:
    """A control plane with a cloudcore, which has further arguments."""
    async with (
        ControlPlane(folder / "control-plane") as control_plane,
        Api(control_plane) as api,
        _running(control_plane, folder, *options) as cloud,
    ):
        yield api, cloud


@asynccontextmanager
async def _running(
    control_plane: ControlPlane, folder: Path, *options: str
) -> AsyncIterator[CloudCore]:
    cloud = CloudCore(control_plane, folder / "cloudcore", options=options)
    await cloud.start()
    try:
        yield cloud
    finally:
        await cloud.stop()


_MANY_NODES: Final = ("--node-limit=10000", "--connections-per-address=100000")

PARTS: Final[Mapping[str, Callable[[Path], Coroutine[Any, Any, list[Figure]]]]] = {
    "codec": _codec,
    "store": store.measure,
    "delivery": _delivery,
    "edge": _edge,
    "containers": _containers,
    "links": _links,
    "neighbours": _neighbours,
    "scale": _scale,
    "storm": _storm,
    "storm-pods": _storm_of_pods,
    "storm-busy": _storm_of_busy_api,
}
_ONLY_NAMED: Final = frozenset({"storm-pods", "storm-busy"})


def main() -> None:
    """Print a table of all figures; exit code 1 where a target is missed."""
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    figures: list[Figure] = []
    for name in sys.argv[1:] or [one for one in PARTS if one not in _ONLY_NAMED]:
        sys.stderr.write(f"measuring: {name}\n")
        with (
            tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            figures += runner.run(PARTS[name](Path(folder)))
    sys.stdout.write(f"{table(figures)}\n")
    sys.exit(0 if all(figure.is_met for figure in figures) else 1)


if __name__ == "__main__":
    main()
