"""cloudcore wired as it runs: its life and its death. The API server is the real one, or away.

What it does for its edges is in the tests of its modules and in tests/e2e.
"""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloudcore import app
from cloudcore.config import CloudCoreSettings
from common import pki, tls
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.ports import LOOPBACK, free_ports
from tests.cloudcore.cluster import eventually, unique
from tests.cloudcore.nobody import kubeconfig_of_nobody


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """A kubeconfig that names an API server where nobody listens."""
    return kubeconfig_of_nobody(tmp_path)


def settings(kubeconfig: Path, folder: Path) -> CloudCoreSettings:
    websocket, https, monitor = free_ports(3)
    return CloudCoreSettings(
        kubeconfig=kubeconfig,
        data_dir=folder / "data",
        advertise_address=(LOOPBACK,),
        websocket_port=websocket,
        https_port=https,
        monitor_address=f"{LOOPBACK}:{monitor}",
        grace_s=5,
    )


def asked(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def ask(made: CloudCoreSettings, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(asked, made.monitor_address, path)


@asynccontextmanager
async def running(made: CloudCoreSettings) -> AsyncIterator[asyncio.Event]:
    """Run cloudcore while the context lasts; the event stops it."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(app.run(made, stop), name="cloudcore")
        yield stop
        stop.set()


async def is_ready(made: CloudCoreSettings) -> bool:
    try:
        return (await ask(made, "/readyz"))[0] == 200
    except OSError:  # it does not listen yet
        return False


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == 0


@pytest.mark.both_loops
async def test_it_is_ready_once_in_step_and_leaves_nothing_behind(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    made = settings(control_plane.kubeconfig, tmp_path)
    others = asyncio.all_tasks()
    async with running(made):
        await eventually(lambda: is_ready(made))
        assert (await ask(made, "/healthz"))[0] == 200
        conditions = (await ask(made, "/readyz?verbose"))[1].splitlines()
        assert {"[+] authority", "[+] revocations", "[+] api-server", "ready"} <= set(conditions)
        assert any(line.startswith("[ ] api-server: answered ") for line in conditions)
        metrics = (await ask(made, "/metrics"))[1]
        for sample in (
            "cloudcore_connected_nodes 0.0",
            "KubeEdge_CloudHub_connected_nodes 0.0",
            'cloudcore_certificate_expiry_timestamp_seconds{certificate="server"}',
            'cloudcore_apiserver_requests_total{code="200",verb="GET"}',
            'cloudcore_mailbox_messages{module="cloudhub"}',
            "process_resident_memory_bytes",
            "cloudcore_build_info{version=",
        ):
            assert sample in metrics
    for port in (made.websocket_port, made.https_port):
        assert not accepts(port)
    assert asyncio.all_tasks() == others
    key = made.data_dir / "server.key"
    assert key.stat().st_mode & 0o777 == 0o600


async def test_while_the_api_server_is_away_it_says_so_and_can_be_stopped(
    away: Path, tmp_path: Path
) -> None:
    made = settings(away, tmp_path)

    async def tells() -> bool:
        try:
            code, text = await ask(made, "/readyz")
        except OSError:
            return False
        return code == 503 and "api-server: has not answered yet\n" in text

    async with running(made):
        await eventually(tells)
        assert (await ask(made, "/healthz"))[0] == 200
    assert not accepts(made.websocket_port)


async def test_a_stop_that_comes_first_ends_it_at_once(away: Path, tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    await app.run(settings(away, tmp_path), stop)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order(
    control_plane: ControlPlane, tmp_path: Path, number: signal.Signals
) -> None:
    made = settings(control_plane.kubeconfig, tmp_path)
    environ = {name: value for name, value in os.environ.items() if "CLOUDCORE" not in name}
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from cloudcore.cli import main; main()",
            "run",
            f"--kubeconfig={made.kubeconfig}",
            f"--data-dir={made.data_dir}",
            f"--advertise-address={LOOPBACK}",
            f"--websocket-port={made.websocket_port}",
            f"--https-port={made.https_port}",
            "--monitor-address=",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        assert process.stderr is not None
        assert any("cloudcore is ready" in line for line in process.stderr)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "cloudcore stops" in errors


def names_shown(port: int) -> frozenset[str]:
    with (
        socket.create_connection((LOOPBACK, port)) as plain,
        tls.unverified_context().wrap_socket(plain) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    assert der is not None
    return pki.server_hosts(pki.load_certificate(der))


async def test_other_names_need_no_restart(control_plane: ControlPlane, tmp_path: Path) -> None:
    made, file = settings(control_plane.kubeconfig, tmp_path), tmp_path / "cloudcore.yaml"
    name = unique("cloud")
    file.write_text(f"advertise-address: {LOOPBACK}")
    environ = {name: value for name, value in os.environ.items() if "CLOUDCORE" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from cloudcore.cli import main; main()",
        "run",
        f"--config={file}",
        f"--kubeconfig={made.kubeconfig}",
        f"--data-dir={made.data_dir}",
        f"--websocket-port={made.websocket_port}",
        f"--https-port={made.https_port}",
        f"--monitor-address={made.monitor_address}",
        env=environ,
    )
    try:
        await eventually(lambda: is_ready(made))

        async def is_shown() -> bool:
            ports = (made.websocket_port, made.https_port)
            return all([name in await asyncio.to_thread(names_shown, port) for port in ports])

        assert not await is_shown()
        file.write_text(f"advertise-address: {LOOPBACK},{name}")
        process.send_signal(signal.SIGHUP)
        await eventually(is_shown)
    finally:
        process.terminate()
        assert await process.wait() == 0
