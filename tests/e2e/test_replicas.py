"""P5 and P7 with several cloudcores behind one address: any node on any of them.

Real: control plane, cloudcores and edgecores as processes, TLS. The address that stands for all is
a proxy that leads new connections to another cloudcore than before.
"""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.controlplane import API_ONLY, ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.site import (
    Edge,
    is_ready,
    name_of,
    restarts,
    running_edge,
    until,
    until_metric,
)
from tests.e2e.conftest import clouds, pod

pytestmark = pytest.mark.timeout(180)

HOLLOW = ("--runtime=hollow",)
SERVED_BY = "cloudedge.io/served-by"
FOREVER = "while true; do sleep 0.1; done"
SEEN_S = 40.0
"""In what time an edge sees that its link is half open and has found another way, on a busy
machine."""

CONNECTED = "cloudcore_connected_nodes"
REFUSED = "cloudcore_refusals_total"


def connections(cloud: CloudCore, node: str) -> list[str]:
    """The connections of ``node`` to ``cloud``, as its log tells."""
    lines = [line for line in cloud.log.read_text().splitlines() if "node connected" in line]
    ids = [re.search(r"connection\W+([-0-9a-f]{36})", line) for line in lines if node in line]
    return [found.group(1) for found in ids if found is not None]


def served_by(lease: Object | None, cloud: CloudCore) -> bool:
    """Whether ``lease`` is kept by the newest connection of its node to ``cloud``."""
    if lease is None:
        return False
    annotations = lease["metadata"].get("annotations", {})
    known = connections(cloud, lease["metadata"]["name"])
    return bool(known) and str(annotations.get(SERVED_BY, "")).endswith(f"/{known[-1]}")


