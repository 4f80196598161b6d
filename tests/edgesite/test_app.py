"""An EdgeSite wired as it runs, in this process. The API server is the real one, or away.

The runtime runs nothing. What the site does for its pods is in tests/e2e/test_edgesite.py.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.figures import RequestFigures
from common import monitor
from common.errors import ConfigError
from common.health import Health
from common.metrics import Figures
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.ports import LOOPBACK
from edgecore.app import Edge
from edgecore.config import RuntimeName
from edgecore.datadir import SOCKET
from edgecore.edgehub.pin import CLUSTER_STATE
from edgecore.edgestore.store import EdgeStore
from edgesite import app
from edgesite.config import EdgeSiteSettings
from tests.cloudcore.cluster import eventually, make_namespace, unique
from tests.cloudcore.nobody import kubeconfig_of_nobody


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """A kubeconfig that names an API server where nobody listens."""
    return kubeconfig_of_nobody(tmp_path)


def settings(kubeconfig: Path, folder: Path, node: str = "site-1") -> EdgeSiteSettings:
    return EdgeSiteSettings(
        kubeconfig=kubeconfig,
        data_dir=folder / "site",
        node_name=node,
        runtime=RuntimeName.HOLLOW,
        node_ip=LOOPBACK,
        monitor_address="",
        grace_s=5,
    )


@asynccontextmanager
async def running(made: EdgeSiteSettings) -> AsyncIterator[None]:
    """Run the daemon while the context lasts."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(app.run(made, stop))
        yield
        stop.set()


async def asked(made: EdgeSiteSettings, target: str) -> str:
    """Return what the daemon says at its socket."""
    return (await asyncio.to_thread(monitor.ask, made.data_dir / SOCKET, target)).decode()


async def test_without_its_api_server_the_site_is_ready_and_says_what_it_lacks(
    away: Path, tmp_path: Path
) -> None:
    made = settings(away, tmp_path)
    async with running(made):
        await eventually(lambda: _is_ready(made))
        said = await asked(made, "/readyz?verbose")
        assert "[ ] api-server: caches: the first lists are not complete" in said
        link = json.loads(await asked(made, "/status"))["edgehub"]
        assert (link["connected"], link["cloud"]) == (False, "http://127.0.0.1:1")


async def _is_ready(made: EdgeSiteSettings) -> bool:
    try:
        return await asked(made, "/readyz") == "ok\n"
    except OSError:  # it does not listen yet
        return False


async def test_a_folder_belongs_to_one_site_at_a_time(away: Path, tmp_path: Path) -> None:
    made = settings(away, tmp_path)
    async with running(made):
        await eventually(lambda: _is_ready(made))
        with pytest.raises(BaseExceptionGroup) as caught:
            await app.run(made, asyncio.Event())
        assert caught.group_contains(ConfigError)


async def test_with_its_api_server_it_says_when_that_answered_last(
    control_plane: ControlPlane, client: KubeClient, tmp_path: Path
) -> None:
    made = settings(control_plane.kubeconfig, tmp_path, unique("site"))
    async with running(made):
        await eventually(lambda: _is_there(client, kinds.NODES.path(name=made.node_name)))
        assert "[ ] api-server: answered" in await asked(made, "/readyz?verbose")
        assert json.loads(await asked(made, "/status"))["edgehub"]["connected"]
    await client.delete(kinds.NODES.path(name=made.node_name))


@asynccontextmanager
async def site(made: EdgeSiteSettings) -> AsyncIterator[tuple[Edge, Figures]]:
    """Run the modules of a site while the context lasts."""
    figures, stop = Figures(), asyncio.Event()
    asked = RequestFigures(figures)
    async with (
        KubeClient(made.kubeconfig, figures=asked) as client,
        asyncio.TaskGroup() as group,
    ):
        edge = app.build_site(made, client, Health(), figures, asked)
        group.create_task(edge.run(stop))
        yield edge, figures
        stop.set()


def pod(name: str, node: str) -> dict[str, object]:
    container = {"name": "c", "image": "busybox"}
    spec = {
        "nodeName": node,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    return {"metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """A client of the real API server, as its administrator."""
    async with KubeClient(control_plane.kubeconfig) as client:
        yield client


async def test_the_modules_of_both_daemons_run_a_pod_on_one_bus(
    control_plane: ControlPlane, client: KubeClient, tmp_path: Path
) -> None:
    node, namespace = unique("site"), await make_namespace(client)
    made = settings(control_plane.kubeconfig, tmp_path, node)
    path = kinds.PODS.path(namespace, "web")
    async with site(made) as (edge, _):
        await eventually(lambda: _is_there(client, kinds.NODES.path(name=node)))
        body = json.dumps(pod("web", node)).encode()
        await client.create(kinds.PODS.path(namespace), body)
        await eventually(lambda: _phase_is(client, path, "Running"))
        assert list(edge.store.index.keys("pod")) == [f"{namespace}/pod/web"]
        await client.delete(path)
        await eventually(lambda: _is_gone(client, path))
    await client.delete(kinds.NODES.path(name=node))


async def test_an_api_server_of_another_cluster_takes_nothing_away(
    control_plane: ControlPlane, client: KubeClient, tmp_path: Path
) -> None:
    """Promise P11: to that one none of the site's pods would exist."""
    node, namespace = unique("site"), await make_namespace(client)
    made = settings(control_plane.kubeconfig, tmp_path, node)
    path = kinds.PODS.path(namespace, "web")
    async with site(made) as (edge, _):
        await eventually(lambda: _is_there(client, kinds.NODES.path(name=node)))
        await client.create(kinds.PODS.path(namespace), json.dumps(pod("web", node)).encode())
        await eventually(lambda: _phase_is(client, path, "Running"))
    async with EdgeStore(made.data_dir) as store:
        await store.set_state(CLUSTER_STATE, "another")
    await client.delete(path, json.dumps({"gracePeriodSeconds": 0}).encode())
    async with site(made) as (edge, figures):
        await eventually(lambda: _was_refused(figures))
        assert list(edge.store.index.keys("pod")) == [f"{namespace}/pod/web"]
    await client.delete(kinds.NODES.path(name=node))


async def _is_there(client: KubeClient, path: str) -> bool:
    return await client.find(path) is not None


async def _is_gone(client: KubeClient, path: str) -> bool:
    return await client.find(path) is None


async def _phase_is(client: KubeClient, path: str, phase: str) -> bool:
    body = json.loads(await client.get(path))
    return bool(body["status"].get("phase") == phase)


async def _was_refused(figures: Figures) -> bool:
    return any(
        sample.labels.get("reason") == "another_cluster" and sample.value >= 1
        for metric in figures.collect()
        for sample in metric.samples
    )
