"""What edgecore costs a device."""

import asyncio
from pathlib import Path
from typing import Final

from benchmarks.figures import MIB, Figure, resident_bytes
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import is_ready, running_edge

NODE: Final = "bench-edge"
_SETTLE_S: Final = 5.0


async def measure(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    """Join one real edge and look at it while it has nothing to do."""
    token = await cloud.token()
    async with running_edge(NODE, cloud, folder / NODE, token=token) as edge:
        await api.wait(
            f"/api/v1/nodes/{NODE}", lambda n: n is not None and is_ready(n), "the edge is Ready"
        )
        await asyncio.sleep(_SETTLE_S)
        assert edge.daemon.pid is not None
        resident = resident_bytes(edge.daemon.pid) / MIB
    await api.delete(f"/api/v1/nodes/{NODE}")
    return [Figure("edgecore resident, idle", resident, "MiB", 50, "90 MiB")]
