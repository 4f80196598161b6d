"""Thousands of edges lose their cloud at the same moment and come back.

Real: control plane, cloudcore, mTLS, WebSocket, inventories, leases. The edges are peers (see
``peers``), in this process, on the same two cores as everything else: of a handshake, half the cost
is theirs. They wait as edges do before they connect again. "In step" is an answered inventory.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import objects
from benchmarks.figures import Figure, forget_peak, peak_bytes, resident_bytes
from benchmarks.fleet import Fleet, registered
from benchmarks.readiness import ReadyWatch, watched_readiness
from common.names import NodeID
from deploy.devcluster.api import Api
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.credentials import write_kubeconfig
from deploy.devcluster.daemons import CloudCore, total

EDGES: Final = 2000
NAMESPACE: Final = "bench-storm"
BUSY: Final = {
    Component.API_SERVER: (
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=4",
        "--max-mutating-requests-inflight=2",
    )
}
"""An API server that answers 429 to whatever is more than a few requests at a time."""

_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
_READY_PODS: Final = 200
_QUIET_S: Final = 20.0
_AFTER_S: Final = 30.0
"""A Node that is not renewed would be given up after 50 s; what a start writes is written."""
_TIMEOUT_S: Final = 240.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What is measured."""

    api: Api
    cloud: CloudCore
    fleet: Fleet
    ready: ReadyWatch
    resident: int
    """Of cloudcore, in bytes, with all connected and nothing happening."""


async def measure(
    api: Api, cloud: CloudCore, *, edges: int = EDGES, pods: int = 0, wanted_s: float | None = 60
) -> list[Figure]:
    """Cut off all of a fleet by each of three ways.

    Args:
        api: the API server.
        cloud: for ``edges`` nodes or more.
        edges: of the fleet.
        pods: of each edge.
        wanted_s: seconds in which all are to be in step; None for any.
    """
    async with await registered(api, cloud, edges, prefix="storm") as fleet:
        await _give_pods(api, fleet, pods)
        paths = ["/api/v1/nodes", objects.path(NAMESPACE, "pods")]
        async with watched_readiness(api, paths) as ready:
            await asyncio.sleep(_QUIET_S)
            assert cloud.pid is not None
            stage = Stage(api, cloud, fleet, ready, resident_bytes(cloud.pid))
            what = f"{edges:,} edges" + (f" of {pods} pods" if pods else "")
            return [
                *await _storm(stage, f"{what}, all links cut", _cut, wanted_s),
                *await _storm(stage, f"{what}, cloudcore killed", _kill, wanted_s),
                *await _restart(stage, f"{what}, cloudcore restarted", wanted_s),
            ]


async def _cut(stage: Stage) -> None:
    assert stage.cloud.pid is not None
    forget_peak(stage.cloud.pid)
    stage.fleet.cut()


async def _kill(stage: Stage) -> None:
    stage.cloud.kill()
    await stage.cloud.start()


async def _storm(
    stage: Stage, what: str, strike: Callable[[Stage], Awaitable[None]], wanted_s: float | None
) -> list[Figure]:
    """Cut all off by ``strike``; return how they came back."""
    lost = len(stage.ready.lost)
    stage.fleet.note_anew()
    start = time.monotonic()
    await strike(stage)
    end = await stage.fleet.all_in_step(_TIMEOUT_S)
    await asyncio.sleep(_AFTER_S)
    assert stage.cloud.pid is not None
    peak = peak_bytes(stage.cloud.pid)
    return [
        Figure(f"{what}: all in step after", end - start, "s", wanted_s),
        Figure(
            "the same: memory of cloudcore at most, of that before", peak / stage.resident, "x", 2
        ),
        Figure("the same: attempts to connect that failed", stage.fleet.timing.failures, ""),
        Figure("the same: nodes and pods that were not Ready", len(stage.ready.lost) - lost, "", 0),
    ]


async def _restart(stage: Stage, what: str, wanted_s: float | None) -> list[Figure]:
    """Restart cloudcore as an upgrade does, and count what it writes."""
    before = await stage.api.metrics()
    figures = await _storm(stage, what, lambda one: one.cloud.restart(), wanted_s)
    after = await stage.api.metrics()
    claimed = await stage.cloud.metric("cloudcore_lease_writes_total", outcome="claimed")
    written = _writes(after) - _writes(before)
    renewed = _writes(after, "leases") - _writes(before, "leases")
    edges = len(stage.fleet.nodes)
    return [
        *figures,
        Figure(
            "the same: API writes a node, renewals of leases left aside",
            (written - renewed + claimed) / edges,
            "",
            2,
        ),
        Figure("the same: renewals of leases a node, meanwhile", (renewed - claimed) / edges, ""),
        Figure(
            "API requests answered 429 since the start",
            total(after, "apiserver_request_total", code="429"),
            "",
        ),
    ]


def _writes(metrics: str, resource: str = "") -> float:
    """Return how many writes the API server has taken, of one resource or of all."""
    labels = {"resource": resource} if resource else {}
    return sum(total(metrics, "apiserver_request_total", verb=verb, **labels) for verb in _WRITES)


async def _give_pods(api: Api, fleet: Fleet, pods: int) -> None:
    """Give each node ``pods`` pods and wait until all have come; some of them are Ready."""
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    if not pods:
        return
    await api.create(objects.path(NAMESPACE, "configmaps"), objects.configmap(0))
    names = {node: [f"{node}-{number}" for number in range(pods)] for node in fleet.nodes}
    fleet.expect({n: [f"{NAMESPACE}/pod/{pod}" for pod in listed] for n, listed in names.items()})
    bound = [(node, pod) for node, listed in names.items() for pod in listed]
    await objects.create_pods(api, NAMESPACE, bound)
    await fleet.arrive(_TIMEOUT_S)
    await objects.make_ready(api, NAMESPACE, _some(names))


def _some(names: dict[NodeID, list[str]]) -> Sequence[str]:
    return [listed[0] for listed in names.values()][:_READY_PODS]


async def unprivileged(api: Api, control_plane: ControlPlane, folder: Path) -> Path:
    """Return a kubeconfig of somebody who may do everything, and is refused when it is too much.

    The administrator's own group, system:masters, is exempt from such limits.
    """
    name, namespace = "bench", "default"
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await api.create(accounts, {"metadata": {"name": name}})
    await api.create(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": name},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )
    made = await api.create(f"{accounts}/{name}/token", {"spec": {"expirationSeconds": 7200}})
    path = folder / "bench.kubeconfig"
    write_kubeconfig(
        path,
        server=control_plane.server,
        ca_file=control_plane.ca_file,
        user=name,
        token=made["status"]["token"],
    )
    return path
