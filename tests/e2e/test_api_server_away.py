"""P3 and P5 while the API server is away, and after it has come back restored from an old backup.

Real: a control plane of each test's own, cloudcore and edgecores as processes, the pods' processes,
etcd's files. Nothing is faked.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import API_ONLY, ControlPlane
from deploy.devcluster.daemons import CloudCore, process_with
from deploy.devcluster.site import Edge, is_ready, restarts, until, until_metric
from tests.e2e.conftest import Join, pod

CONVERGED_S = 30.0
TYPES = ("pods", "configmaps")


@pytest.fixture
async def control_plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """One of the test's own: it is stopped and put back."""
    async with ControlPlane(tmp_path / "control-plane", components=API_ONLY) as running:
        yield running


class Site:
    """Edges with pods that name a ConfigMap each of their own name."""

    def __init__(self, api: Api, edges: list[Edge], namespace: str) -> None:
        self.api, self.edges, self.namespace = api, edges, namespace
        self.base = f"/api/v1/namespaces/{namespace}"

    async def run(self, name: str, edge: Edge) -> None:
        """Have a pod run with its ConfigMap."""
        await self.api.create(
            f"{self.base}/configmaps", {"metadata": {"name": name}, "data": {"text": "first"}}
        )
        mark = {"name": "MARK", "value": self.mark(name)}
        env = {"env": [mark], "envFrom": [{"configMapRef": {"name": name}}]}
        made = pod(name, edge.daemon.node, script="while true; do sleep 1; done", container=env)
        await self.api.create(f"{self.base}/pods", made)
        await self.ready([name])

    async def ready(self, names: Iterable[str]) -> None:
        for name in names:
            await self.api.wait(
                f"{self.base}/pods/{name}",
                lambda found: found is not None and is_ready(found),
                f"{name} is Ready",
                timeout_s=CONVERGED_S,
            )

    async def write(self, name: str, text: str) -> None:
        await self.api.patch(f"{self.base}/configmaps/{name}", {"data": {"text": text}})

    async def delete(self, name: str) -> None:
        """Delete a pod as if it had never been, and its ConfigMap."""
        await self.api.delete(f"{self.base}/pods/{name}", grace_s=0)
        await self.api.delete(f"{self.base}/configmaps/{name}")

    def mark(self, name: str) -> str:
        return f"{self.namespace}-{name}"

    def process(self, name: str) -> int:
        """The process of a pod."""
        return process_with("MARK", self.mark(name))

    def stored(self) -> list[dict[str, dict[str, str]]]:
        return [
            {kind: one.daemon.stored(kind) for kind in ("pod", "configmap")} for one in self.edges
        ]

    async def wanted(self) -> list[dict[str, dict[str, str]]]:
        """What the API server has for each edge, as ``stored`` tells it."""
        wanted: list[dict[str, dict[str, str]]] = []
        configmaps = self._versions(await self.api.items(f"{self.base}/configmaps"))
        for edge in self.edges:
            selector = f"fieldSelector=spec.nodeName={edge.daemon.node}"
            pods = self._versions(await self.api.items(f"{self.base}/pods?{selector}"))
            mine = {key: version for key, version in configmaps.items() if key in pods}
            wanted.append({"pod": pods, "configmap": mine})
        return wanted

    async def in_step(self) -> None:
        """Return when every edge holds what the API server has for it."""
        deadline_s = time.monotonic() + CONVERGED_S
        while (stored := self.stored()) != (wanted := await self.wanted()):
            assert time.monotonic() < deadline_s, f"held {stored}, wanted {wanted}"
            await asyncio.sleep(0.1)

    def _versions(self, objects: list[Object]) -> dict[str, str]:
        return {
            f"{self.namespace}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in objects
        }


async def stop(control_plane: ControlPlane) -> None:
    for component in reversed(API_ONLY):
        await control_plane.stop_component(component)


async def start(control_plane: ControlPlane) -> None:
    for component in API_ONLY:
        await control_plane.start_component(component)


@pytest.mark.timeout(120)
async def test_while_the_api_server_is_away_edges_go_on_and_end_in_step(
    control_plane: ControlPlane, api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    site = Site(api, [await join(), await join()], namespace)
    first, second = site.edges
    for name, edge in (("a", first), ("b", first), ("c", second)):
        await site.run(name, edge)
    await site.in_step()
    processes = {name: site.process(name) for name in "abc"}
    held = site.stored()

    control_plane.kill_component(Component.API_SERVER)
    # One comes back with what it had; one with nothing, and gets it from the caches.
    first.cut()
    await until_metric(cloud, "cloudcore_connected_nodes", 1)
    first.mend()
    second.daemon.kill()
    for file in second.daemon.data_dir.glob("edge-store.db*"):
        file.unlink()
    await second.daemon.start()
    await until_metric(cloud, "cloudcore_connected_nodes", 2)
    await until(lambda: site.stored() == held, "the edge has everything from the caches")
    assert {name: site.process(name) for name in "abc"} == processes

    await control_plane.start_component(Component.API_SERVER)
    await site.write("a", "second")
    await site.delete("b")
    await site.run("d", second)
    await site.in_step()
    await until(lambda: not _runs(site, "b"), "the pod that was deleted has ended")
    assert {name: site.process(name) for name in "ac"} == {name: processes[name] for name in "ac"}
    assert await cloud.metric("cloudcore_divergence_total") == 0


@pytest.mark.parametrize("cloud_sees_it", [True, False])
@pytest.mark.timeout(180)
async def test_after_a_restore_of_an_older_etcd_edges_follow_and_common_pods_are_untouched(
    control_plane: ControlPlane,
    api: Api,
    cloud: CloudCore,
    join: Join,
    namespace: str,
    *,
    cloud_sees_it: bool,
) -> None:
    """A cloudcore that has not seen it learns it from the edges, which have higher versions."""
    site = Site(api, [await join(), await join()], namespace)
    first, second = site.edges
    for name, edge in (("both", first), ("back", first), ("written", second)):
        await site.run(name, edge)
    await site.in_step()
    processes = {name: site.process(name) for name in ("both", "written")}

    etcd = control_plane.kubeconfig.parent / "etcd"
    backup = etcd.with_name("backup")
    await stop(control_plane)
    shutil.copytree(etcd, backup)
    await start(control_plane)
    await site.delete("back")
    await site.run("later", second)
    for number in range(20):
        await site.write("written", f"lost {number}")
    await site.in_step()
    await until(lambda: not _runs(site, "back"), "the pod that was deleted has ended")

    if not cloud_sees_it:
        cloud.kill()
    await stop(control_plane)
    shutil.rmtree(etcd)
    shutil.copytree(backup, etcd)
    await start(control_plane)
    # Versions are given again, to other contents.
    for number in range(5):
        await site.write("both", f"new {number}")
    if not cloud_sees_it:
        await cloud.start()
    await site.ready(["both", "back", "written"])
    await site.in_step()
    await until(lambda: not _runs(site, "later"), "what the backup did not have has ended")
    assert {name: site.process(name) for name in ("both", "written")} == processes
    for name in ("both", "written"):
        found = await api.get(f"{site.base}/pods/{name}")
        assert found is not None
        assert restarts(found) == 0
    assert await cloud.metric("cloudcore_divergence_total") == 0
    assert await cloud.metric("cloudcore_resyncs_held") == 0


def _runs(site: Site, name: str) -> bool:
    try:
        site.process(name)
    except LookupError:
        return False
    return True
