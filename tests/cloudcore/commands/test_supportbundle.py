"""``cloudcore support-bundle``, from its arguments to the file.

Real: the API server, the file, a monitor over HTTP that is one of the test's. No controllers run
the pods of cloudcore, so that there are no logs to be had.
"""

import asyncio
import json
import stat
import sys
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudcore import cli
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.ledger import Ledger
from common.issuing import Issued
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.ports import LOOPBACK, free_ports
from tests.cloudcore.cluster import body, has_account, unique

pytestmark = pytest.mark.e2e

HIDDEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ0In0.c2lnbmF0dXJl"


@pytest.fixture
async def monitor() -> AsyncIterator[str]:
    """The address of something that answers as a monitor, with a token in it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        said = f"{asked}: {HIDDEN}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
        yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str]:
    monkeypatch.setattr(sys, "argv", ["cloudcore", "support-bundle", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path, "r:gz") as archive:
        found = {}
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream is not None
            found[entry.name.removeprefix("cloudcore-support/")] = stream.read().decode()
        return found


async def test_it_has_what_is_known_and_nothing_that_is_secret(
    control_plane: ControlPlane,
    client: KubeClient,
    monitor: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    authorities = await authoritystore.load_authorities(client, datetime.now(UTC))
    await has_account(client, NAMESPACE)
    node, pod = NodeID(unique("n")), unique("cloudcore")
    await Ledger(client).record(
        node, Issued(b"", 7, datetime(2040, 1, 1, tzinfo=UTC), "k-e-y"), None
    )
    await client.create(
        kinds.PODS.path(NAMESPACE),
        body(
            {
                "metadata": {"name": pod, "labels": {"app": "cloudcore"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "schedulerName": "nobody",  # there may be nodes, of other tests
                    "containers": [{"name": "c", "image": "cloudcore:1"}],
                },
            }
        ),
    )
    monkeypatch.setenv("CLOUDCORE_MONITOR_ADDRESS", monitor)
    websocket, https = free_ports(2)
    config = tmp_path / "cloudcore.yaml"
    config.write_text(f"websocket-port: {websocket}\nhttps-port: {https}\n")
    file = tmp_path / "cloud.tar.gz"
    code, said = await asyncio.to_thread(
        run,
        monkeypatch,
        capsys,
        str(file),
        f"--kubeconfig={control_plane.kubeconfig}",
        f"--config={config}",
        f"--advertise-address={LOOPBACK}",
    )
    await client.delete(kinds.PODS.path(NAMESPACE, pod))
    assert (code, "look through it before" in said) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = contents(file)
    assert "MISSING.txt" not in found
    assert found["version.txt"].startswith("cloudcore ")
    assert json.loads(found["configuration.json"])["websocket_port"]["value"] == websocket
    findings = {one["name"]: one for one in json.loads(found["doctor.json"])["findings"]}
    assert f":{https}" in findings["https-port"]["found"]
    assert "nodes" in json.loads(found["nodes.json"])
    entries = {one["node"]: one for one in json.loads(found["certificates.json"])["entries"]}
    assert entries[node]["serial"] == "7"
    assert pod in [one["name"] for one in json.loads(found["pods.json"])]
    assert f"== {pod}\n" in found["logs.txt"]
    assert found["readyz.txt"] == "/readyz?verbose: (removed)\n"
    assert found["metrics.txt"] == "/metrics: (removed)\n"
    everything = "".join(found.values())
    key = authorities.current.key.private_numbers().private_value
    for secret in (
        "k-e-y",
        HIDDEN,
        "PRIVATE KEY",
        f"{key:x}",
        control_plane.kubeconfig.read_text(),
    ):
        assert secret not in everything


async def test_where_nothing_answers_it_says_what_is_missing_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cloud.tar.gz"
    missing = f"--kubeconfig={tmp_path / 'none'}"
    monkeypatch.setattr(
        "cloudcore.commands.supportbundle.split_address", lambda _: (LOOPBACK, free_ports(1)[0])
    )
    code, said = await asyncio.to_thread(run, monkeypatch, capsys, str(file), missing)
    assert code == 0
    found = contents(file)
    assert set(found) == {"README.txt", "version.txt", "MISSING.txt"}
    lacking = found["MISSING.txt"].splitlines()
    assert lacking[0].startswith("configuration.json: --advertise-address")
    assert "nodes.json: --kubeconfig" in found["MISSING.txt"]
    assert "metrics.txt: no monitor answers at 127.0.0.1:9091" in found["MISSING.txt"]
    assert "not in it: metrics.txt" in said
