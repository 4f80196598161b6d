"""A container engine of one's own: containerd with a network and images, below one folder.

It is the real thing, and needs root and Debian's packages (see ``machine``). What containerd puts
elsewhere has names of its own: sockets of shims in /run/containerd/s, addresses of containers
in /var/lib/cni/results, a bridge. Another containerd of the machine is not touched.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from common.errors import RuntimeServiceError
from deploy.devcluster import engineconfig, machine, ociimages, remains
from deploy.devcluster.engineconfig import EngineLayout, Network
from deploy.devcluster.machine import ContainerEngineError
from deploy.devcluster.program import Program, ProgramError
from deploy.devcluster.sandboxes import engine_fault, remove_sandboxes

START_TIMEOUT_S: Final = 60.0
"""How long containerd may take until it is ready, on a busy machine."""

STOP_GRACE_S: Final = 10.0
"""How long containerd may take to end when asked, before it is killed."""

_NAMESPACE: Final = "k8s.io"


class ContainerEngine:
    """containerd with a bridge network and the images of ``ociimages``, for one edge at a time.

    For one, because an edgecore removes the containers of pods that it does not know.

    ``async with`` starts it, and at its end nothing of it is left: no container, mount or bridge.
    Where the process that started it dies, a guard sees to the same. Between the two it may be
    stopped, killed and started again as often as one likes: containers survive that.

    The methods may be called from different event loops, one after the other; ``start`` from a
    thread that lives as long as the engine should (see ``tether``).
    """

    endpoint: str
    """Where its CRI listens: ``unix:///…``."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet.

        Args:
            folder: for all that the engine keeps, and its log; made where it is missing.

        Raises:
            ContainerEngineError: the path of ``folder`` is too long for a socket.
        """
        self.layout = EngineLayout(folder.absolute())
        if len(os.fsencode(self.layout.socket)) > engineconfig.SOCKET_PATH_BYTES:
            raise ContainerEngineError(f"the path is too long for a socket: {self.layout.socket}")
        self.endpoint = f"unix://{self.layout.socket}"
        self.network: Network | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        # It is looked up at the start: where there is none, `machine.why_not` says so better.
        path = remains.find_program("containerd") or "containerd"
        self._program = Program(
            "containerd", [path, "--config", str(self.layout.config)], self.layout.log
        )

    async def __aenter__(self) -> Self:
        """Start it; see ``start``."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything; see ``close``."""
        await self.close()

    @property
    def pid(self) -> int | None:
        """The process id of containerd, or None where it does not run."""
        return self._program.pid

    async def start(self) -> None:
        """Start containerd and return when its CRI can run pods.

        The first time its network and images are made before.

        Raises:
            ContainerEngineError: the machine refuses what it needs, or containerd has no CRI.
            ProgramError: containerd ends or is not ready in time; the message has its log's end.

        Cancellation and failure: nothing is left running the first time; after that, containers
        are.
        """
        if self.network is not None:
            await self._run_program()
            return
        try:
            self._prepare()
            await self._run_program()
            machine.run("ctr", *self.at, "images", "import", str(self._archive))
        except BaseException:
            self._end()
            raise

    async def stop(self) -> None:
        """Stop containerd, by force after ``STOP_GRACE_S``; containers go on."""
        await self._program.stop(STOP_GRACE_S)

    def kill(self) -> None:
        """Kill containerd without warning; containers go on."""
        self._program.kill()

    def power_cut(self) -> None:
        """Do what a power cut does: nothing runs, and what is in memory on a real node is gone.

        Images, the engine's records of containers and of addresses in use stay. ``start`` is the
        boot after it. Blocks for up to seconds.
        """
        self.kill()
        remains.end_containers(self.layout.folder)

    async def close(self) -> None:
        """End all containers and the engine, and remove all of it from the machine but the folder.

        Cancellation: the same holds, done in less friendly ways.
        """
        try:
            if self._program.running:
                # The network plugins take back what they have given.
                with contextlib.suppress(RuntimeServiceError):
                    await remove_sandboxes(self.endpoint)
            await self.stop()
        finally:
            self._end()

    @property
    def _archive(self) -> Path:
        return self.layout.folder / "images.tar"

    @property
    def at(self) -> tuple[str, ...]:
        """The options that tell ``ctr`` where the engine is, and to look where CRI does."""
        return ("--address", str(self.layout.socket), "--namespace", _NAMESPACE)

    def _prepare(self) -> None:
        layout = self.layout
        layout.networks.mkdir(parents=True, exist_ok=True)
        layout.registries.mkdir(exist_ok=True)
        self.network = _claim_network()
        self._guard = _start_guard(layout.folder, self.network)
        layout.config.write_text(
            engineconfig.containerd_config(
                layout, runc=machine.program("runc"), snapshotter=machine.snapshotter(layout.folder)
            )
        )
        network = engineconfig.network_config(layout, self.network)
        (layout.networks / "10-devcluster.conflist").write_text(network)
        ociimages.write_archive(self._archive, machine.program("busybox"))

    async def _run_program(self) -> None:
        fault = ""

        async def is_ready() -> bool:
            nonlocal fault
            fault = await engine_fault(self.endpoint)
            return not fault

        self._program.start()
        try:
            await self._program.wait_ready(is_ready, START_TIMEOUT_S)
        except ProgramError as error:
            raise ProgramError(f"{error}\n  its CRI: {fault}") from error

    def _end(self) -> None:
        self.kill()
        remains.end_containers(self.layout.folder)
        if self.network is not None:
            remains.remove_network(self.network.bridge)
            self.network = None
        if self._guard is not None:
            # It has nothing to do any more.
            self._guard.kill()
            self._guard.communicate()
            self._guard = None


def _claim_network() -> Network:
    """Make the first bridge that nobody has yet: the kernel lets only one have its name."""
    refused = None
    for number in engineconfig.NETWORKS:
        network = Network(number)
        try:
            machine.run("ip", "link", "add", network.bridge, "type", "bridge")
        except ContainerEngineError as error:
            refused = error
        else:
            return network
    raise ContainerEngineError("no network is free for a container engine") from refused


def _start_guard(folder: Path, network: Network) -> subprocess.Popen[bytes]:
    # It must survive us: no tether, and no signal that a terminal sends to all.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", remains.__file__, str(folder), network.bridge],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
