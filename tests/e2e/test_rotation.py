"""The authority is replaced under running daemons, and nobody is left behind.

Real: control plane, two cloudcores and edgecores as processes with their command lines, TLS and
enrolment. Nothing is faked.
"""

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from common import pki
from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import is_ready, running_edge, until, until_metric
from tests.e2e.conftest import clouds, pod

pytestmark = pytest.mark.timeout(240)

CONNECTED = "cloudcore_connected_nodes"
FOREVER = "while true; do sleep 0.1; done"


async def ca(control_plane: ControlPlane, *arguments: str) -> str:
    """Run a command of ``cloudcore ca``; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "cloudcore"),
        "ca",
        *arguments,
        f"--kubeconfig={control_plane.kubeconfig}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def behind(control_plane: ControlPlane) -> list[str]:
    status: dict[str, Any] = json.loads(await ca(control_plane, "status", "-o", "json"))
    return [one["node"] for one in status["behind"]]


def trusted_by(folder: Path) -> list[str]:
    """Return the fingerprints of the authorities that an edge has on its disk."""
    (file,) = folder.rglob("ca.crt")
    pems = file.read_text().split("-----END CERTIFICATE-----")[:-1]
    return [
        pki.fingerprint(ssl.PEM_cert_to_DER_cert(f"{one}-----END CERTIFICATE-----".strip()))
        for one in pems
    ]


async def test_edges_follow_to_a_new_authority_and_their_pods_notice_nothing(
    api: Api, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    web, nodes = f"/api/v1/namespaces/{namespace}/pods/web", "/api/v1/nodes"
    async with clouds(control_plane, tmp_path) as replicas:
        earlier = await replicas[0].token()
        async with running_edge("old-1", replicas[0], tmp_path / "old-1", token=earlier) as old:
            await api.create(web.rpartition("/")[0], pod("web", "old-1", script=FOREVER))
            await api.wait(web, lambda p: p is not None and is_ready(p), "the pod is Ready")
            processes = old.daemon.processes()
            before = trusted_by(tmp_path / "old-1")

            new = (await ca(control_plane, "rotate")).split()[-1]
            for one in replicas:
                await until_taken_over(one, 1)
            assert "old-1" in await behind(control_plane)
            # It trusts the old one only, and meets the other cloudcore.
            old.websocket.move(replicas[1].websocket_port)
            old.https.move(replicas[1].https_port)
            old.cut()
            await until_metric(replicas[0], CONNECTED, 0)
            old.mend()
            await until_followed(control_plane, "old-1")
            assert trusted_by(tmp_path / "old-1") == [new, *before]

            # Another one joins by a token that names the old one.
            late = running_edge("late-1", replicas[0], tmp_path / "late-1", token=earlier)
            async with late as joined:
                await until_followed(control_plane, "late-1")
                await ca(control_plane, "finish", "--force")  # other tests have left nodes
                for one in replicas:
                    await until_taken_over(one, 2)
                await until_metric(replicas[0], CONNECTED, 1)
                await until_metric(replicas[1], CONNECTED, 1)
                for edge, cloud in ((old, replicas[1]), (joined, replicas[0])):
                    edge.cut()
                    await until_metric(cloud, CONNECTED, 0)
                    edge.mend()
                    await until_metric(cloud, CONNECTED, 1)
            assert old.daemon.processes() == processes
            found = await api.get(web)
            assert found is not None
            assert is_ready(found)
        for name in ("old-1", "late-1"):
            await api.delete(f"{nodes}/{name}")


async def until_taken_over(cloud: CloudCore, times: int) -> None:
    words = "the authorities have changed"
    await until(lambda: cloud.log.read_text().count(words) >= times, "cloudcore has taken it over")


async def until_followed(control_plane: ControlPlane, node: str) -> None:
    async with asyncio.timeout(60):
        while node in await behind(control_plane):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.2)
