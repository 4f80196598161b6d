"""What edged asks of a container runtime, in the shape of the Kubernetes CRI.

A pod is a sandbox, found by the pod's UID, in which containers live that have a name and an attempt
(how often that container was started before). Everything a runtime knows is observable, so that a
new edgecore adopts what an older one left running; and a runtime says itself when something
changed, so that nobody polls.

Source: https://github.com/kubernetes/cri-api (RuntimeService v1), of which this is the part that a
pod worker needs.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from common.names import UID
from edgecore.edged.runtime.images import Images
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig


class ContainerState(StrEnum):
    """Where a container is in its life; it only ever moves down this list."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class ContainerStatus(Struct, frozen=True):
    """A container as the runtime sees it."""

    id: str
    """Unique on this node and over time; what the other calls take."""
    name: str
    attempt: int
    state: ContainerState
    sandbox_id: str
    """The sandbox that it was made in; not that of the pod any more if the pod got a new one."""
    image: str = ""
    image_id: str = ""
    spec_hash: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    """CamelCase word for how it ended (``Completed``, ``Error``, ``StartError``, …)."""
    message: str = ""


class PodObservation(Struct, frozen=True):
    """A pod as the runtime sees it."""

    uid: UID
    namespace: str
    name: str
    sandbox_id: str
    sandbox_ready: bool
    """Whether containers can live in it. Not so after a reboot: the pod needs a new sandbox."""
    sandbox_attempt: int = 0
    ips: tuple[str, ...] = ()
    """Addresses of the pod, the main one first; none where they are the node's."""
    containers: tuple[ContainerStatus, ...] = ()
    """Every attempt that was not removed, in no order."""


class ExecResult(Struct, frozen=True):
    """How a command in a container ended."""

    exit_code: int
    output: bytes
    """What it wrote, to both streams, cut to a size that suits a message."""


class ContainerStats(Struct, frozen=True):
    """What a running container takes at one moment. Sizes in bytes."""

    name: str
    at: datetime
    cpu_core_ns: int
    """CPU time since it started."""
    memory_working_set: int
    rootfs_used: int = 0
    rootfs_inodes: int = 0


class PodStats(Struct, frozen=True):
    """What the running containers of a pod take."""

    uid: UID
    namespace: str
    name: str
    containers: tuple[ContainerStats, ...] = ()


class RuntimeVersion(Struct, frozen=True):
    """Shown in the Node as ``containerRuntimeVersion``: ``<name>://<version>``."""

    name: str
    version: str

    def __str__(self) -> str:
        """Return the form that the Node object has."""
        return f"{self.name}://{self.version}"


class Runtime(Protocol):
    """A container runtime. All calls but ``events`` may raise ``RuntimeServiceError``.

    Calls are idempotent towards what is already so: stopping what has stopped and removing what is
    gone succeed. Calls for one pod come one after the other, except that a stop may be going on
    while other containers of the pod are looked after.
    """

    scheme: str
    """First part of container ids in a pod's status: ``<scheme>://<id>``."""
    wants_files: bool
    """Whether volumes must be on disk before a container is created."""
    answers_probes: bool
    """Whether something listens where a container should; nothing does where nothing runs."""
    images: Images | None
    """The runtime's images; None where it has none and ignores what a pod says of them."""

    async def open(self) -> None:
        """Begin, also while the engine is away. Called once, before everything else."""

    async def close(self) -> None:
        """Let go of everything. Containers go on running."""

    async def version(self) -> RuntimeVersion:
        """Return who this is; raises if it cannot run containers at the moment."""

    async def list_pods(self) -> list[PodObservation]:
        """Return all pods that there are, also those that no API server knows any more."""

    async def pod(self, uid: UID) -> PodObservation | None:
        """Return the pod with ``uid``; None if the runtime has nothing of it."""

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make the pod's sandbox, in place of an older one that is not ready; return its id."""

    async def stop_sandbox(self, uid: UID) -> None:
        """End the sandbox, and kill what still runs in it."""

    async def remove_sandbox(self, uid: UID) -> None:
        """Remove the sandbox and all containers of the pod; they must have stopped."""

    async def create_container(self, uid: UID, config: ContainerConfig) -> str:
        """Make a container that does not run yet, and return its id.

        Raises:
            RuntimeServiceError: ``CreateContainerError``, ``CommandRequired`` …: the reason stands
                in the pod's status, the message beside it.
        """

    async def start_container(self, container_id: str) -> None:
        """Start a created container; it runs, or has run, when this returns.

        Raises:
            RuntimeServiceError: ``RunContainerError``: it did not start and is ``EXITED``.
        """

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """Ask the container to end, kill it after ``grace_s`` seconds, return when it has exited.

        Cancellation: it may go on running; call again, with another grace if wanted.
        """

    async def remove_container(self, container_id: str) -> None:
        """Remove a container that does not run, and all that is kept of it but its log."""

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run ``command`` in a running container and return how it ended.

        Raises:
            TimeoutError: it did not end in time, and was killed.
            RuntimeServiceError: it could not be run.
        """

    async def reopen_log(self, container_id: str) -> None:
        """Have the container's output go on in a new file at its log path: the old was moved away.

        A runtime that keeps its logs within bounds by itself does nothing.
        """

    async def stats(self) -> list[PodStats]:
        """Return what the running pods take at the moment."""

    def events(self) -> AsyncIterator[UID]:
        """Yield the UID of a pod whenever something of it changed by itself. One reader.

        Order and delivery: at least one after each change; several changes may give one event.
        """
