"""What people at an edge's machine type: status, store, doctor and support-bundle.

Real: control plane, cloudcore and edgecore as processes with their command lines, TLS, pods as
processes, and the commands themselves. The link is cut by a proxy of the test, large packets are
swallowed by a wire between namespaces, and the expired token is made by the cluster's own
authority, as if time had passed.
"""

import asyncio
import json
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cloudcore.trust.tokens import new_token
from deploy.devcluster.api import Api
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.netns import CLOUD_ADDRESS, Namespace
from deploy.devcluster.site import Edge, is_ready, reachable_by_wire
from deploy.devcluster.wire import Wire
from tests.e2e.conftest import Join, pod
from tests.e2e.test_identity import authority_of

pytestmark = pytest.mark.timeout(180)

FOREVER: Final = "while true; do sleep 0.1; done"
PASSWORD: Final = "aHVudGVyMg=="
_EDGECORE: Final = str(Path(sys.executable).with_name("edgecore"))


async def edgecore(*arguments: str, entry: tuple[str, ...] = ()) -> tuple[int, str]:
    """Return how ``edgecore`` with these arguments ends, and what it prints.

    ``entry`` stands in front of its command line, to get to where it is to run.
    """
    process = await asyncio.create_subprocess_exec(
        *(*entry, _EDGECORE),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def status(edge: Edge) -> tuple[int, dict[str, Any]]:
    code, out = await edgecore("status", f"--data-dir={edge.daemon.data_dir}", "--output=json")
    shown = json.loads(out)
    assert isinstance(shown, dict)
    return code, shown


async def status_until(
    edge: Edge, holds: Callable[[dict[str, Any]], bool]
) -> tuple[int, dict[str, Any]]:
    """Ask until ``holds`` is true of the answer; the test's time limit ends it otherwise."""
    while True:
        code, shown = await status(edge)
        if holds(shown):
            return code, shown
        await asyncio.sleep(0.2)


def told(edge: Edge, cloud: str = "127.0.0.1", **changed: str) -> list[str]:
    """Return the options that this edge runs with."""
    options = {
        "node-name": edge.daemon.node,
        "cloud": cloud,
        "websocket-port": str(edge.websocket.port),
        "https-port": str(edge.https.port),
        "data-dir": str(edge.daemon.data_dir),
        "runtime": "process",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return [f"--{name}={value}" for name, value in options.items()]


async def doctor(
    *options: str, entry: tuple[str, ...] = ()
) -> tuple[int, dict[str, dict[str, str]]]:
    code, out = await edgecore("doctor", "--json", *options, entry=entry)
    return code, {one["name"]: one for one in json.loads(out)["findings"]}


async def running_pod(api: Api, namespace: str, edge: Edge) -> None:
    secret = {"metadata": {"name": "login"}, "data": {"password": PASSWORD}}
    await api.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
    env = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
    made = pod("web", edge.daemon.node, script=FOREVER, container={"env": [env]})
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, made)
    await api.wait(f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready")


async def test_status_tells_an_edge_that_is_connected_cut_off_and_stopped(
    api: Api, namespace: str, join: Join
) -> None:
    edge = await join()
    await running_pod(api, namespace, edge)

    # What the API server knows of the pod comes back to the store by the cloud.
    code, shown = await status_until(
        edge,
        lambda s: s["store"]["inStepSince"] is not None and s["pods"] == {"Running": 1},
    )
    assert code == 0, shown
    assert (shown["node"], shown["running"], shown["connected"]) == (edge.daemon.node, True, True)
    assert shown["edgecore"]["pid"] == edge.daemon.pid
    assert shown["cloud"]["address"] == f"127.0.0.1:{edge.websocket.port}"
    assert shown["store"]["objects"] >= 3
    assert shown["certificate"]["until"]
    _, table = await edgecore("status", f"--data-dir={edge.daemon.data_dir}")
    assert "connected to 127.0.0.1" in table
    assert "in step since" in table

    edge.cut()
    code, shown = await status_until(edge, lambda s: not s["connected"] and s["cloud"]["failure"])
    assert (code, shown["running"]) == (3, True)
    assert shown["cloud"]["since"]
    assert shown["advice"]
    assert shown["pods"] == {"Running": 1}
    edge.mend()
    assert (await status_until(edge, lambda s: bool(s["connected"])))[0] == 0

    await edge.daemon.stop()
    code, shown = await status(edge)
    assert (code, shown["running"], shown["connected"]) == (3, False, False)
    assert shown["store"]["objects"] >= 3
    assert shown["pods"] == {"Running": 1}
    assert shown["certificate"]["until"]
    assert shown["cloud"]["time"]
    await edge.daemon.start()


async def test_the_store_is_seen_beside_the_daemon_and_without_it(
    api: Api, namespace: str, join: Join
) -> None:
    edge = await join()
    await running_pod(api, namespace, edge)
    where = f"--data-dir={edge.daemon.data_dir}"

    async def look() -> None:
        code, out = await edgecore("store", "ls", where, "--namespace", namespace, "-o", "json")
        assert code == 0, out
        held = {(one["kind"], one["name"]) for one in json.loads(out)["items"]}
        assert {("pod", "web"), ("secret", "login")} <= held
        code, out = await edgecore("store", "get", "secret", f"{namespace}/login", where)
        assert code == 0, out
        assert PASSWORD not in out
        assert set(yaml.safe_load(out)["data"]) == {"password"}
        code, out = await edgecore(
            "store", "get", "secret", f"{namespace}/login", "--reveal", where
        )
        assert yaml.safe_load(out)["data"] == {"password": PASSWORD}
        code, out = await edgecore("store", "get", "pod", f"{namespace}/none", where)
        assert code == 1
        assert f"holds no pod {namespace}/none" in out

    await look()
    configmap = {"metadata": {"name": "later"}, "data": {"a": "b"}}
    await api.create(f"/api/v1/namespaces/{namespace}/configmaps", configmap)
    assert edge.daemon.pid is not None, "nobody was disturbed"
    await edge.daemon.stop()
    await look()
    await edge.daemon.start()


async def test_the_doctor_finds_nothing_wrong_with_an_edge_in_order(join: Join) -> None:
    edge = await join()
    await status_until(edge, lambda s: s["store"]["inStepSince"] is not None)
    code, found = await doctor(*told(edge))
    assert code == 0, found
    for name in (
        "configuration",
        "edge-store",
        "certificate",
        "name in the certificate",
        "authority of the cloud",
        "dates of the cloud's certificate",
        "large packets",
        "versions",
        "clock",
        f"port {edge.websocket.port}",
        f"port {edge.https.port}",
        "edgecore",
    ):
        assert found[name]["verdict"] == "OK", found[name]


async def test_the_doctor_names_the_fix_for_an_address_that_is_not_in_the_certificate(
    join: Join,
) -> None:
    edge = await join()
    code, found = await doctor(*told(edge, cloud="localhost"))
    assert code == 3
    assert found["name in the certificate"]["verdict"] == "FAIL"
    assert "--advertise-address localhost" in found["name in the certificate"]["fix"]


async def test_the_doctor_tells_of_a_cloud_that_does_not_answer(join: Join) -> None:
    edge = await join()
    edge.cut()
    code, found = await doctor(*told(edge))
    assert code == 3
    bad = [one for one in found.values() if one["verdict"] == "FAIL"]
    assert bad
    assert all(one["fix"] for one in bad)
    edge.mend()


async def test_the_doctor_sees_an_expired_token_before_it_is_used(
    api: Api, cloud: CloudCore, tmp_path: Path
) -> None:
    token = new_token(await authority_of(api), datetime.now(UTC) - timedelta(days=2))
    file = tmp_path / "token"
    file.write_text(token)
    code, found = await doctor(
        "--cloud=127.0.0.1",
        f"--websocket-port={cloud.websocket_port}",
        f"--https-port={cloud.https_port}",
        f"--data-dir={tmp_path / 'edge'}",
        f"--token-file={file}",
        "--runtime=process",
    )
    assert code == 3
    assert found["token"]["verdict"] == "FAIL"
    assert "has expired" in found["token"]["found"]
    assert "cloudcore token create" in found["token"]["fix"]
    assert token not in json.dumps(found)


async def test_the_doctor_asks_a_real_engine_who_it_is(
    container_engine: ContainerEngine, tmp_path: Path
) -> None:
    options = ("--cloud=127.0.0.1", f"--data-dir={tmp_path / 'edge'}")
    _, found = await doctor(*options, f"--runtime-endpoint={container_engine.endpoint}")
    assert found["container engine"]["verdict"] == "OK", found["container engine"]
    assert "containerd" in found["container engine"]["found"]
    assert found["cgroups"]["verdict"] == "OK"
    _, found = await doctor(*options, f"--runtime-endpoint=unix://{tmp_path}/none.sock")
    assert found["container engine"]["verdict"] == "FAIL"
    assert "systemctl start" in found["container engine"]["fix"]


@pytest.mark.usefixtures("wires_run")
async def test_the_doctor_sees_a_way_that_swallows_large_packets(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    cloud = CloudCore(control_plane, tmp_path / "cloudcore", options=reachable_by_wire())
    await cloud.start()
    with Namespace() as namespace, Wire(namespace) as wire:
        options = [
            f"--cloud={CLOUD_ADDRESS}",
            f"--websocket-port={cloud.websocket_port}",
            f"--https-port={cloud.https_port}",
            f"--data-dir={tmp_path / 'edge'}",
            "--runtime=process",
        ]
        _, found = await doctor(*options, entry=namespace.entry)
        assert found["large packets"]["verdict"] == "OK"
        wire.up.largest_bytes = wire.down.largest_bytes = 1400
        _, found = await doctor(*options, entry=namespace.entry)
        assert found["large packets"]["verdict"] == "WARN", found
        assert "mtu 1400" in found["large packets"]["fix"]
        wire.silence()
        _, found = await doctor(*options, entry=namespace.entry)
        ports = [one for name, one in found.items() if name.startswith("port ")]
        assert [one["verdict"] for one in ports] == ["FAIL", "FAIL"]
    await cloud.stop()


async def test_a_support_bundle_holds_what_is_known_and_no_secret(
    api: Api, namespace: str, join: Join, tmp_path: Path
) -> None:
    edge = await join()
    await running_pod(api, namespace, edge)
    file = tmp_path / "edge.tar.gz"
    code, out = await edgecore("support-bundle", str(file), *told(edge))
    assert code == 0, out
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        texts = {
            member.name.rpartition("/")[2]: stream.read().decode()
            for member in archive.getmembers()
            if (stream := archive.extractfile(member)) is not None
        }
    assert json.loads(texts["status.json"])["connected"] is True
    assert "edgecore_" in texts["metrics.txt"]
    assert any(one["name"] == "login" for one in json.loads(texts["store.json"]))
    key = (edge.daemon.data_dir / "edge-store.key").read_text().strip()
    for secret in (PASSWORD, "hunter2", key, "PRIVATE KEY"):
        assert all(secret not in text for text in texts.values())
