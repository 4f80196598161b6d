"""The process runtime: a container is its command, run as a child process on the machine itself.

For devices without a container engine, like Nomad's raw_exec: images are ignored, a command is
required, and the network is the machine's. Where edgecore is root and the kernel has mount
namespaces, a process finds its volumes at their mount paths (see ``mountns``); everywhere it finds
the directory of a volume in the variable ``CLOUDEDGE_VOLUME_<NAME>``. There is no isolation.

Each process has a keeper (see ``keeper``) and does not notice when edgecore ends, however it ends.
What is on disk is enough to find it again: ``<state dir>/<pod uid>/sandbox.json`` and a directory
per container.
"""

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from common.errors import RuntimeServiceError
from common.files import make_folders
from common.names import UID
from edgecore.edged.runtime import keeper, keepers
from edgecore.edged.runtime.base import (
    ContainerState,
    ContainerStatus,
    ExecResult,
    PodObservation,
    PodStats,
    RuntimeVersion,
)
from edgecore.edged.runtime.beside import run_beside
from edgecore.edged.runtime.images import Images
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig

logger = logging.getLogger(__name__)

VERSION: Final = "0.1.0"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KILL_TIMEOUT_S: Final = 5.0
_EXIT_SIGKILL: Final = 137
_IMPORT_PATH: Final = str(Path(__file__).parents[3])


class _Container(Struct):
    status: ContainerStatus
    directory: Path
    config: ContainerConfig | None = None
    """Only until it is started, and only in the edgecore that created it."""
    pidfd: int = -1
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class _Pod(Struct):
    uid: UID
    namespace: str
    name: str
    sandbox_id: str
    ready: bool
    attempt: int
    containers: dict[str, _Container] = field(default_factory=dict)


