"""What edges feel of others: of many that join, and of those that behave badly.

Real: control plane, cloudcore, enrolment, mTLS, WebSocket, leases. Those that feel it are peers in
this process (see ``peers``), those that join are peers in another one.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from benchmarks import objects
from benchmarks.figures import Figure, quantile
from benchmarks.fleet import Fleet, registered
from benchmarks.joining import Joining
from benchmarks.leases import LeaseWatch, watched_leases
from benchmarks.peers import Peer
from common.names import NodeID, Operation
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore

EDGES: Final = 200
JOINING: Final = 1000
NAMESPACE: Final = "bench-bad"
_QUIET_S: Final = 30.0
_BAD_S: Final = 60.0
_JOIN_TIMEOUT_S: Final = 600.0
_POLL_S: Final = 0.5
_FLOOD: Final = 20  # messages
_FLOOD_PAUSE_S: Final = 0.005  # four times what a node may say
_UNSENT_BYTES: Final = 64 * 1024
_LARGE: Final = 64
_CHANGE_S: Final = 0.25


async def measure(api: Api, cloud: CloudCore, joining: int = JOINING) -> list[Figure]:
    """Look at quiet edges, first alone, then beside bad ones, then while many join."""
    async with (
        await registered(api, cloud, EDGES, prefix="good") as fleet,
        watched_leases(api, fleet) as leases,
    ):
        await asyncio.sleep(_QUIET_S / 2)
        alone = await _felt(fleet, leases, _QUIET_S)
        async with _bad_ones(api, cloud):
            beside = await _felt(fleet, leases, _BAD_S)
        connected = fleet.connected()
        await asyncio.sleep(_QUIET_S / 2)
        leases.seconds.clear()
        fleet.note_anew()
        start = time.monotonic()
        async with _many_join(cloud, joining) as nodes:
            async with asyncio.timeout(_JOIN_TIMEOUT_S):
                await leases.until_renewed(nodes)
            joined = time.monotonic() - start
            lease_s = [*leases.seconds, leases.longest_open_s()]
            answers_s = fleet.note_anew().beat_answers_s
    return [
        *_figures(f"{EDGES} edges alone", *alone),
        *_figures(
            "beside a slow reader, one that never acknowledges, one that floods", *beside, 100
        ),
        Figure("the same: good ones still connected", connected, "", EDGES, at_least=True),
        Figure(f"{joining:,} edges join: enrolled, connected, registered, leased", joined, "s"),
        *_figures(f"{EDGES} edges while {joining:,} join", lease_s, answers_s, None, 1000),
    ]


def _figures(
    what: str,
    lease_s: list[float],
    answers_s: list[float],
    answer_ms: float | None = None,
    lease_ms: float | None = None,
) -> list[Figure]:
    lease_ms = lease_ms or answer_ms
    return [
        Figure(f"{what}: beat to answer, p99", quantile(answers_s, 0.99) * 1000, "ms", answer_ms),
        Figure(f"{what}: beat to lease, p99", quantile(lease_s, 0.99) * 1000, "ms", lease_ms),
    ]


async def _felt(
    fleet: Fleet, leases: LeaseWatch, duration_s: float
) -> tuple[list[float], list[float]]:
    """Return the seconds to leases and answers of all beats within ``duration_s``."""
    leases.seconds.clear()
    fleet.note_anew()
    await asyncio.sleep(duration_s)
    return list(leases.seconds), fleet.note_anew().beat_answers_s


@asynccontextmanager
async def _bad_ones(api: Api, cloud: CloudCore) -> AsyncIterator[None]:
    """Three edges that behave badly while ConfigMaps of theirs change all the time."""
    async with await registered(api, cloud, 3, prefix="bad") as fleet:
        names = [f"bad-{number}" for number in range(8)]
        await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for name in names:
            await api.create(objects.path(NAMESPACE, "configmaps"), _large(0, name))
        pods = [(node, f"pod-{node}") for node in fleet.nodes]
        await objects.create_pods(api, NAMESPACE, pods, names)
        slow, mute, flooding = fleet.peers.values()
        mute.acknowledges = False
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_change(api, names)),
                group.create_task(_read_slowly(slow)),
                group.create_task(_flood(flooding, names[0])),
            ]
            yield
            for task in tasks:
                task.cancel()


def _large(number: int, name: str) -> dict[str, object]:
    changed = objects.configmap(number, name)
    changed["data"]["text"] *= _LARGE
    return changed


async def _change(api: Api, names: list[str]) -> None:
    number = 0
    while True:
        for name in names:
            number += 1
            path = objects.path(NAMESPACE, f"configmaps/{name}")
            await api.replace(path, _large(number, name))
            await asyncio.sleep(_CHANGE_S)


async def _read_slowly(peer: Peer) -> None:
    """Read nothing, on whatever connection it has."""
    while True:
        if peer.transport is not None and peer.transport.underlying_transport.is_reading():
            peer.transport.underlying_transport.pause_reading()
        await asyncio.sleep(_POLL_S)


async def _flood(peer: Peer, configmap: str) -> None:
    """Ask and beat far more often than any node may."""
    while True:
        for _ in range(_FLOOD):
            transport = peer.transport
            if transport is None:
                break
            if transport.underlying_transport.get_write_buffer_size() < _UNSENT_BYTES:
                peer.ask(Operation.QUERY, f"{NAMESPACE}/configmap/{configmap}")
                peer.beat()
        await asyncio.sleep(_FLOOD_PAUSE_S)


@asynccontextmanager
async def _many_join(cloud: CloudCore, count: int) -> AsyncIterator[list[NodeID]]:
    """Have ``count`` edges join at once, from another process."""
    nodes = [NodeID(f"joining-{number}") for number in range(count)]
    joining = Joining(cloud.websocket_port, cloud.https_port, await cloud.token(), [*nodes])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.joining", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(joining) + b"\n")
        await process.stdin.drain()
        yield nodes
        process.stdin.close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
