"""postStart hooks: run right after a container's start, and the end of a container if they fail.

Until its hook has ended a container is not said to run, is not probed, and those that are listed
after it are not started: who waits in a hook for a proxy relies on that.

Source: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from edgecore.edged.podview import Object, container_of, key_of
from edgecore.edged.probes.hooks import HookError, run_hook
from edgecore.edged.probes.probes import BEGINS, RestartCause, Verdict
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation, Runtime

logger = logging.getLogger(__name__)

LONGEST_S: Final = 3600.0
"""Kubernetes sets no limit; a hook that has hung for an hour has failed."""


class PostStarts:
    """The postStart hooks of one pod."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        runtime: Runtime,
        event: Callable[[str, str, str, str], None],
        ended: Callable[[], None],
    ) -> None:
        """Make it idle.

        Args:
            tasks: where hooks run.
            runtime: that runs the containers.
            event: records an Event: kind, reason, message, name of the container.
            ended: called when a hook has ended, well or not.
        """
        self._tasks, self._runtime, self._event, self._ended = tasks, runtime, event, ended
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failed: set[str] = set()

    def begin(self, pod: Object, observed: PodObservation, started: set[str], ip: str) -> None:
        """Run the hooks of containers that were just started.

        Args:
            pod: whose containers these are.
            observed: as the runtime shows it.
            started: their ids; those that have their turn are taken out.
            ip: the pod's address.
        """
        if self._failed:
            self._failed &= {c.id for c in observed.containers if c.state is ContainerState.RUNNING}
        if not started:
            return
        for container in observed.containers:
            if container.id not in started:
                continue
            started.discard(container.id)
            lifecycle = container_of(pod, container.name).get("lifecycle") or {}
            handler = lifecycle.get("postStart")
            if handler and container.state is ContainerState.RUNNING:
                self._running[container.id] = self._tasks.create_task(
                    self._run(handler, pod, container, ip),
                    name=f"postStart {key_of(pod)}/{container.name}",
                )

    def verdict(self, container_id: str) -> Verdict | None:
        """Return what is to be said of a running container because of its hook; None: nothing."""
        if container_id in self._failed:
            return replace(BEGINS, restart=RestartCause("FailedPostStartHook", None))
        return BEGINS if container_id in self._running else None

    def close(self) -> None:
        """Wait for no hook any more."""
        for task in self._running.values():
            task.cancel()

    async def _run(self, handler: Object, pod: Object, container: ContainerStatus, ip: str) -> None:
        try:
            await run_hook(handler, pod, container, self._runtime, ip, LONGEST_S)
        except (HookError, TimeoutError):
            # Why is not for the log: it may hold what the container has said.
            extra = {"pod": key_of(pod), "container": container.name}
            logger.info("postStart hook failed", extra=extra)
            self._event("Warning", "FailedPostStartHook", "PostStartHook failed", container.name)
            self._failed.add(container.id)
        finally:
            self._running.pop(container.id, None)
        self._ended()
