"""The runtime of a hollow edge, for scale tests: every container says at once that it runs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field
from msgspec.structs import replace

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.runtime.base import (
    ContainerState,
    ContainerStatus,
    ExecResult,
    PodObservation,
    PodStats,
    RuntimeVersion,
)
from edgecore.edged.runtime.images import Images
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig

VERSION = "0.1.0"


class _Pod(Struct):
    config: SandboxConfig
    ready: bool = True
    containers: dict[str, ContainerStatus] = field(default_factory=dict)


class HollowRuntime:
    """Containers that exist as records only, and are gone with the process."""

    scheme = "hollow"
    wants_files = False
    answers_probes = False
    images: Images | None = None

    def __init__(self) -> None:
        self._pods: dict[UID, _Pod] = {}
        self._owners: dict[str, UID] = {}  # container id -> pod
        self._events: asyncio.Queue[UID] = asyncio.Queue()

    async def open(self) -> None:
        """Nothing is there to find."""

    async def close(self) -> None:
        """Nothing is held."""

    async def version(self) -> RuntimeVersion:
        """Return ``hollow://``, so that nobody takes this node for one that works."""
        return RuntimeVersion(self.scheme, VERSION)

    async def list_pods(self) -> list[PodObservation]:
        """Return the pods of this process."""
        return [self._observe(pod) for pod in self._pods.values()]

    async def pod(self, uid: UID) -> PodObservation | None:
        """Return the pod with ``uid``, if it was made."""
        pod = self._pods.get(uid)
        return self._observe(pod) if pod else None

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make the pod."""
        self._pods[config.uid] = _Pod(config)
        return config.uid

    async def stop_sandbox(self, uid: UID) -> None:
        """End the pod's containers."""
        if pod := self._pods.get(uid):
            for container_id in list(pod.containers):
                await self.stop_container(container_id, 0)
            pod.ready = False

    async def remove_sandbox(self, uid: UID) -> None:
        """Forget the pod."""
        if pod := self._pods.pop(uid, None):
            for container_id in pod.containers:
                del self._owners[container_id]

    async def create_container(self, uid: UID, config: ContainerConfig) -> str:
        """Make the record of a container."""
        container_id = f"{uid}.{config.name}.{config.attempt}"
        self._owners[container_id] = uid
        self._pods[uid].containers[container_id] = ContainerStatus(
            container_id,
            config.name,
            config.attempt,
            ContainerState.CREATED,
            sandbox_id=uid,
            image=config.image,
            image_id=f"hollow://{config.image}",
            spec_hash=config.spec_hash,
            created_at=datetime.now(UTC),
        )
        return container_id

    async def start_container(self, container_id: str) -> None:
        """Say that the container runs."""
        self._change(container_id, state=ContainerState.RUNNING, started_at=datetime.now(UTC))

    async def stop_container(self, container_id: str, grace_s: float) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Say that the container ended well."""
        pod = self._pods.get(self._owners.get(container_id, UID("")))
        if pod and pod.containers[container_id].state is not ContainerState.EXITED:
            self.end(container_id, exit_code=0)

    async def remove_container(self, container_id: str) -> None:
        """Forget the container."""
        if uid := self._owners.pop(container_id, None):
            del self._pods[uid].containers[container_id]

    async def exec_sync(
        self,
        container_id: str,  # noqa: ARG002 - no container is different from another
        command: Sequence[str],  # noqa: ARG002 - nothing runs
        timeout_s: float,  # noqa: ARG002 - nor takes time
    ) -> ExecResult:
        """Say that the command ended well."""
        return ExecResult(0, b"")

    async def reopen_log(self, container_id: str) -> None:
        """Do nothing: there is no log."""

    async def stats(self) -> list[PodStats]:
        """Return nothing: what does not run takes nothing."""
        return []

    async def events(self) -> AsyncIterator[UID]:
        """Yield the pods of which ``end`` ended a container."""
        while True:
            yield await self._events.get()

    def end(self, container_id: str, exit_code: int) -> None:
        """Let a container exit by itself, as a load test or a test of edged may want."""
        self._change(
            container_id,
            state=ContainerState.EXITED,
            finished_at=datetime.now(UTC),
            exit_code=exit_code,
            reason="Completed" if exit_code == 0 else "Error",
        )
        self._events.put_nowait(self._owners[container_id])

    def _change(self, container_id: str, **changes: object) -> None:
        uid = self._owners.get(container_id)
        if uid is None:
            raise RuntimeServiceError("NotFound", f"no container {container_id}")
        containers = self._pods[uid].containers
        containers[container_id] = replace(containers[container_id], **changes)

    @staticmethod
    def _observe(pod: _Pod) -> PodObservation:
        config = pod.config
        return PodObservation(
            config.uid,
            config.namespace,
            config.name,
            sandbox_id=config.uid,
            sandbox_ready=pod.ready,
            sandbox_attempt=config.attempt,
            containers=tuple(pod.containers.values()),
        )
