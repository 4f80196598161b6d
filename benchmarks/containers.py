"""What edged adds to a container engine: the same pods by bare calls of the CRI, and through all.

Real: control plane, cloudcore, edgecore, containerd. The bare calls are made from this process with
the client that edgecore has, for sandboxes and containers like those of the pods.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from itertools import zip_longest
from pathlib import Path
from typing import Final

from benchmarks import objects
from benchmarks.figures import MIB, Figure, cpu_s, resident_bytes
from common.names import UID, NodeID
from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ociimages import BUSYBOX
from deploy.devcluster.sandboxes import remove_sandboxes
from deploy.devcluster.site import Edge, cri_options, is_ready, name_of, running_edge
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.convert import container_config, sandbox_config
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig

NODE: Final = NodeID("bench-cri")
NAMESPACE: Final = "bench-cri"
SINGLES: Final = 7
TOGETHER: Final = 10
ROUNDS: Final = 5
COLD_BOOTS: Final = (30, 110)
_COMMAND: Final = ("sleep", "2147483647")
_IDLE_S: Final = 60.0
_REPORT_S: Final = 900.0
"""Between two reports of a Node's status, each of which comes back and is stored."""

_SETTLE_S: Final = 90.0
"""What pods that are gone have left behind is cleared away within a minute."""

_STORED_S: Final = 3.0
_DAY_S: Final = 86400
_POLL_S: Final = 0.005
_ENGINE_POLL_S: Final = 0.1
"""To list all containers takes of what they start with; the bare calls are not watched."""
_TIMEOUT_S: Final = 120.0


