"""Keeping the logs of running containers within bounds, for runtimes that do not by themselves.

A look is one ``stat`` for each running container. What is too long is moved away, and the runtime
is told to go on in a new file. The newest of the moved ones stays as it is for a round, so that who
follows it can read to its end; those before it are compressed.

Source: Kubernetes pkg/kubelet/logs/container_log_manager.go.
"""

import asyncio
import gzip
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from common.clock import Clock
from common.errors import RuntimeServiceError
from edgecore.edged.local.logfiles import COMPRESSED, TEMPORARY, plan_rotation, rotated_name
from edgecore.edged.runtime.base import (
    ContainerState,
    ContainerStatus,
    PodObservation,
    Runtime,
)

logger = logging.getLogger(__name__)

PERIOD_S: Final = 30.0
"""Seconds between two looks, if whoever calls wants to know. kubelet looks every 10 s."""


class LogLimits(Struct, frozen=True):
    """How much of a container's output is kept."""

    max_bytes: int = 10 * 1024 * 1024
    """A file that is longer is moved away at the next look."""
    max_files: int = 5
    """Of one start of a container, the one that is written to among them; at least 2."""


class _Log(Struct, frozen=True):
    container: ContainerStatus
    path: Path
    size: int
    """In bytes; -1 if it is not there."""


class LogRotator:
    """Rotates the logs of running containers."""

    def __init__(self, runtime: Runtime, clock: Clock, logs_dir: Path, limits: LogLimits) -> None:
        """Make it; nothing happens before ``rotate``.

        Args:
            runtime: told to go on in a new file.
            clock: tells the names of rotated files.
            logs_dir: as in ``PodServices``: has a folder for each pod.
            limits: how much is kept.
        """
        self._runtime, self._clock = runtime, clock
        self._logs_dir, self._limits = logs_dir, limits

    async def rotate(self, observations: Iterable[PodObservation]) -> None:
        """Look at the logs of all running containers once, and rotate those that are too long.

        What fails is logged and tried again by the next call; it never stops the others.

        Cancellation: a log may have been moved away and the runtime not told. It goes on writing to
        the moved file, and is told by the next call, which finds no log.
        """
        for log in await asyncio.to_thread(self._look, list(observations)):
            try:
                await self._rotate(log)
            except (OSError, RuntimeServiceError) as error:
                extra = {"log": str(log.path), "why": str(error)[:256]}
                logger.warning("log cannot be rotated", extra=extra)

    def _look(self, observations: list[PodObservation]) -> list[_Log]:
        """Return the logs that are too long or not there."""
        found = []
        for pod in observations:
            directory = self._logs_dir / f"{pod.namespace}_{pod.name}_{pod.uid}"
            for container in pod.containers:
                if container.state is ContainerState.RUNNING:
                    path = directory / container.name / f"{container.attempt}.log"
                    found.append(_Log(container, path, _size(path)))
        return [log for log in found if log.size < 0 or log.size >= self._limits.max_bytes]

    async def _rotate(self, log: _Log) -> None:
        if log.size >= 0:
            await asyncio.to_thread(self._make_room, log.path)
            moved = await asyncio.to_thread(self._move_away, log.path)
        else:
            moved = None
        try:
            await self._runtime.reopen_log(log.container.id)
        except RuntimeServiceError:
            if moved is not None:
                await asyncio.to_thread(_move_back, moved, log.path)
            raise

    def _make_room(self, path: Path) -> None:
        """Remove and compress older files. A full disk keeps nothing from being moved later."""
        plan = plan_rotation(path.name, os.listdir(path.parent), self._limits.max_files)
        for name in plan.remove:
            (path.parent / name).unlink(missing_ok=True)
        for name in plan.compress:
            try:
                _compress(path.parent / name)
            except OSError as error:
                extra = {"log": str(path.parent / name), "why": str(error)[:256]}
                logger.warning("log cannot be compressed", extra=extra)

    def _move_away(self, path: Path) -> Path:
        name = rotated_name(path.name, os.listdir(path.parent), self._clock.now())
        return path.rename(path.with_name(name))


def _compress(path: Path) -> None:
    """Put ``path.gz`` in the place of ``path``; interrupted at any moment, one of them is whole."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        mode = path.stat().st_mode
        with (
            path.open("rb") as source,
            temporary.open("wb") as file,
            gzip.GzipFile("", "wb", 6, file) as target,
        ):
            os.fchmod(file.fileno(), mode & 0o777)
            shutil.copyfileobj(source, target)
        temporary.rename(path.with_name(path.name + COMPRESSED))
    finally:
        temporary.unlink(missing_ok=True)
    path.unlink()


def _move_back(moved: Path, path: Path) -> None:
    """Let the log have its name again, unless the runtime has begun a new one all the same."""
    if not path.exists():
        moved.rename(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
