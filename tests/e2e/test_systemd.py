"""What the daemons say to systemd, and what becomes of one that is stuck.

Real: both daemons with their command lines, the control plane, and the protocol of sd_notify.
systemd itself is made up (``servicemanager``), since no machine of tests is sure to run it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.ports import LOOPBACK, free_ports
from tests.e2e.servicemanager import Service

SCRIPTS = Path(sys.executable).parent
BUSY_S = 10.0
"""A watchdog that a daemon in order is not late for on a busy machine: it beats twice in it."""

Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made: list[Service] = []

    def start(*command: str, watchdog_s: float = 30.0) -> Service:
        service = Service(
            [str(SCRIPTS / command[0]), *command[1:]], tmp_path, watchdog_s=watchdog_s
        )
        made.append(service)
        service.start()
        return service

    yield start
    for service in made:
        service.stop()


def offline_edge(tmp_path: Path) -> tuple[str, ...]:
    return (
        "edgecore",
        "run",
        f"--cloud={LOOPBACK}",
        f"--websocket-port={free_ports(1)[0]}",
        "--node-name=n1",
        "--runtime=process",
        "--token=a.b.c.d",
        "--monitor-address=",
        f"--data-dir={tmp_path / 'edge'}",
    )


def test_an_edge_without_its_cloud_is_ready_and_beats_and_says_that_it_stops(
    serve: Serve, tmp_path: Path
) -> None:
    service = serve(*offline_edge(tmp_path), watchdog_s=BUSY_S)
    service.wait(lambda: service.said.count("WATCHDOG=1") > 2, "it beats")
    assert (service.starts, service.late) == (1, 0)
    service.stop()
    assert "STOPPING=1" in service.said


def test_an_edge_that_is_stuck_is_started_again(serve: Serve, tmp_path: Path) -> None:
    service = serve(*offline_edge(tmp_path), watchdog_s=4.0)
    service.freeze()
    service.wait(lambda: service.said.count("READY=1") == 2, "it is ready again")
    assert (service.starts, service.late) == (2, 1)


def test_the_cloud_is_ready_once_it_is_in_step_and_reads_its_configuration_again(
    serve: Serve, control_plane: ControlPlane, tmp_path: Path
) -> None:
    websocket, https = free_ports(2)
    config = tmp_path / "cloudcore.yaml"
    config.write_text(f"advertise-address: {LOOPBACK}\n")
    service = serve(
        "cloudcore",
        "run",
        f"--config={config}",
        f"--kubeconfig={control_plane.kubeconfig}",
        f"--websocket-port={websocket}",
        f"--https-port={https}",
        "--monitor-address=",
        f"--data-dir={tmp_path / 'cloud'}",
        watchdog_s=BUSY_S,
    )
    service.wait(lambda: service.said.count("WATCHDOG=1") > 2, "it beats")
    assert service.process is not None
    config.write_text(f"advertise-address: {LOOPBACK},cloud.test\n")
    os.kill(service.process.pid, signal.SIGHUP)  # as ExecReload does
    service.wait(lambda: "the configuration was read again" in service.log.read_text(), "reload")
    assert (service.starts, service.late) == (1, 0)
    service.stop()
    assert "STOPPING=1" in service.said
