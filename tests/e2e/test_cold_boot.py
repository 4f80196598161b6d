"""P6 on real containers: after a power cut, with no cloud, every pod runs again.

Real: control plane, cloudcore, edgecore, containerd with runc and a bridge network; links that are
cut, processes that are killed. A power cut ends all containers and takes what is in memory: the
engine's state, and the file systems with Secrets. Where the clock is off, edged runs in the test
process and is told another time; the engine keeps the machine's. ``REBOOTS`` lengthens a run.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from common.clock import Clock
from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.sandboxes import remove_sandboxes
from deploy.devcluster.site import Edge, is_ready, name_of, restarts, until
from edgecore.app import World, build_edge
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.edged.volumes.mounts import unmount_below
from edgecore.metrics import EdgeMetrics
from tests.e2e.conftest import Join
from tests.e2e.engineview import EngineView, engine_view
from tests.e2e.podchecks import OBEY, Place

pytestmark = pytest.mark.timeout(240)

logger = logging.getLogger(__name__)

REBOOTS = int(os.environ.get("REBOOTS", "20"))
YEARS = (-55, 40)
# Those of the last two starts and of this one; one more where power went before it was removed.
KEPT = 4

READ = f"""
trap 'exit 0' TERM
echo "config $(cat /etc/config/key) secret $(cat /etc/secret/key) variable $KEY"
token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
echo "token of ${{#token}} letters"
echo boot >> /data/boots
echo "boots $(wc -l < /data/boots)"
test -e /memory/mark && echo "memory has survived"
touch /memory/mark
{OBEY}
"""


def reader(place: Place, name: str) -> Object:
    """Return a pod that needs something of everything, and prints what it has."""
    volumes = [
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "secret", "secret": {"secretName": "secret"}},
        {"name": "data", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    paths = {"config": "/etc/config", "secret": "/etc/secret", "data": "/data", "memory": "/memory"}
    return place.pod(
        name,
        READ,
        volumes=volumes,
        automountServiceAccountToken=True,
        container={
            "volumeMounts": [{"name": k, "mountPath": path} for k, path in paths.items()],
            "env": [
                {
                    "name": "KEY",
                    "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}},
                }
            ],
        },
    )


class Site:
    """An edge whose pods run, and whose power can be cut."""

    def __init__(self, place: Place, engine: ContainerEngine, view: EngineView) -> None:
        self.place, self.engine, self.view = place, engine, view
        self.edge = place.edge
        self.pods: list[Object] = []

    async def fill(self) -> None:
        """Run pods that need something of everything."""
        api, base = self.place.api, self.place.base
        await api.wait(f"{base}/serviceaccounts/default", bool, "pods can be made")
        await api.create(
            f"{base}/configmaps", {"metadata": {"name": "config"}, "data": {"key": "c-value"}}
        )
        await api.create(
            f"{base}/secrets", {"metadata": {"name": "secret"}, "stringData": {"key": "s-value"}}
        )
        init = {"name": "init", "image": "busybox", "command": ["/bin/true"]}
        await self.place.create(
            reader(self.place, "reader-1"),
            reader(self.place, "reader-2"),
            self.place.pod("plain", OBEY),
            self.place.pod("init", OBEY, initContainers=[init]),
        )
        names = ("reader-1", "reader-2", "plain", "init")
        self.pods = [await self.place.ready(name) for name in names]

    def power_cut(self) -> None:
        self.edge.daemon.kill()
        self.engine.power_cut()
        unmount_below(self.edge.daemon.data_dir)

    async def run_all(self) -> None:
        """Return once each pod's container runs."""
        wanted = sorted((found["metadata"]["uid"], "c") for found in self.pods)
        await self.view.until(lambda look: look.running() == wanted, "all pods run")

    async def told(self, times: int) -> None:
        """Return once the API server knows that all pods have started so often, and run."""

        def holds(pod: Object) -> bool:
            return is_ready(pod) and restarts(pod) == times - 1

        for found in self.pods:
            await self.place.wait(name_of(found), holds, f"has started {times} times")

    async def prints(self, times: int) -> None:
        """Return once the readers have said for the ``times``-th time what they have."""
        for found in self.pods[:2]:
            has_started = partial(self._has_started, found, times)
            await until(has_started, f"the pod has started {times} times")
            lines = self.place.output(found).splitlines()
            assert lines.count("config c-value secret s-value variable s-value") == times, lines
            tokens = [line for line in lines if line.startswith("token of ")]
            assert len(tokens) == times
            assert "token of 0 letters" not in tokens
            assert "memory has survived" not in lines

    def _has_started(self, found: Object, times: int) -> bool:
        return f"boots {times}\n" in self.place.output(found)


