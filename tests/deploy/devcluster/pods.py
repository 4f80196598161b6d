"""Pods made by bare CRI calls, for tests of the container engine itself."""

from collections.abc import Sequence

from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.ociimages import BUSYBOX
from edgecore.edged.runtime.cri import cri_pb2
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.methods import (
    CREATE_CONTAINER,
    LIST_CONTAINERS,
    RUN_SANDBOX,
    SANDBOX_STATUS,
    START_CONTAINER,
)

BEST_EFFORT = cri_pb2.LinuxContainerResources(oom_score_adj=1000)


async def run_pod(
    engine: ContainerEngine,
    name: str,
    command: Sequence[str],
    *,
    image: str = BUSYBOX,
    host_port: int = 0,
) -> str:
    """Run a pod of one container; return its address. It logs to ``NAME/c.log`` below the engine's
    folder.
    """
    ports = [cri_pb2.PortMapping(container_port=80, host_port=host_port)] if host_port else []
    logs = engine.layout.folder / name
    logs.mkdir()
    config = cri_pb2.PodSandboxConfig(
        metadata=cri_pb2.PodSandboxMetadata(name=name, namespace="tests", uid=name),
        hostname=name,
        log_directory=str(logs),
        port_mappings=ports,
        linux=cri_pb2.LinuxPodSandboxConfig(
            security_context=cri_pb2.LinuxSandboxSecurityContext(
                namespace_options=cri_pb2.NamespaceOption(pid=cri_pb2.CONTAINER)
            ),
        ),
    )
    client = CriClient(engine.endpoint)
    try:
        made = await client.call(RUN_SANDBOX, cri_pb2.RunPodSandboxRequest(config=config))
        wanted = cri_pb2.CreateContainerRequest(
            pod_sandbox_id=made.pod_sandbox_id,
            sandbox_config=config,
            config=cri_pb2.ContainerConfig(
                metadata=cri_pb2.ContainerMetadata(name="c"),
                image=cri_pb2.ImageSpec(image=image),
                command=command,
                log_path="c.log",
                linux=cri_pb2.LinuxContainerConfig(resources=BEST_EFFORT),
            ),
        )
        container = await client.call(CREATE_CONTAINER, wanted)
        await client.call(
            START_CONTAINER, cri_pb2.StartContainerRequest(container_id=container.container_id)
        )
        answer = await client.call(
            SANDBOX_STATUS, cri_pb2.PodSandboxStatusRequest(pod_sandbox_id=made.pod_sandbox_id)
        )
    finally:
        client.close()
    return answer.status.network.ip


async def running_containers(engine: ContainerEngine) -> set[str]:
    """Return the ids of the containers that run, those that hold sandboxes left out."""
    client = CriClient(engine.endpoint)
    try:
        answer = await client.call(LIST_CONTAINERS, cri_pb2.ListContainersRequest())
    finally:
        client.close()
    return {item.id for item in answer.containers if item.state == cri_pb2.CONTAINER_RUNNING}