async def measure(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    """Measure starts, an idle edge with ten pods, and cold boots without a cloud."""
    async with ContainerEngine(folder / "engine") as engine:
        single, together = await _bare_starts(engine.endpoint)
        token = await cloud.token()
        options = cri_options(engine.endpoint, folder / NODE)
        async with running_edge(NODE, cloud, folder / NODE, token=token, options=options) as edge:
            await api.wait(
                f"/api/v1/nodes/{NODE}", lambda n: n is not None and is_ready(n), "it is Ready"
            )
            await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            figures = [
                *await _starts(api, single, together),
                *await _idle(api, edge),
                *[f for pods in COLD_BOOTS for f in await _cold_boot(api, edge, engine, pods)],
            ]
        await api.delete(f"/api/v1/nodes/{NODE}")
    return figures


# --- bare calls ----------------------------------------------------------------------------------


async def _bare_starts(endpoint: str) -> tuple[float, float]:
    """Return the seconds that one pod takes, and ten together, by calls of the CRI alone."""
    singles, together = [], []
    for number in range(SINGLES):
        singles.append(await _timed(_bare(endpoint, [f"one-{number}"])))
        await remove_sandboxes(endpoint)
    for _ in range(ROUNDS):
        names = [f"ten-{number}" for number in range(TOGETHER)]
        together.append(await _timed(_bare(endpoint, names)))
        await remove_sandboxes(endpoint)
    return statistics.median(singles), statistics.median(together)


async def _bare(endpoint: str, names: Iterable[str], old: Iterable[str] = ()) -> None:
    """Start pods at the same moment, each after the end of one of the sandboxes ``old``."""
    client = CriClient(endpoint)
    try:
        async with asyncio.TaskGroup() as group:
            for name, sandbox in zip_longest(names, old, fillvalue=""):
                group.create_task(_bare_pod(client, name, sandbox))
    finally:
        client.close()


async def _bare_pod(client: CriClient, name: str, old: str) -> None:
    if old:
        await client.call(methods.STOP_SANDBOX, cri.StopPodSandboxRequest(pod_sandbox_id=old))
    log_dir = Path("/tmp") / "cloudedge-bench-logs" / name  # noqa: S108 - the engine makes it
    sandbox = sandbox_config(SandboxConfig(UID(name), NAMESPACE, name, 0, log_dir))
    ran = await client.call(methods.RUN_SANDBOX, cri.RunPodSandboxRequest(config=sandbox))
    config = ContainerConfig(
        "c", 0, BUSYBOX, "", log_dir / "c" / "0.log", _COMMAND, image_id=BUSYBOX
    )
    made = await client.call(
        methods.CREATE_CONTAINER,
        cri.CreateContainerRequest(
            pod_sandbox_id=ran.pod_sandbox_id,
            config=container_config(sandbox, config),
            sandbox_config=sandbox,
        ),
    )
    start = cri.StartContainerRequest(container_id=made.container_id)
    await client.call(methods.START_CONTAINER, start)


# --- through everything --------------------------------------------------------------------------


async def _starts(api: Api, bare_single: float, bare_together: float) -> list[Figure]:
    singles, together = [], []
    for number in range(SINGLES):
        singles.append(await _timed(_ready(api, [f"one-{number}"])))
        await _delete_all(api)
    for _ in range(ROUNDS):
        names = [f"ten-{number}" for number in range(TOGETHER)]
        together.append(await _timed(_ready(api, names)))
        await _delete_all(api)
    single, ten = statistics.median(singles), statistics.median(together)
    return [
        Figure("a pod by bare calls of the CRI", bare_single, "s", None, "0.18-0.21 s"),
        Figure("a pod, from its create to Ready in the API", single, "s", 0.6, "1.6-1.9 s"),
        Figure("the same, as a ratio to the bare calls", single / bare_single, "x", 2.5),
        Figure(f"{TOGETHER} pods by bare calls", bare_together, "s", None, "1.3-1.5 s"),
        Figure(f"{TOGETHER} pods created together, the last one Ready", ten, "s", 2.0),
        Figure("the same, as a ratio to the bare calls", ten / bare_together, "x", 1.5),
    ]


async def _idle(api: Api, edge: Edge) -> list[Figure]:
    await _ready(api, [f"idle-{number}" for number in range(TOGETHER)])
    await asyncio.sleep(_SETTLE_S)
    pid = edge.daemon.pid
    assert pid is not None
    used, written = cpu_s(pid), _written_bytes(pid)
    await asyncio.sleep(_IDLE_S)
    used, written = cpu_s(pid) - used, _written_bytes(pid) - written
    a_day = written * _DAY_S / _IDLE_S + await _written_by_report(api, pid) * _DAY_S / _REPORT_S
    resident = resident_bytes(pid) / MIB
    await _delete_all(api)
    return [
        Figure(f"edgecore resident, {TOGETHER} pods", resident, "MiB", 60, "102 MiB"),
        Figure(
            f"edgecore idle with {TOGETHER} pods: CPU of one core", used / _IDLE_S * 100, "%", 1
        ),
        Figure("the same: written to the disk", a_day / MIB, "MiB/day", 5),
    ]


async def _written_by_report(api: Api, pid: int) -> float:
    """Return the bytes that edgecore writes when its Node comes back from the API server.

    The median of a few: now and then SQLite moves to its file what many commits have gathered.
    """
    costs = []
    for number in range(ROUNDS):
        before = _written_bytes(pid)
        annotations = {"bench": f"report {number}"}
        await api.patch(f"/api/v1/nodes/{NODE}", {"metadata": {"annotations": annotations}})
        await asyncio.sleep(_STORED_S)
        costs.append(_written_bytes(pid) - before)
    return statistics.median(costs)


async def _cold_boot(api: Api, edge: Edge, engine: ContainerEngine, count: int) -> list[Figure]:
    """Cut power and cloud, and boot: how long until all containers run again."""
    names = [f"boot-{number}" for number in range(count)]
    await _ready(api, names)
    edge.cut()
    edge.daemon.kill()
    engine.power_cut()
    await edge.daemon.start()
    await engine.start()
    booted = await _timed(_until_running(engine.endpoint, count))
    edge.daemon.kill()
    engine.power_cut()
    await engine.start()
    # What a boot begins with: the sandboxes of before, of which the power left only records.
    old = [found.id for found in await _newest_sandboxes(engine.endpoint)]
    bare = await _timed(_bare(engine.endpoint, names, old))
    await remove_sandboxes(engine.endpoint)
    edge.mend()
    await edge.daemon.start()
    await _delete_all(api)
    return [
        Figure(f"cold boot offline: {count} pods by bare calls", bare, "s"),
        Figure(f"cold boot offline: {count} pods run after containerd answers", booted, "s"),
        Figure("the same, as a ratio to the bare calls", booted / bare, "x", 1.5),
    ]


async def _ready(api: Api, names: list[str]) -> None:
    """Create pods at the same moment and return when the API says of each that it is Ready."""
    path = objects.path(NAMESPACE, "pods")
    version = await api.version(path)
    async with asyncio.timeout(_TIMEOUT_S), asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(api.create(path, _pod(name)))
        waiting = set(names)
        async with aclosing(api.follow(path, version)) as pods:
            async for pod in pods:
                if is_ready(pod):
                    waiting.discard(name_of(pod))
                if not waiting:
                    return


async def _delete_all(api: Api) -> None:
    path = objects.path(NAMESPACE, "pods")
    async with asyncio.TaskGroup() as group:
        for pod in await api.items(path):
            group.create_task(api.delete(f"{path}/{name_of(pod)}"))

    async def is_empty() -> bool:
        return not await api.items(path)

    await _until(is_empty)


async def _newest_sandboxes(endpoint: str) -> list[cri.PodSandbox]:
    """Return the newest sandbox of each pod."""
    client = CriClient(endpoint)
    try:
        listed = await client.call(methods.LIST_SANDBOXES, cri.ListPodSandboxRequest())
    finally:
        client.close()
    newest = {found.metadata.uid: found for found in sorted(listed.items, key=_created)}
    return list(newest.values())


def _created(sandbox: cri.PodSandbox) -> int:
    return sandbox.created_at


async def _until_running(endpoint: str, count: int) -> None:
    client = CriClient(endpoint)

    async def run() -> bool:
        listed = await client.call(methods.LIST_CONTAINERS, cri.ListContainersRequest())
        running = [c for c in listed.containers if c.state == cri.CONTAINER_RUNNING]
        return len(running) == count

    try:
        await _until(run, _ENGINE_POLL_S)
    finally:
        client.close()


async def _until(holds: Callable[[], Awaitable[bool]], poll_s: float = _POLL_S) -> None:
    async with asyncio.timeout(_TIMEOUT_S):
        while not await holds():  # noqa: ASYNC110 - neither API nor engine would set an event
            await asyncio.sleep(poll_s)


async def _timed(work: Awaitable[None]) -> float:
    start = time.monotonic()
    await work
    return time.monotonic() - start


def _pod(name: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": NODE,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Not 0: that is forgotten at once, while the node still ends it.
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox",
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(_COMMAND),
                }
            ],
        },
    }


def _written_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
