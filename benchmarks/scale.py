"""What thousands of edges cost that have nothing to do but to live.

Real: control plane, cloudcore, mTLS, WebSocket, beats and leases. The edges are peers (see
``peers``), in this process, on the same two cores.
"""

import asyncio
import sys
import time
from typing import Final

from benchmarks.figures import MIB, Figure, cpu_s, quantile, resident_bytes
from benchmarks.fleet import registered
from benchmarks.leases import watched_leases
from deploy.devcluster.api import Api
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from edgecore.edgehub.hubconfig import BEAT_S

EDGES: Final = 5000
_SETTLE_S: Final = 20.0
_REST_S: Final = 60.0


async def measure(
    control_plane: ControlPlane, api: Api, cloud: CloudCore, edges: int = EDGES
) -> list[Figure]:
    """Connect ``edges`` peers and look at cloudcore while they rest."""
    assert cloud.pid is not None
    empty = resident_bytes(cloud.pid)
    start = time.monotonic()
    async with await registered(api, cloud, edges, prefix="scale") as fleet:
        joined = time.monotonic() - start
        async with watched_leases(api, fleet) as leases:
            await asyncio.sleep(_SETTLE_S)
            leases.seconds.clear()
            fleet.note_anew()
            before = _used(control_plane, cloud)
            await asyncio.sleep(_REST_S)
            after = _used(control_plane, cloud)
            latencies, timing = list(leases.seconds), fleet.note_anew()
        resident = resident_bytes(cloud.pid)
        connected = fleet.connected()
    share = {name: (after[name] - before[name]) / _REST_S * 100 for name in after}
    sys.stderr.write(f"CPU in % of a core: { {k: round(v, 1) for k, v in share.items()} }\n")
    return [
        Figure(f"{edges:,} edges: Nodes made, connected and in step after", joined, "s"),
        Figure("of which are connected at the end", connected, "", edges, at_least=True),
        Figure("cloudcore at rest, of one core", share["cloudcore"], "%", 60),
        Figure("API server and etcd for it, of one core", share["control plane"], "%"),
        Figure("the peers for it, of one core", share["peers"], "%"),
        Figure("cloudcore resident", resident / MIB, "MiB"),
        Figure("the same, each edge", (resident - empty) / edges / 1024, "KiB", 50, "175 KiB"),
        Figure(
            "leases renewed a second",
            len(latencies) / _REST_S,
            "/s",
            0.95 * edges / BEAT_S,  # fewer, and what is said of CPU is worth nothing
            at_least=True,
        ),
        Figure(
            "from a beat to the lease renewed in the API, p99",
            quantile(latencies, 0.99) * 1000,
            "ms",
        ),
        Figure(
            "from a beat to its answer, p99", quantile(timing.beat_answers_s, 0.99) * 1000, "ms"
        ),
    ]


def _used(control_plane: ControlPlane, cloud: CloudCore) -> dict[str, float]:
    """Return the seconds of CPU that each has used."""
    assert cloud.pid is not None
    pids = control_plane.pids()
    return {
        "cloudcore": cpu_s(cloud.pid),
        "control plane": cpu_s(pids[Component.API_SERVER]) + cpu_s(pids[Component.ETCD]),
        "peers": time.process_time(),
    }