@asynccontextmanager
async def site(
    engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> AsyncIterator[Site]:
    place = Place(api, await join(runtime="cri"), namespace)
    async with engine_view(engine) as view:
        made = Site(place, engine, view)
        yield made


async def test_without_a_cloud_all_pods_run_after_a_power_cut(
    container_engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> None:
    async with site(container_engine, api, join, namespace) as place:
        await place.fill()
        await place.prints(1)
        for boot, forgets in enumerate((False, True), start=2):
            place.edge.cut()
            place.power_cut()
            if forgets:
                await container_engine.start()
                await remove_sandboxes(container_engine.endpoint)
                await container_engine.stop()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(place.edge.daemon.start(), name="edgecore")
                await container_engine.start()
                began_s = time.monotonic()
                await place.run_all()
                took_s = time.monotonic() - began_s
            how = "has forgotten all" if forgets else "remembers its containers"
            logger.info("all pods ran %.2f s after the engine, which %s", took_s, how)
            await place.prints(boot)
            place.edge.mend()
            await place.told(boot)


async def test_a_clock_that_is_off_by_years_keeps_no_pod_from_running(
    container_engine: ContainerEngine,
    api: Api,
    join: Join,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site(container_engine, api, join, namespace) as place:
        await place.fill()
        place.edge.cut()
        for boot, years in enumerate(YEARS, start=2):
            place.power_cut()
            await container_engine.start()
            await remove_sandboxes(container_engine.endpoint)
            async with edge_in(years, place.edge, container_engine, monkeypatch):
                await place.run_all()
                await place.prints(boot)
        place.edge.mend()
        await place.edge.daemon.start()
        await place.told(len(YEARS) + 1)


@pytest.mark.timeout(0)
async def test_reboots_use_up_no_addresses_and_leave_no_records(
    container_engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> None:
    async with site(container_engine, api, join, namespace) as place:
        await place.place.create(place.place.pod("plain", OBEY))
        place.pods = [await place.place.ready("plain")]
        for _ in range(REBOOTS):
            place.power_cut()
            await container_engine.start()
            await place.edge.daemon.start()
            await place.run_all()
            assert len(addresses(container_engine)) == 1
            look = await place.view.look()
            assert len(look.sandboxes) <= KEPT, look
            assert len(look.containers) <= KEPT, look


def addresses(engine: ContainerEngine) -> list[str]:
    """Return the addresses that the engine's network has given away."""
    return sorted(file.name for file in engine.layout.addresses.glob("*/10.*"))


@asynccontextmanager
async def edge_in(
    years: int, edge: Edge, engine: ContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Run the edge in this process while the context lasts, so many years from now."""
    shift = timedelta(days=365 * years)
    clock = Clock()
    clock.offset_s = shift.total_seconds()
    settings = EdgeCoreSettings(
        node_name=edge.daemon.node,
        cloud=LOOPBACK,
        websocket_port=edge.websocket.port,
        https_port=edge.https.port,
        data_dir=edge.daemon.data_dir,
        runtime=RuntimeName.CRI,
        runtime_endpoint=engine.endpoint,
        pod_logs_dir=edge.daemon.data_dir / "pod-logs",
        eviction_hard="memory.available<50Mi",
    )
    stop = asyncio.Event()
    running = build_edge(settings, EdgeMetrics(CollectorRegistry()), world=World(clock=clock))
    with monkeypatch.context() as patch:
        now, now_ns = time.time, time.time_ns
        patch.setattr(time, "time", lambda: now() + shift.total_seconds())
        patch.setattr(time, "time_ns", lambda: now_ns() + int(shift.total_seconds()) * 10**9)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.run(stop), name="edge")
            try:
                yield
            finally:
                stop.set()
