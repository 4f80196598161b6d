"""cloudcore and edgecore as processes, run with their real command lines."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.ports import LOOPBACK, free_ports
from deploy.devcluster.probe import Probe
from deploy.devcluster.program import Program, ProgramError
from edgecore.edged.volumes.mounts import unmount_below

START_TIMEOUT_S: Final = 60.0
STOP_GRACE_S: Final = 10.0
_SCRIPTS: Final = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where on this machine a daemon runs; by default where we do."""

    entry: tuple[str, ...] = ()
    """What stands in front of its command line to get there."""

    monitor_host: str = LOOPBACK
    """Where it is asked for its health and figures."""


@dataclass(frozen=True, slots=True)
class CloudAddress:
    """Where an edge reaches its cloud."""

    websocket_port: int
    https_port: int
    host: str = LOOPBACK


HERE: Final = Place()


class Daemon:
    """A daemon that can be stopped, killed, frozen and started again with the same command line."""

    def __init__(
        self, name: str, command: Sequence[str], data_dir: Path, place: Place = HERE
    ) -> None:
        """Nothing runs yet.

        Args:
            name: of the daemon, for messages.
            command: the script's name and its arguments; the monitor address is added.
            data_dir: the daemon's own folder; its log lies beside it.
            place: where it runs.
        """
        self.name, self.data_dir = name, data_dir
        self.log = data_dir.with_suffix(".log")
        port = free_ports(1)[0]
        self._monitor = f"{place.monitor_host}:{port}"
        # An edge also starts while its engine is away, which is some tests' point.
        self._ready = Probe(port, "/readyz?exclude=container-engine", host=place.monitor_host)
        self._program = Program(
            name,
            [
                *place.entry,
                str(_SCRIPTS / command[0]),
                *command[1:],
                f"--data-dir={data_dir}",
                f"--monitor-address={self._monitor}",
            ],
            self.log,
        )

    @property
    def pid(self) -> int | None:
        """The process id, or None where it does not run."""
        return self._program.pid

    async def start(self) -> None:
        """Start the daemon and return when it is ready.

        Raises:
            ProgramError: it ended or did not get ready; the message holds the end of its log.
        """
        self._program.start()
        await self._program.wait_ready(self._ready, START_TIMEOUT_S)

    async def stop(self) -> None:
        """Stop it as systemd does: SIGTERM, then SIGKILL."""
        await self._program.stop(STOP_GRACE_S)

    def kill(self) -> None:
        """Kill it without warning."""
        self._program.kill()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing while the context lasts, without telling anybody."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Stop it and start it again."""
        await self.stop()
        await self.start()

    async def metrics(self) -> str:
        """Return all metrics, in Prometheus' text format; ``total`` reads it."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self._monitor}/metrics") as response,
        ):
            return await response.text()

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples called ``name`` that carry ``labels``; 0 where none do."""
        return total(await self.metrics(), name, **labels)