class ProcessRuntime:
    """Containers as processes of this machine."""

    scheme = "process"
    wants_files = True
    answers_probes = True
    images: Images | None = None

    def __init__(
        self,
        state_dir: Path,
        *,
        mount: bool | None = None,
        log_bytes: int = 10 * 1024 * 1024,
        log_files: int = 5,
    ) -> None:
        """Make the runtime; nothing happens before ``open``.

        Args:
            state_dir: what must survive a restart; for this runtime alone.
            mount: whether processes get their volumes at the mount paths; None to find out.
            log_bytes: size of a log after which the next one is begun.
            log_files: logs of one container that are kept, the current one included.
        """
        self._state_dir, self._mount = state_dir, mount
        self._log_bytes, self._log_files = log_bytes, log_files
        self._pods: dict[UID, _Pod] = {}
        self._containers: dict[str, tuple[_Pod, _Container]] = {}
        self._events: asyncio.Queue[UID] = asyncio.Queue()

    async def open(self) -> None:
        """Find the pods that an earlier edgecore left, and watch what runs of them."""
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._mount is None:
            self._mount = await keepers.can_mount()
            if not self._mount:
                logger.warning("no mount namespaces: processes find volumes by variables only")
        for directory in sorted(self._state_dir.iterdir()):
            self._load_pod(directory)

    async def close(self) -> None:
        """Stop watching. Everything goes on running."""
        for _, container in self._containers.values():
            self._release(container)

    async def version(self) -> RuntimeVersion:
        """Return ``process://``, which tells that images mean nothing here."""
        return RuntimeVersion(self.scheme, VERSION)

    async def list_pods(self) -> list[PodObservation]:
        """Return all pods of the state directory."""
        return [_observe(pod) for pod in self._pods.values()]

    async def pod(self, uid: UID) -> PodObservation | None:
        """Return the pod with ``uid``."""
        pod = self._pods.get(uid)
        return _observe(pod) if pod else None

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make the pod's directory; there is nothing to run."""
        pod = self._pods.get(config.uid)
        if pod is None:
            pod = _Pod(config.uid, config.namespace, config.name, "", ready=True, attempt=0)
        pod.sandbox_id, pod.attempt = f"{config.uid}.{config.attempt}", config.attempt
        pod.ready = True
        self._save_pod(pod)
        self._pods[config.uid] = pod
        return pod.sandbox_id

    async def stop_sandbox(self, uid: UID) -> None:
        """Kill what still runs, and note that the pod has ended."""
        if pod := self._pods.get(uid):
            for container_id in list(pod.containers):
                await self.stop_container(container_id, 0)
            pod.ready = False
            self._save_pod(pod)

    async def remove_sandbox(self, uid: UID) -> None:
        """Remove the pod's directory."""
        pod = self._pods.get(uid)
        if pod is None:
            return
        for container_id in list(pod.containers):
            await self.remove_container(container_id)
        await asyncio.to_thread(shutil.rmtree, self._state_dir / uid, ignore_errors=True)
        del self._pods[uid]

    async def create_container(self, uid: UID, config: ContainerConfig) -> str:
        """Note the container; its environment is kept in memory only."""
        if not config.command:
            raise RuntimeServiceError(
                "CommandRequired",
                "the process runtime of this node has no images, so it does not know what to run: "
                "set the container's command",
            )
        pod = self._pods.get(uid)
        if pod is None:
            raise RuntimeServiceError("CreateContainerError", f"pod {uid} has no sandbox")
        status = ContainerStatus(
            uuid.uuid4().hex,
            config.name,
            config.attempt,
            ContainerState.CREATED,
            sandbox_id=pod.sandbox_id,
            image=config.image,
            spec_hash=config.spec_hash,
            created_at=datetime.now(UTC),
        )
        directory = self._state_dir / uid / status.id
        try:
            (directory / "root").mkdir(mode=0o700, parents=True)
            make_folders(config.log_path.parent, 0o755)
            keepers.write_atomically(
                directory / "meta.json", json.dumps(asdict(status), default=str)
            )
        except OSError as error:
            raise RuntimeServiceError("CreateContainerError", str(error)) from error
        self._add(pod, _Container(status, directory, config))
        return status.id

    async def start_container(self, container_id: str) -> None:
        """Start the keeper, which starts the command."""
        pod, container = self._find(container_id)
        if container.config is None:
            raise RuntimeServiceError("RunContainerError", "created by another edgecore")
        order = self._order(container)
        container.config = None
        try:
            container.pidfd = await keepers.start(container.directory, order)
        except OSError as error:
            self._refresh(container)
            raise RuntimeServiceError("RunContainerError", str(error)) from error
        except RuntimeServiceError:
            self._refresh(container)
            raise
        self._refresh(container)
        self._watch(pod, container)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """SIGTERM to the command; after the grace, SIGKILL to all that descends from it."""
        if container_id not in self._containers:
            return
        _, container = self._find(container_id)
        if container.status.state is not ContainerState.RUNNING:
            return
        for number, patience_s in (
            (signal.SIGTERM, grace_s),
            (signal.SIGUSR1, _KILL_TIMEOUT_S),
            # A keeper that cannot do its work (a hanging disk) takes the command with it.
            (signal.SIGKILL, _KILL_TIMEOUT_S),
        ):
            _signal(container, number)
            try:
                async with asyncio.timeout(patience_s):
                    await container.ended.wait()
            except TimeoutError:
                continue
            return
        raise RuntimeServiceError("KillContainerError", "the process cannot be killed")

    async def remove_container(self, container_id: str) -> None:
        """Remove the container's directory; its log stays."""
        found = self._containers.get(container_id)
        if found is None:
            return
        pod, container = found
        if container.status.state is ContainerState.RUNNING:
            raise RuntimeServiceError("RemoveContainerError", f"{container_id} is running")
        await asyncio.to_thread(shutil.rmtree, container.directory, ignore_errors=True)
        del self._containers[container_id], pod.containers[container_id]

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run ``command`` with the files and the environment of the container's process."""
        _, container = self._find(container_id)
        note = keepers.read_json(container.directory / keeper.STATE_FILE) or {}
        if container.status.state is not ContainerState.RUNNING or not note.get("pid"):
            raise RuntimeServiceError("ExecError", f"container {container_id} is not running")
        return await run_beside(note["pid"], command, timeout_s, enter=bool(self._mount))

    async def reopen_log(self, container_id: str) -> None:
        """Do nothing: the keeper keeps the log within its bounds."""

    async def stats(self) -> list[PodStats]:
        """Return nothing: processes share the machine, and nobody counts for them."""
        return []

    async def events(self) -> AsyncIterator[UID]:
        """Yield the pods of which a process has ended."""
        while True:
            yield await self._events.get()

    def _order(self, container: _Container) -> dict[str, Any]:
        config = container.config
        assert config is not None
        env = {"PATH": DEFAULT_PATH}
        # Files that every container gets (its hosts, its last words) belong to a network and a
        # root of its own; a process has the machine's.
        volumes = [mount for mount in config.mounts if mount.volume]
        for mount in volumes:
            name = re.sub(r"[^A-Z0-9]", "_", mount.volume.upper())
            env[f"CLOUDEDGE_VOLUME_{name}"] = str(mount.host_path)
        mounts = [[str(m.host_path), m.container_path, m.read_only] for m in volumes]
        return {
            "argv": [*config.command, *config.args],
            "env": env | dict(config.env),
            "cwd": config.working_dir or "/",
            "mounts": mounts if self._mount else [],
            "root": str(container.directory / "root"),
            "import_path": _IMPORT_PATH,
            "log_path": str(config.log_path),
            "log_bytes": self._log_bytes,
            "log_files": self._log_files,
        }

    def _find(self, container_id: str) -> tuple[_Pod, _Container]:
        try:
            return self._containers[container_id]
        except KeyError:
            raise RuntimeServiceError("NotFound", f"no container {container_id}") from None

    def _add(self, pod: _Pod, container: _Container) -> None:
        pod.containers[container.status.id] = container
        self._containers[container.status.id] = (pod, container)

    def _save_pod(self, pod: _Pod) -> None:
        note = {
            "namespace": pod.namespace,
            "name": pod.name,
            "sandbox_id": pod.sandbox_id,
            "attempt": pod.attempt,
            "boot_id": keepers.boot_id() if pod.ready else "",
        }
        try:
            (self._state_dir / pod.uid).mkdir(mode=0o700, exist_ok=True)
            keepers.write_atomically(self._state_dir / pod.uid / "sandbox.json", json.dumps(note))
        except OSError as error:
            raise RuntimeServiceError("CreatePodSandboxError", str(error)) from error

    def _load_pod(self, directory: Path) -> None:
        """Read a pod's directory; what was not written to its end never became a pod."""
        note = keepers.read_json(directory / "sandbox.json")
        if note is None:
            shutil.rmtree(directory, ignore_errors=True)
            return
        pod = _Pod(
            UID(directory.name),
            note["namespace"],
            note["name"],
            note["sandbox_id"],
            ready=note["boot_id"] == keepers.boot_id(),
            attempt=note["attempt"],
        )
        self._pods[pod.uid] = pod
        for inner in directory.iterdir():
            if inner.is_dir():
                self._load_container(pod, inner)

    def _load_container(self, pod: _Pod, directory: Path) -> None:
        meta = keepers.read_json(directory / "meta.json")
        if meta is None:
            shutil.rmtree(directory, ignore_errors=True)
            return
        meta |= {"created_at": datetime.fromisoformat(meta["created_at"])}
        meta["state"] = ContainerState.CREATED
        container = _Container(ContainerStatus(**meta), directory)
        self._add(pod, container)
        pidfd = keepers.adopt(directory)
        container.pidfd = -1 if pidfd is None else pidfd
        self._refresh(container)
        self._watch(pod, container)

    def _watch(self, pod: _Pod, container: _Container) -> None:
        """Expect the end of the container's keeper."""
        if container.pidfd >= 0:
            loop = asyncio.get_running_loop()
            loop.add_reader(container.pidfd, self._on_end, pod.uid, container)

    def _on_end(self, uid: UID, container: _Container) -> None:
        self._release(container)
        self._refresh(container)
        if pid := keepers.keeper_of(container.directory):
            keepers.reap(pid)
        self._events.put_nowait(uid)

    @staticmethod
    def _release(container: _Container) -> None:
        if container.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(container.pidfd)
            os.close(container.pidfd)
            container.pidfd = -1

    @staticmethod
    def _refresh(container: _Container) -> None:
        """Bring the status up to date with what the keeper wrote and whether it lives."""
        note = keepers.read_json(container.directory / keeper.STATE_FILE) or {}
        status = container.status
        started_at = _moment(note.get("started_ns")) or status.started_at
        if "finished_ns" in note:
            container.status = replace(
                status,
                state=ContainerState.EXITED,
                started_at=started_at,
                finished_at=_moment(note["finished_ns"]),
                exit_code=note["exit_code"],
                reason=note["reason"],
                message=note.get("message", ""),
            )
            container.ended.set()
        elif container.pidfd >= 0:
            container.status = replace(
                status, state=ContainerState.RUNNING, started_at=started_at or status.created_at
            )
        elif keepers.was_started(container.directory):
            if pid := keepers.keeper_of(container.directory):
                keepers.kill_session(pid)
            container.status = replace(
                status,
                state=ContainerState.EXITED,
                started_at=started_at,
                finished_at=datetime.now(UTC),
                exit_code=_EXIT_SIGKILL,
                reason="ContainerStatusUnknown",
                message="the process ended unseen: its keeper was killed, or the machine restarted",
            )
            container.ended.set()


def _observe(pod: _Pod) -> PodObservation:
    return PodObservation(
        pod.uid,
        pod.namespace,
        pod.name,
        pod.sandbox_id,
        sandbox_ready=pod.ready,
        sandbox_attempt=pod.attempt,
        containers=tuple(container.status for container in pod.containers.values()),
    )


def _moment(ns: int | None) -> datetime | None:
    return datetime.fromtimestamp(ns / 1e9, UTC) if ns else None


def _signal(container: _Container, number: signal.Signals) -> None:
    if container.pidfd >= 0:
        try:
            signal.pidfd_send_signal(container.pidfd, number)
        except ProcessLookupError:  # it ends just now
            return
