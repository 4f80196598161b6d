"""``edgecore reset``: take edgecore from this machine, and nothing that is not its own.

The cloud is not spoken to, and no kubeconfig is looked for: the Node object stays until somebody
deletes it there. Each step is tried, whatever became of those before it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from common.errors import EdgeError, RuntimeServiceError
from edgecore.datadir import locked
from edgecore.edged.runtime.base import ContainerState, PodObservation, Runtime
from edgecore.edged.volumes.mounts import mounted_below, unmount_below
from edgecore.install.machine import RECORD, UNIT_FILE, Machine
from edgecore.install.paperwork import UNIT

STOP_GRACE_S: Final = 10.0
"""Seconds that a container has to end by itself."""

OWN: Final = (
    "edge-store.db*",
    "edge-store.key*",
    "pki",
    "local-token",
    "lock",
    "edgecore.sock",
    "process",
    "logs",
    "pods",
    "before-upgrade",
    ".before-upgrade",
)
"""What edgecore has in its data folder; whatever else is there is somebody else's."""

_SHOWN: Final = 5

Say = Callable[[str], None]


class Removal(Struct, frozen=True):
    """What is to go."""

    config: Path
    data_dir: Path
    root_dir: Path
    keeps_data: bool


class ResetFailedError(EdgeError):
    """Not all could be done; the text names each thing that is still there."""


async def pods_of(runtime: Runtime) -> list[PodObservation]:
    """Return the pods that run, or are left, on this machine.

    Raises:
        RuntimeServiceError: the container engine does not answer.
    """
    await runtime.open()
    try:
        return await runtime.list_pods()
    finally:
        await runtime.close()


async def reset(
    removal: Removal, machine: Machine, make: Callable[[], Runtime] | None, say: Say
) -> None:
    """Stop edgecore, end its pods, and remove what ``join`` and it have written.

    Args:
        removal: what is to go.
        machine: where from.
        make: makes what runs the pods; None where there is nothing on ``machine`` that could.
        say: is told each step.

    Raises:
        ConfigError: an edgecore runs that systemd does not know; nothing was done.
        ResetFailedError: something failed; all else was done, but that the configuration stays, by
            which what is left is found. Call it again.
    """
    tried = _Tried()
    await tried.attempt(lambda: asyncio.to_thread(_stop, machine, say))
    if tried.faults:  # it would start the pods again, and needs its files
        raise ResetFailedError(
            "\n".join([*tried.faults, "edgecore may still run: nothing was done"])
        )
    with _alone(machine.path(removal.data_dir)):
        if make is not None:
            await tried.attempt(partial(_end_pods_of, make, say))
        if not tried.faults:  # what runs must be found again, by what is in these folders
            await tried.attempt(lambda: asyncio.to_thread(_clear, removal, machine, say))
    for path in (UNIT_FILE, RECORD):
        await tried.attempt(partial(asyncio.to_thread, _remove, machine, path, say))
    if machine.has_systemd:
        await tried.attempt(lambda: asyncio.to_thread(machine.systemctl, "daemon-reload"))
    if not tried.faults:  # the last thing to go: by it, what is left is found when called again
        await tried.attempt(partial(asyncio.to_thread, _remove, machine, removal.config, say))
    if tried.faults:
        raise ResetFailedError("\n".join(tried.faults))


class _Tried:
    """Steps, of which one may fail without the others being left out."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    async def attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except EdgeError as error:
            self.faults.append(str(error))


def _alone(data_dir: Path) -> AbstractContextManager[None]:
    """Keep edgecore from starting meanwhile, and learn whether one runs without systemd."""
    return locked(data_dir) if data_dir.is_dir() else nullcontext()


async def _end_pods_of(make: Callable[[], Runtime], say: Say) -> None:
    await end_pods(make(), say)


async def end_pods(runtime: Runtime, say: Say) -> None:
    """End and remove all pods of this machine.

    Raises:
        EdgeError: the engine does not answer, or pods are left.
    """
    await runtime.open()
    left: list[str] = []
    try:
        for pod in await runtime.list_pods():
            try:
                await _end(runtime, pod)
            except RuntimeServiceError as error:
                left.append(f"pod {pod.namespace}/{pod.name} could not be ended: {error}")
            else:
                say(f"ended: pod {pod.namespace}/{pod.name}")
    except RuntimeServiceError as error:
        raise EdgeError(f"the pods could not be ended: {error}") from error
    finally:
        await runtime.close()
    if left:
        raise EdgeError("\n".join(left))


async def _end(runtime: Runtime, pod: PodObservation) -> None:
    for container in pod.containers:
        if container.state is ContainerState.RUNNING:
            await runtime.stop_container(container.id, STOP_GRACE_S)
    await runtime.stop_sandbox(pod.uid)
    await runtime.remove_sandbox(pod.uid)


def _stop(machine: Machine, say: Say) -> None:
    if machine.has_systemd and machine.path(UNIT_FILE).exists():
        machine.systemctl("disable", "--now", "--quiet", UNIT)
        say(f"stopped: {UNIT}")


def _clear(removal: Removal, machine: Machine, say: Say) -> None:
    """Remove what edgecore has in its folders, once no other file system is mounted in there.

    What others have put into the data folder stays, and so does the folder then.
    """
    if removal.keeps_data:
        say(f"kept: {removal.data_dir}")
        return
    folder = machine.path(removal.data_dir)
    own = {found for pattern in OWN for found in folder.glob(pattern)}
    for target in sorted({*own, machine.path(removal.root_dir / "pods")}):
        _unmount(target)
        machine.remove(machine.name_of(target))
    if not folder.is_dir():
        return
    left = sorted(path.name for path in folder.iterdir())
    if left:
        say(f"kept: {removal.data_dir}, where others have {', '.join(left[:_SHOWN])}")
        return
    try:
        folder.rmdir()
    except OSError:  # a disk of its own is mounted there, or the folder above is not to be written
        say(f"emptied: {removal.data_dir}")
    else:
        say(f"removed: {removal.data_dir}")


def _unmount(folder: Path) -> None:
    try:
        unmount_below(folder)
    except OSError as error:
        raise EdgeError(f"{folder}: something is still mounted in it: {error}") from error
    if mounted_below(folder):
        raise EdgeError(f"{folder}: something is still mounted in it")


def _remove(machine: Machine, path: Path, say: Say) -> None:
    line = machine.remove(path)
    if line:
        say(line)