def total(metrics: str, name: str, **labels: str) -> float:
    """Return the sum of the samples called ``name`` that carry ``labels``; 0 where none do."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    samples = (line.rpartition(" ") for line in metrics.splitlines() if line.startswith(name))
    return sum(
        float(value)
        for sample, _, value in samples
        if sample.partition("{")[0] == name and all(label in sample for label in wanted)
    )


class CloudCore(Daemon):
    """The cloud's daemon on loopback ports."""

    def __init__(
        self,
        control_plane: ControlPlane,
        data_dir: Path,
        *,
        options: Sequence[str] = (),
        kubeconfig: Path | None = None,
    ) -> None:
        """Choose ports.

        Args:
            control_plane: whose cloudcore it is.
            data_dir: its own folder; its log lies beside it.
            options: added to the command line.
            kubeconfig: says who it is; None is the administrator.
        """
        self.websocket_port, self.https_port = free_ports(2)
        self._kubeconfig = kubeconfig or control_plane.kubeconfig
        super().__init__(
            "cloudcore",
            [
                "cloudcore",
                "run",
                f"--kubeconfig={self._kubeconfig}",
                f"--advertise-address={LOOPBACK}",
                f"--websocket-address={LOOPBACK}",
                f"--https-address={LOOPBACK}",
                f"--websocket-port={self.websocket_port}",
                f"--https-port={self.https_port}",
                *options,
            ],
            data_dir,
        )

    async def token(self, node: str = "", *options: str) -> str:
        """Return a new join token.

        Args:
            node: name or pattern of the nodes that it is for; any if it is empty.
            options: more of ``cloudcore token create``.
        """
        bound = [f"--node-name={node}"] if node else []
        return (await self.command("token", "create", *bound, *options)).strip()

    async def command(self, group: str, verb: str, *arguments: str) -> str:
        """Return what ``cloudcore <group> <verb>`` prints, which asks the same API server.

        Raises:
            ProgramError: it failed; the message has what it says of that.
        """
        process = await asyncio.create_subprocess_exec(
            str(_SCRIPTS / "cloudcore"),
            *(group, verb, f"--kubeconfig={self._kubeconfig}", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            message = f"cloudcore {group} {verb} failed: {err.decode()}"
            raise ProgramError(message)
        return out.decode()


class NodeDaemon(Daemon):
    """A daemon with an edge-store and pods. ``dispose`` ends what outlives it on purpose."""

    node: str

    def stored(self, kind: str) -> dict[str, str]:
        """Return what the edge-store holds of ``kind``: ``namespace/name`` to resource version."""
        rows = self._read(
            "SELECT namespace || '/' || name, resource_version FROM objects WHERE type = ?", kind
        )
        return {str(key): str(version) for key, version in rows}

    def state(self, key: str) -> str | None:
        """Return what the edge-store remembers under ``key`` besides objects."""
        rows = self._read("SELECT value FROM state WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def _read(self, query: str, argument: str) -> list[Sequence[object]]:
        path = self.data_dir / "edge-store.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            if not store.execute("SELECT 1 FROM sqlite_master WHERE name = 'objects'").fetchone():
                return []  # it is being made
            return store.execute(query, (argument,)).fetchall()

    def processes(self) -> list[int]:
        """Return the processes that edgecore started and that outlive it: keepers of containers."""
        return [
            pid
            for pid, command_line in _command_lines()
            if str(self.data_dir) in command_line and pid not in {self.pid, os.getpid()}
        ]

    def dispose(self) -> None:
        """Kill the daemon and all that it has started, and unmount what it has mounted."""
        self.kill()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        unmount_below(self.data_dir)


class EdgeCore(NodeDaemon):
    """An edge's daemon."""

    def __init__(
        self,
        node: str,
        data_dir: Path,
        *,
        token: str,
        cloud: CloudAddress,
        options: Sequence[str] = ("--runtime=process",),
        place: Place = HERE,
    ) -> None:
        """Prepare the edge of ``node``."""
        self.node = node
        data_dir.mkdir(parents=True, exist_ok=True)
        token_file = data_dir.with_suffix(".token")
        token_file.write_text(token)
        token_file.chmod(0o600)
        super().__init__(
            f"edgecore {node}",
            [
                "edgecore",
                "run",
                f"--node-name={node}",
                f"--cloud={cloud.host}",
                f"--websocket-port={cloud.websocket_port}",
                f"--https-port={cloud.https_port}",
                f"--token-file={token_file}",
                # How full the disk of this machine is decides nothing here.
                "--eviction-hard=memory.available<50Mi",
                *options,
            ],
            data_dir,
            place,
        )


class EdgeSite(NodeDaemon):
    """The daemon of a site with an API server of its own."""

    def __init__(
        self,
        kubeconfig: Path,
        node: str,
        data_dir: Path,
        *,
        options: Sequence[str] = ("--runtime=process",),
    ) -> None:
        """Prepare the site, whose one node is ``node``, for the API server of ``kubeconfig``."""
        self.node = node
        super().__init__(
            f"edgesite {node}",
            [
                "cloudcore",
                "edgesite",
                f"--kubeconfig={kubeconfig}",
                f"--node-name={node}",
                "--eviction-hard=memory.available<50Mi",
                *options,
            ],
            data_dir,
        )


def process_with(variable: str, value: str) -> int:
    """Return the process that has ``variable=value`` in its environment and no parent that has.

    In whatever namespaces it is, the id is the one out here: what a container calls 1.

    Raises:
        LookupError: there is none.
    """
    wanted = f"{variable}={value}".encode()
    parents: dict[int, int] = {}
    for pid, _ in _command_lines():
        folder = Path("/proc", str(pid))
        # It may end while we look.
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                # The name before the parent may have spaces and brackets.
                parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    for pid, parent in parents.items():
        if parent not in parents:
            return pid
    raise LookupError(f"no process has {variable}={value}")


def _command_lines() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            # A process may end while we look.
            with contextlib.suppress(OSError):
                yield int(folder.name), (folder / "cmdline").read_bytes().decode(errors="replace")
