"""A machine joins, is upgraded while a pod runs on it, and leaves, by the commands that people use.

Real: control plane, cloudcore, edgecore with its launcher as processes, enrolment, the pod's
process. The machine's files are below a folder; systemd is made up (``servicemanager``), and the
versions are this one under other names.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.daemons import CloudCore, process_with
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.site import is_ready, until
from edgecore.edged.volumes.mounts import unmount_below
from edgecore.install import installer, slots, upgrading
from edgecore.install.joining import link_of
from edgecore.install.slots import State
from edgecore.install.upgrading import LeftAgainError
from tests.e2e.conftest import pod
from tests.e2e.servicemanager import Service
from tests.edgecore.install.machines import WithSystemd

EDGECORE = Path(sys.executable).with_name("edgecore")
NODE = "joins-by-command"
CONFIG = "etc/cloudedge/edgecore.yaml"
DATA_DIR = "var/lib/cloudedge/edgecore"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The machine; nothing that was started on it is left."""
    folder = tmp_path / "machine"
    yield folder
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and str(folder) in (entry / "cmdline").read_text():
                os.kill(int(entry.name), signal.SIGKILL)
    unmount_below(folder)


def add_version(home: Path, version: str, script: str) -> None:
    program = slots.program_of(home, version)
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


async def command(*arguments: str) -> str:
    done = await asyncio.to_thread(
        lambda: subprocess.run([EDGECORE, *arguments], capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(180)
async def test_a_machine_joins_is_upgraded_under_its_pod_and_leaves(
    api: Api, cloud: CloudCore, namespace: str, root: Path, tmp_path: Path
) -> None:
    """Promise P5: neither a good version nor a bad one touches what runs."""
    token = tmp_path / "token"
    token.write_text(await cloud.token())
    join = [
        "join",
        LOOPBACK,
        f"--node-name={NODE}",
        "--runtime=process",
        f"--set=websocket_port={cloud.websocket_port}",
        f"--set=https_port={cloud.https_port}",
        "--set=monitor_address=",
        "--set=eviction_hard=memory.available<50Mi",
        f"--root={root}",
    ]
    planned = await command(*join, f"--token-file={token}", "--dry-run")
    assert "would enrol" in planned
    assert not root.exists()
    assert "enrolled: node" in await command(*join, f"--token-file={token}")
    assert "unchanged: the certificate" in await command(*join)

    home, data_dir = tmp_path / "home", root / DATA_DIR
    installer.make_launcher(home)
    for version in ("1.0", "2.0"):
        add_version(home, version, f'exec {EDGECORE} "$@"')
    add_version(home, "3.0", "exit 1")
    slots.write_state(home, State("1.0"))
    options = [f"--config={root / CONFIG}", f"--data-dir={data_dir}"]
    service = Service([str(slots.launcher_of(home)), "run", *options], tmp_path)
    machine = WithSystemd(Path("/"), lambda _: service.restart())
    await asyncio.to_thread(service.start)
    try:
        process = await _run_pod(api, namespace)
        await until(lambda: _is_connected(data_dir), "the edge is connected")
        await asyncio.to_thread(upgrading.upgrade, home, "2.0", data_dir, machine, print)
        assert slots.read_state(home).wants_link
        assert process_with("WHO", namespace) == process
        with pytest.raises(LeftAgainError, match=r"3\.0 was left again"):
            await asyncio.to_thread(upgrading.upgrade, home, "3.0", data_dir, machine, print)
        assert slots.read_state(home).current == "2.0"
        await until(lambda: _is_connected(data_dir), "the edge is connected")
        assert process_with("WHO", namespace) == process
    finally:
        await asyncio.to_thread(service.stop)
    assert process_with("WHO", namespace) == process

    assert "ended: pod" in await command("reset", "--yes", f"--root={root}")
    with pytest.raises(LookupError):
        process_with("WHO", namespace)
    assert not data_dir.exists()
    assert not (root / CONFIG).exists()
    await api.delete(f"/api/v1/nodes/{NODE}")


async def _run_pod(api: Api, namespace: str) -> int:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    environment = {"env": [{"name": "WHO", "value": namespace}]}
    made = pod("web", NODE, script="while true; do sleep 0.1; done", container=environment)
    await api.wait(f"/api/v1/nodes/{NODE}", _is_there_and_ready, "the node is Ready")
    await api.create(pods, made)
    await api.wait(f"{pods}/web", _is_there_and_ready, "the pod is Ready")
    return process_with("WHO", namespace)


def _is_there_and_ready(found: Object | None) -> bool:
    return found is not None and is_ready(found)


def _is_connected(data_dir: Path) -> bool:
    return (link_of(data_dir) or {}).get("connected") is True
