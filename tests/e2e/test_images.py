"""The images, made and run. Real: apt's packages, wheels, containerd, the control plane.

The two daemons run in containers whose roots are read-only and that share the machine's network: a
cloudcore that is nobody in particular, and an edge whose pods are processes of its container.
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.devcluster.api import Api
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.credentials import write_kubeconfig
from deploy.devcluster.machine import program
from deploy.devcluster.ports import LOOPBACK, free_ports
from deploy.devcluster.probe import Probe
from deploy.devcluster.program import Program
from deploy.devcluster.site import is_ready
from deploy.images.recipe import USER
from deploy.images.rootfs import ImageError, debian_packages, fetch

pytestmark = pytest.mark.timeout(600)

KEPT = "/var/lib/cloudedge"
KUBECONFIG = f"{KEPT}/kubeconfig"

START_S = 60.0
STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Images:
    """The engine that has them, and what they are called there."""

    engine: ContainerEngine
    cloudcore: str
    edgecore: str

    def run(self, image: str, *words: str, kept: Path | None = None) -> str:
        """Return what a command of an image prints."""
        command = self.command(image, f"once-{os.urandom(4).hex()}", *words, kept=kept)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout

    def processes(self, name: str) -> list[int]:
        """Return the processes of the container ``name``."""
        command = [str(program("ctr")), *self.engine.at, "tasks", "ps", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [int(line.split()[0]) for line in said.splitlines()[1:]]

    def command(self, image: str, name: str, *words: str, kept: Path | None = None) -> list[str]:
        """Return the command that runs ``words`` in a container.

        Args:
            image: what it is made of.
            name: of the container.
            words: the command and its arguments.
            kept: the folder that it finds at ``KEPT``; None for none.
        """
        mounts = ["--mount=type=tmpfs,src=tmpfs,dst=/tmp,options=mode=1777"]
        if kept is not None:
            mounts.append(f"--mount=type=bind,src={kept},dst={KEPT},options=rbind:rw")
        options = ["--rm", "--read-only", "--net-host", *mounts]
        return [str(program("ctr")), *self.engine.at, "run", *options, image, name, *words]


@pytest.fixture(scope="module")
def images(container_engine: ContainerEngine, tmp_path_factory: pytest.TempPathFactory) -> Images:
    debian = tmp_path_factory.mktemp("debian")
    try:
        fetch(debian_packages(), debian)
    except ImageError as error:
        pytest.skip(f"no images can be made here: {error}")
    made_in = tmp_path_factory.mktemp("images")
    command = [sys.executable, "-m", "deploy.images", f"--output={made_in}", f"--debian={debian}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = [line.split()[1].rstrip(",") for line in said.splitlines()]
    for archive in made_in.glob("*.tar"):
        ctr = [str(program("ctr")), *container_engine.at]
        subprocess.run([*ctr, "images", "import", str(archive)], check=True, capture_output=True)
    return Images(container_engine, *names)


def test_each_image_has_its_command_and_no_other(images: Images) -> None:
    assert images.run(images.cloudcore, "cloudcore", "--version").startswith("cloudcore ")
    assert images.run(images.edgecore, "edgecore", "--version").startswith("edgecore ")
    for image, other in ((images.cloudcore, "edgecore"), (images.edgecore, "cloudcore")):
        with pytest.raises(subprocess.CalledProcessError):
            images.run(image, other, "--version")


async def test_a_node_joins_when_both_daemons_run_in_their_images(
    images: Images, control_plane: ControlPlane, api: Api, tmp_path: Path
) -> None:
    websocket, https, cloud_monitor, edge_monitor = free_ports(4)
    cloud_dir, edge_dir, node = tmp_path / "cloudcore", tmp_path / "edgecore", "in-a-container"
    edge_dir.mkdir()
    _let_in(control_plane, cloud_dir)
    ports = (f"--websocket-port={websocket}", f"--https-port={https}")
    cloudcore = images.command(
        images.cloudcore,
        "cloudcore",
        *("cloudcore", "run", f"--kubeconfig={KUBECONFIG}", f"--advertise-address={LOOPBACK}"),
        *(*ports, f"--monitor-address={LOOPBACK}:{cloud_monitor}"),
        kept=cloud_dir,
    )
    edgecore = images.command(
        images.edgecore,
        "edgecore",
        *("edgecore", "run", f"--node-name={node}", f"--cloud={LOOPBACK}", "--runtime=process"),
        *(*ports, f"--token-file={KEPT}/token", f"--monitor-address={LOOPBACK}:{edge_monitor}"),
        kept=edge_dir,
    )
    create = ("cloudcore", "token", "create", f"--kubeconfig={KUBECONFIG}")
    async with _running("cloudcore", cloudcore, tmp_path, cloud_monitor):
        (process,) = images.processes("cloudcore")
        assert f"\nUid:\t{USER}\t{USER}" in Path(f"/proc/{process}/status").read_text()
        token = images.run(images.cloudcore, *create, kept=cloud_dir)
        (edge_dir / "token").write_text(token)
        async with _running("edgecore", edgecore, tmp_path, edge_monitor):
            await api.wait(
                f"/api/v1/nodes/{node}",
                lambda found: found is not None and is_ready(found),
                f"{node} is Ready",
            )
    await api.delete(f"/api/v1/nodes/{node}")


@asynccontextmanager
async def _running(name: str, command: list[str], folder: Path, port: int) -> AsyncIterator[None]:
    running = Program(name, command, folder / f"{name}.log")
    running.start()
    try:
        await running.wait_ready(Probe(port, "/readyz"), START_S)
        yield
    finally:
        await running.stop(STOP_S)


def _let_in(control_plane: ControlPlane, folder: Path) -> None:
    """Make a folder of the image's user, with a kubeconfig as a container finds it there."""
    folder.mkdir()
    (folder / "ca.crt").write_bytes(control_plane.ca_file.read_bytes())
    write_kubeconfig(
        folder / Path(KUBECONFIG).name,
        server=control_plane.server,
        ca_file=Path(KEPT, "ca.crt"),
        user="admin",
        token=control_plane.token,
    )
    for one in (folder, *folder.iterdir()):
        os.chown(one, USER, USER)
