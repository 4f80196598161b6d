"""What edgecore costs a device."""

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.figures import MIB, Figure, resident_bytes
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import is_ready, running_edge

NODE: Final = "bench-edge"
STARTS: Final = 7
_SETTLE_S: Final = 5.0
_TIMEOUT_S: Final = 60.0
_OFFLINE: Final = ("--cloud=127.0.0.1", "--websocket-port=1", "--https-port=1", "--node-ip=::1")


async def measure(api: Api, cloud: CloudCore, folder: Path) -> list[Figure]:
    """Join one real edge and look at it while it has nothing to do."""
    token = await cloud.token()
    async with running_edge(NODE, cloud, folder / NODE, token=token) as edge:
        await api.wait(
            f"/api/v1/nodes/{NODE}", lambda n: n is not None and is_ready(n), "the edge is Ready"
        )
        await asyncio.sleep(_SETTLE_S)
        assert edge.daemon.pid is not None
        resident = resident_bytes(edge.daemon.pid) / MIB
    await api.delete(f"/api/v1/nodes/{NODE}")
    return [Figure("edgecore resident, idle", resident, "MiB", 45, "90 MiB")]


def measure_start(folder: Path) -> list[Figure]:
    """Start edges that have no cloud, and wait until each tells systemd that it is ready."""
    wanted = {"process": 0.5, "cri": None}
    # An installed edge has its modules compiled; those of a checkout are compiled by this start.
    _start_s(folder / "first", "cri")
    return [
        Figure(
            f"edgecore --runtime={runtime}: from its start to READY (median of {STARTS})",
            statistics.median(_start_s(folder / f"{runtime}-{n}", runtime) for n in range(STARTS)),
            "s",
            target,
        )
        for runtime, target in wanted.items()
    ]


def _start_s(data_dir: Path, runtime: str) -> float:
    """Return the seconds from the start of a process to READY=1."""
    data_dir.mkdir()
    program = Path(sys.executable).with_name("edgecore")
    endpoint = f"--runtime-endpoint=unix://{data_dir}/none.sock"
    options = ("run", f"--runtime={runtime}", endpoint, "--node-name=n", "--monitor-address=")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(data_dir / "notify"))
        systemd.settimeout(_TIMEOUT_S)
        environ = os.environ | {"NOTIFY_SOCKET": str(data_dir / "notify")}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        begun = time.monotonic()
        with subprocess.Popen(
            [program, *options, f"--data-dir={data_dir / 'data'}", *_OFFLINE],
            stderr=subprocess.DEVNULL,
            env=environ,
        ) as process:
            while b"READY=1" not in systemd.recv(4096):
                pass
            taken = time.monotonic() - begun
            process.send_signal(signal.SIGKILL)
    return taken
