"""What tests on real containers see of them: from the inside, and what is mounted for them."""

from pathlib import Path

from deploy.devcluster.api import Object
from deploy.devcluster.containerd import ContainerEngine
from edgecore.edged.runtime.cri import cri_pb2
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.methods import EXEC_SYNC

_EXEC_S = 60


async def run(engine: ContainerEngine, pod: Object, command: str) -> str:
    """Return what a shell command prints in the pod's first container, errors too."""
    name: str = pod["status"]["containerStatuses"][0]["containerID"]
    request = cri_pb2.ExecSyncRequest(
        container_id=name.partition("://")[2], cmd=["/bin/sh", "-c", command], timeout=_EXEC_S
    )
    client = CriClient(engine.endpoint)
    try:
        answer = await client.call(EXEC_SYNC, request)
    finally:
        client.close()
    output: bytes = answer.stdout + answer.stderr
    return output.decode().strip()


def mounts_below(folder: Path) -> list[str]:
    """Return what is mounted below ``folder`` of this machine."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    paths = (line.split()[4] for line in lines)
    return [path for path in paths if path.startswith(f"{folder}/")]
