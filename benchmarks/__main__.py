"""Measure everything, or the parts named: ``python -m benchmarks [codec store containers …]``."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import codec, containers, delivery, edge, hollow, links, store
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
            *await edge.measure(api, cloud, folder),
            *await hollow.measure(api, cloud, folder),
        ]


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


@asynccontextmanager
async def _cluster(folder: Path, *options: str) -> AsyncIterator[tuple[Api, CloudCore]]:
    """A control plane with a cloudcore, which has further arguments."""
    async with ControlPlane(folder / "control-plane") as control_plane, Api(control_plane) as api:
        cloud = CloudCore(control_plane, folder / "cloudcore", options=options)
        await cloud.start()
        try:
            yield api, cloud
        finally:
            await cloud.stop()


PARTS: Final[dict[str, Callable[[Path], Coroutine[Any, Any, list[Figure]]]]] = {
    "codec": _codec,
    "store": store.measure,
    "delivery": _delivery,
    "containers": _containers,
    "links": _links,
}


def main() -> None:
    """Print a table of all figures; exit code 1 where a target is missed."""
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    figures: list[Figure] = []
    for name in sys.argv[1:] or PARTS:
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
