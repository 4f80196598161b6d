"""What edged asks of a container runtime, in the shape of the Kubernetes CRI.

A pod is a sandbox, found by the pod's UID, in which containers live that have a name and an attempt
(how often that container was started before). Everything a runtime knows is observable, so that a
new edgecore adopts what an older one left running; and a runtime says itself when something
changed, so that nobody polls.

Source: https://github.com/kubernetes/cri-api (RuntimeService v1), of which this is the part that a
pod worker needs.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from common.names import UID


class ContainerState(StrEnum):
    """Where a container is in its life; it only ever moves down this list."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume as a container sees it."""

    volume: str
    """Name of the volume in the pod."""
    host_path: Path
    """File or directory on this machine, there when the container is created."""
    container_path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What a runtime must know of a pod before its first container."""

    uid: UID
    namespace: str
    name: str
    attempt: int
    """How many sandboxes this pod had before."""
    log_dir: Path
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """One start of one container, with all references resolved."""

    name: str
    attempt: int
    image: str
    spec_hash: str
    """Of the fields whose change means a restart; comes back in ``ContainerStatus``."""
    log_path: Path
    command: tuple[str, ...] = ()
    """``command`` of the pod's spec; empty for the image's entry point."""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Carries Secrets: never on a command line, never in a log."""
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerStatus:
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


@dataclass(frozen=True, slots=True)
class PodObservation:
    """A pod as the runtime sees it."""

    uid: UID
    namespace: str
    name: str
    sandbox_id: str
    sandbox_ready: bool
    """Whether containers can live in it. Not so after a reboot: the pod needs a new sandbox."""
    sandbox_attempt: int = 0
    ip: str = ""
    """Address of the pod; empty where it is the node's."""
    containers: tuple[ContainerStatus, ...] = ()
    """Every attempt that was not removed, in no order."""


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
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

    async def open(self) -> None:
        """Connect and find what is there. Called once, before everything else."""

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

    def events(self) -> AsyncIterator[UID]:
        """Yield the UID of a pod whenever something of it changed by itself. One reader.

        Order and delivery: at least one after each change; several changes may give one event.
        """
