"""What the tests of the process runtime share: a pod on disk, and waiting for its events."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from common.names import UID
from edgecore.edged.runtime import keepers
from edgecore.edged.runtime.base import ContainerState, ContainerStatus
from edgecore.edged.runtime.process import ProcessRuntime
from edgecore.edged.runtime.spec import ContainerConfig, Mount, SandboxConfig

U = UID("u-1")


@asynccontextmanager
async def runtime_in(folder: Path, **options: Any) -> AsyncIterator[ProcessRuntime]:
    """A runtime that is open; what it started goes on running when it is closed."""
    runtime = ProcessRuntime(folder / "state", **options)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


async def start(
    runtime: ProcessRuntime,
    folder: Path,
    script: str,
    *,
    env: tuple[tuple[str, str], ...] = (),
    mounts: tuple[Mount, ...] = (),
) -> str:
    """Run a shell script as the container c; its log is ``folder/c.log``."""
    await runtime.run_sandbox(SandboxConfig(U, "default", "web", 0, folder))
    container_id = await runtime.create_container(
        U,
        ContainerConfig(
            "c", 0, "img", "h", folder / "c.log", ("sh", "-c", script), env=env, mounts=mounts
        ),
    )
    await runtime.start_container(container_id)
    return container_id


async def status(runtime: ProcessRuntime) -> ContainerStatus:
    observed = await runtime.pod(U)
    assert observed is not None
    [container] = observed.containers
    return container


async def ended(runtime: ProcessRuntime) -> ContainerStatus:
    """Return the container's status once it has ended."""
    events = aiter(runtime.events())
    while (seen := await status(runtime)).state is not ContainerState.EXITED:
        await anext(events)
    return seen


def text_of(log: Path) -> list[str]:
    """Return the lines that a container wrote, without time, stream and tag."""
    return [line.split(" ", 3)[3] for line in log.read_text().splitlines()]


class Signs:
    """A named pipe by which a script tells the test that it got somewhere."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "signs"
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    async def next(self) -> str:
        await keepers.readable(self._fd)
        return os.read(self._fd, 4096).decode()

    def close(self) -> None:
        os.close(self._fd)
