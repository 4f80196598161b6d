"""What a container engine has, looked at beside edgecore."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.devcluster import remains
from deploy.devcluster.api import Object, WaitError
from deploy.devcluster.containerd import ContainerEngine
from edgecore.edged.runtime.cri import cri_pb2, methods, names
from edgecore.edged.runtime.cri.client import CriClient

POLL_S = 0.05

_FOLDER = (names.POD_NAMESPACE, names.POD_NAME, names.POD_UID)
# What kubelet gives a pod that asks for nothing.
_LINUX_SANDBOX = cri_pb2.LinuxPodSandboxConfig()
_LINUX_CONTAINER = cri_pb2.LinuxContainerConfig(
    resources=cri_pb2.LinuxContainerResources(cpu_shares=2, oom_score_adj=1000)
)


@dataclass(frozen=True, slots=True)
class Found:
    """A sandbox or a container of a pod."""

    id: str
    uid: str
    name: str
    """Of the container; of the pod where it is a sandbox."""
    state: str
    """CRI's word: ``CONTAINER_RUNNING`` …"""
    attempt: int = 0
    spec_hash: str = ""
    """Of what the container was made from."""

    @property
    def is_live(self) -> bool:
        """Whether it runs."""
        return self.state in {"SANDBOX_READY", "CONTAINER_RUNNING"}


@dataclass(frozen=True, slots=True)
class Look:
    """All that an engine has at one moment."""

    sandboxes: tuple[Found, ...]
    containers: tuple[Found, ...]

    def pods(self) -> list[str]:
        """Return the pod of each live sandbox, in order: twice where there are two."""
        return sorted(sandbox.uid for sandbox in self.sandboxes if sandbox.is_live)

    def running(self) -> list[tuple[str, str]]:
        """Return the pod and the name of each running container, as ``pods`` does."""
        return sorted((one.uid, one.name) for one in self.containers if one.is_live)


class EngineView:
    """One engine, as it is at each call."""

    def __init__(self, engine: ContainerEngine, client: CriClient) -> None:
        self._engine, self.client = engine, client

    async def look(self) -> Look:
        """Return what it has; containers that come or go meanwhile may be in it or not."""
        sandboxes = await self.client.call(methods.LIST_SANDBOXES, cri_pb2.ListPodSandboxRequest())
        containers = await self.client.call(
            methods.LIST_CONTAINERS, cri_pb2.ListContainersRequest()
        )
        return Look(
            tuple(
                Found(
                    item.id,
                    item.labels[names.POD_UID],
                    item.metadata.name,
                    cri_pb2.PodSandboxState.Name(item.state),
                    item.metadata.attempt,
                )
                for item in sandboxes.items
            ),
            tuple(
                Found(
                    item.id,
                    item.labels[names.POD_UID],
                    item.metadata.name,
                    cri_pb2.ContainerState.Name(item.state),
                    item.metadata.attempt,
                    item.annotations[names.SPEC_HASH],
                )
                for item in containers.containers
            ),
        )

    async def until(
        self, holds: Callable[[Look], object], what: str, *, timeout_s: float = 40.0
    ) -> Look:
        """Return what it has as soon as ``holds`` is true of it.

        Raises:
            WaitError: that did not come true.
        """
        deadline = time.monotonic() + timeout_s
        while not holds(found := await self.look()):
            if time.monotonic() > deadline:
                raise WaitError(f"not within {timeout_s:g} s: {what}; the engine has {found}")
            await asyncio.sleep(POLL_S)
        return found

    async def processes(self) -> dict[str, int]:
        """Return the process of each sandbox and container that runs, by its id."""
        listed = await asyncio.to_thread(remains.run, "ctr", *self._engine.at, "tasks", "list")
        rows = (line.split() for line in listed.splitlines())
        return {row[0]: int(row[1]) for row in rows if row[2] == "RUNNING"}

    async def run_as_kubelet(self, pod: Object, logs: Path) -> str:
        """Run a pod of one container as kubelet does; return the container's id.

        Args:
            pod: as the API server has it; its image is on the machine.
            logs: folder of the pods' logs.
        """
        metadata, spec = pod["metadata"], pod["spec"]["containers"][0]
        labels = {
            names.POD_NAME: metadata["name"],
            names.POD_NAMESPACE: metadata["namespace"],
            names.POD_UID: metadata["uid"],
        }
        folder = logs / "_".join(labels[key] for key in _FOLDER)
        sandbox = cri_pb2.PodSandboxConfig(
            metadata=cri_pb2.PodSandboxMetadata(
                name=metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"]
            ),
            hostname=metadata["name"],
            log_directory=str(folder),
            labels=labels,
            annotations={"kubernetes.io/config.source": "api"},
            linux=_LINUX_SANDBOX,
        )
        made = await self.client.call(
            methods.RUN_SANDBOX, cri_pb2.RunPodSandboxRequest(config=sandbox)
        )
        (folder / spec["name"]).mkdir(parents=True)
        container = cri_pb2.ContainerConfig(
            metadata=cri_pb2.ContainerMetadata(name=spec["name"]),
            image=cri_pb2.ImageSpec(image=spec["image"]),
            command=spec["command"],
            log_path=f"{spec['name']}/0.log",
            labels={**labels, names.CONTAINER_NAME: spec["name"]},
            annotations={
                names.HASH: names.kubelet_hash(spec["name"], spec["image"]),
                names.RESTART_COUNT: "0",
                names.MESSAGE_PATH: "/dev/termination-log",
                names.MESSAGE_POLICY: "File",
                "io.kubernetes.pod.terminationGracePeriod": "1",
            },
            linux=_LINUX_CONTAINER,
        )
        created = await self.client.call(
            methods.CREATE_CONTAINER,
            cri_pb2.CreateContainerRequest(
                pod_sandbox_id=made.pod_sandbox_id, config=container, sandbox_config=sandbox
            ),
        )
        request = cri_pb2.StartContainerRequest(container_id=created.container_id)
        await self.client.call(methods.START_CONTAINER, request)
        return str(created.container_id)


@asynccontextmanager
async def engine_view(engine: ContainerEngine) -> AsyncIterator[EngineView]:
    """Look at ``engine`` while the context lasts."""
    client = CriClient(engine.endpoint)
    try:
        yield EngineView(engine, client)
    finally:
        client.close()