def lease_path(node: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"


def lead(edge: Edge, cloud: CloudCore) -> None:
    """Lead the edge's new connections to ``cloud``, and strand those that are open."""
    edge.websocket.move(cloud.websocket_port)
    edge.https.move(cloud.https_port)


@asynccontextmanager
async def ready_edge(
    api: Api, node: str, cloud: CloudCore, data_dir: Path, options: tuple[str, ...]
) -> AsyncIterator[Edge]:
    async with running_edge(
        node, cloud, data_dir, token=await cloud.token(), options=options
    ) as edge:
        await api.wait(
            f"/api/v1/nodes/{node}", lambda n: n is not None and is_ready(n), f"{node} is Ready"
        )
        yield edge
    await api.delete(f"/api/v1/nodes/{node}")


async def authority_of(cloud: CloudCore) -> bytes:
    url = f"https://{LOOPBACK}:{cloud.https_port}/ca.crt"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as response:
        return await response.read()


async def test_cloudcores_that_start_at_once_on_an_empty_cluster_are_one_cloud(
    tmp_path: Path,
) -> None:
    async with (
        ControlPlane(tmp_path / "control-plane", components=API_ONLY) as control_plane,
        Api(control_plane) as api,
        clouds(control_plane, tmp_path, 3) as replicas,
    ):
        assert len({await authority_of(one) for one in replicas}) == 1
        secrets = "/api/v1/namespaces/kubeedge/secrets"
        before = {name_of(one): one["data"] for one in await api.items(secrets)}
        assert before.keys() == {"casecret", "cloudcoresecret", "tokensecret"}
        token = await replicas[0].token()
        async with AsyncExitStack() as stack:
            for number, one in enumerate(replicas):
                node = f"edge-{number}"
                await stack.enter_async_context(
                    running_edge(node, one, tmp_path / node, token=token, options=HOLLOW)
                )
                await api.wait(
                    f"/api/v1/nodes/{node}",
                    lambda n: n is not None and is_ready(n),
                    f"{node} is Ready",
                )
                await until_metric(one, CONNECTED, 1)
        after = {name_of(one): one["data"] for one in await api.items(secrets)}
        (record,) = after.keys() - before.keys()
        assert record.startswith("edgetoken.")
        assert after == {**before, record: after[record]}


async def test_a_node_that_comes_back_elsewhere_is_served_by_the_new_cloudcore_only(
    api: Api, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    node, pods = "moving-1", f"/api/v1/namespaces/{namespace}/pods"
    async with (
        clouds(control_plane, tmp_path, 2) as (first, second),
        ready_edge(api, node, first, tmp_path / node, ("--runtime=process",)) as edge,
    ):
        await api.create(pods, pod("web", node, script=FOREVER))
        await api.wait(f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready")
        await api.wait(
            lease_path(node), lambda lease: served_by(lease, first), "the first one has the lease"
        )
        processes = edge.daemon.processes()

        lead(edge, second)
        taken = await api.wait(
            lease_path(node),
            lambda lease: served_by(lease, second),
            "the second one has the lease",
            timeout_s=SEEN_S,
        )
        assert taken is not None
        await api.create(pods, pod("later", node, script=FOREVER))
        await api.wait(f"{pods}/later", lambda p: p is not None and is_ready(p), "so is a new pod")
        edge.websocket.mend()  # what the edge had said to the first one arrives now
        await until_metric(first, CONNECTED, 0, timeout_s=SEEN_S)
        renewed = taken["spec"]["renewTime"]
        lease = await api.wait(
            lease_path(node),
            lambda lease: lease is not None and lease["spec"]["renewTime"] > renewed,
            "the lease is renewed",
        )
        assert served_by(lease, second)
        assert await second.metric(CONNECTED) == 1
        found = await api.get(f"/api/v1/nodes/{node}")
        assert found is not None
        assert is_ready(found)
        web = await api.get(f"{pods}/web")
        assert web is not None
        assert restarts(web) == 0
        assert set(processes) <= set(edge.daemon.processes())


async def test_of_two_connections_that_both_live_the_older_one_is_ended(
    api: Api, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """A machine that was cloned: both halves have the node's certificate."""
    node = "cloned-1"
    async with (
        clouds(control_plane, tmp_path, 2) as (first, second),
        ready_edge(api, node, first, tmp_path / node, HOLLOW) as edge,
    ):
        await api.wait(
            lease_path(node), lambda lease: served_by(lease, first), "the first one has the lease"
        )
        clone(edge, tmp_path / "clone")
        async with running_edge(node, second, tmp_path / "clone", token="", options=HOLLOW):
            await until_replaced(first)
            edge.daemon.kill()
            await api.wait(
                lease_path(node), lambda lease: served_by(lease, second), "it has the lease"
            )
            await until_metric(first, CONNECTED, 0)
            await until_metric(second, CONNECTED, 1)


async def test_a_cloudcore_that_stops_leaves_its_nodes_to_the_others(
    api: Api, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    node, configmaps = "left-1", f"/api/v1/namespaces/{namespace}/configmaps"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    async with (
        clouds(control_plane, tmp_path, 2) as (first, second),
        ready_edge(api, node, first, tmp_path / node, HOLLOW) as edge,
    ):
        await api.create(configmaps, {"metadata": {"name": "settings"}, "data": {"a": "1"}})
        volume = {"name": "settings", "configMap": {"name": "settings"}}
        await api.create(pods, pod("web", node, script=FOREVER, volumes=[volume]))
        await api.wait(f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready")
        lead(edge, second)
        edge.mend()  # the connections that are open lead to the first one still
        await first.stop()
        written = await api.patch(f"{configmaps}/settings", {"data": {"a": "2"}})
        version = written["metadata"]["resourceVersion"]
        key = f"{namespace}/settings"
        await until(
            lambda: edge.daemon.stored("configmap").get(key) == version,
            "the change arrives by the second one",
        )
        await api.wait(
            lease_path(node), lambda lease: served_by(lease, second), "which has the lease"
        )
        web = await api.get(f"{pods}/web")
        assert web is not None
        assert restarts(web) == 0


async def until_replaced(cloud: CloudCore) -> None:
    """Return when ``cloud`` has ended a connection that a newer one replaced."""
    deadline = time.monotonic() + SEEN_S
    while not await cloud.metric(REFUSED, reason="replaced"):
        assert time.monotonic() < deadline, "no connection was replaced"
        await asyncio.sleep(0.05)


def clone(edge: Edge, folder: Path) -> None:
    """Copy the edge's files as they are at one moment: it writes none of them meanwhile."""
    with edge.daemon.frozen():
        shutil.copytree(edge.daemon.data_dir, folder, ignore=_sockets)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]
