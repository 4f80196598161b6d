"""A lost machine is shut out, and let in again, with two cloudcores.

Real: control plane, cloudcores and edgecores as processes with their command lines, TLS, enrolment.
Nothing is faked.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import Edge, is_ready, running_edge, until, until_metric
from tests.e2e.conftest import clouds, pod

pytestmark = pytest.mark.timeout(180)

CONNECTED = "cloudcore_connected_nodes"
REFUSED = "cloudcore_refusals_total"
REVOKED_NODES = "cloudcore_revoked_nodes"
ISSUED = "cloudcore_certificates_issued_total"
FOREVER = "while true; do sleep 0.1; done"


async def cloudcore(control_plane: ControlPlane, *arguments: str) -> tuple[str, str]:
    """Run a command of cloudcore; return what it printed, and what it said beside that."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "cloudcore"),
        *arguments,
        f"--kubeconfig={control_plane.kubeconfig}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


@asynccontextmanager
async def edges(
    api: Api, replicas: list[CloudCore], folder: Path, names: list[str]
) -> AsyncIterator[list[Edge]]:
    """Edges that are Ready, one at each cloudcore."""
    async with AsyncExitStack() as stack:
        made = []
        for name, cloud in zip(names, replicas, strict=True):
            node = f"/api/v1/nodes/{name}"
            # After the edge has ended: one that runs registers its Node again.
            stack.push_async_callback(api.delete, node)
            running = running_edge(name, cloud, folder / name, token=await cloud.token())
            made.append(await stack.enter_async_context(running))
            await api.wait(node, lambda n: n is not None and is_ready(n), f"{name} is Ready")
        yield made


def log_of(edge: Edge) -> str:
    return edge.daemon.log.read_text()


async def test_a_lost_machine_is_shut_out_on_every_cloudcore_and_let_in_again_by_a_new_token(
    api: Api, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(
        f"/api/v1/namespaces/{namespace}/secrets",
        {"metadata": {"name": "db"}, "stringData": {"password": "p"}},
    )
    names = ["lost-1", "kept-1"]
    async with (
        clouds(control_plane, tmp_path) as replicas,
        edges(api, replicas, tmp_path, names) as (lost, kept),
    ):
        reads = {"container": {"envFrom": [{"secretRef": {"name": "db"}}]}}
        await api.create(pods, pod("web", "lost-1", script=FOREVER, **reads))
        await api.create(pods, pod("other", "kept-1", script=FOREVER))
        for name in ("web", "other"):
            await api.wait(f"{pods}/{name}", lambda p: p is not None and is_ready(p), "Ready")
        processes = lost.daemon.processes()
        before = await replicas[0].metric(REVOKED_NODES)  # by other tests on this cluster

        printed, said = await cloudcore(control_plane, "cert", "revoke", "lost-1")
        assert ["Secret", namespace, "db"] in [line.split() for line in printed.splitlines()]
        assert "replace what is secret" in said
        await until_metric(replicas[0], CONNECTED, 0)
        for one in replicas:
            await until_metric(one, REVOKED_NODES, before + 1)
        await until(lambda: "4401" in log_of(lost), "its log tells why it was cut off")
        # Nor does it get in at the other one.
        lost.websocket.move(replicas[1].websocket_port)
        lost.https.move(replicas[1].https_port)
        await until_refused(replicas[1])
        assert await replicas[1].metric(CONNECTED) == 1
        fix = "cloudcore token create --node-name lost-1"
        await until(lambda: fix in log_of(lost), "its log tells the way back")
        assert lost.daemon.processes() == processes
        found = await api.get(f"{pods}/other")
        assert found is not None
        assert is_ready(found)
        listed = json.loads((await cloudcore(control_plane, "cert", "list", "--output=json"))[0])
        revoked = {one["node"]: one["revoked"] is not None for one in listed}
        assert [revoked[name] for name in names] == [True, False]

        # The machine that was lost stays out; another one takes its place.
        token = await replicas[1].token("lost-1")
        copy = tmp_path / "stolen"
        lost.daemon.kill()  # so that its files are of one moment
        shutil.copytree(lost.daemon.data_dir, copy, ignore=shutil.ignore_patterns("*.sock"))
        lost.daemon.dispose()
        async with running_edge("lost-1", replicas[1], tmp_path / "new", token=token) as new:
            await until_metric(replicas[1], CONNECTED, 2)
            for one in replicas:
                await until_metric(one, REVOKED_NODES, before)
            await until(lambda: bool(new.daemon.stored("pod")), "the new machine has its pod")
            async with running_edge("lost-1", replicas[0], copy, token="") as stolen:
                await until(lambda: fix in log_of(stolen), "the old one is refused")
                assert await replicas[0].metric(CONNECTED) == 0
        assert kept.daemon.pid is not None


async def until_refused(cloud: CloudCore) -> None:
    async with asyncio.timeout(20):
        while await cloud.metric(REFUSED, reason="revoked") == 0:  # noqa: ASYNC110 - see until_metric
            await asyncio.sleep(0.05)


async def test_a_token_that_lies_on_the_lost_machine_does_not_help_it(
    api: Api, control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with clouds(control_plane, tmp_path) as replicas:
        token, plain = await replicas[0].token("lost-2"), await replicas[0].token()
        async with running_edge("lost-2", replicas[0], tmp_path / "first", token=token) as edge:
            node = "/api/v1/nodes/lost-2"
            await api.wait(node, lambda n: n is not None and is_ready(n), "it is Ready")
            _, said = await cloudcore(control_plane, "cert", "revoke", "lost-2")
            assert "tokens that are revoked with them: token-" in said
            await until_metric(replicas[0], CONNECTED, 0)
            edge.daemon.dispose()
        await api.delete(node)
        for number, old in enumerate((token, plain)):
            folder = tmp_path / f"again-{number}"
            async with running_edge("lost-2", replicas[number], folder, token=old) as again:
                await until(lambda: "revoked" in log_of(again), "its log tells why")
                assert await replicas[number].metric(CONNECTED) == 0
        assert await api.get(node) is None
        assert sum([await one.metric(ISSUED, by="token") for one in replicas]) == 1
