"""Containers of one pod that are being ended: preStop hook, SIGTERM, SIGKILL after the grace.

Each is ended in a task of its own, so that the pod's worker goes on meanwhile, and so that a grace
can still be shortened.

Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (killContainer).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RuntimeServiceError
from edgecore.edged.podview import Object, container_of, key_of
from edgecore.edged.probes.hooks import HookError, run_hook
from edgecore.edged.reconcile import StopContainer
from edgecore.edged.runtime.base import PodObservation, Runtime

logger = logging.getLogger(__name__)

_LEFT_AFTER_HOOK_S: Final = 2.0
"""What a container has left to end by itself when its hook took all the time."""

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=60.0)


class _Stop(Struct):
    deadline_s: float
    task: asyncio.Task[None]


class Stops:
    """The ends that are under way in one pod."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        runtime: Runtime,
        clock: Clock,
        ended: Callable[[], None],
        event: Callable[[str, str, str, str], None],
    ) -> None:
        """Make it; nothing is being ended.

        Args:
            tasks: where the tasks live.
            runtime: what the containers run in.
            clock: for graces.
            ended: called after each end, and after each attempt that failed.
            event: records an Event: kind, reason, message, name of the container.
        """
        self._tasks, self._runtime, self._clock = tasks, runtime, clock
        self._ended, self._event = ended, event
        self._stops: dict[str, _Stop] = {}
        self._hooked: set[str] = set()
        self._retry = Backoff(_RETRY)

    def stop(self, pod: Object, observed: PodObservation, action: StopContainer, ip: str) -> None:
        """Have a container ended; one that is being ended may get less time, never more.

        Args:
            pod: whose container it is; its spec may have a hook.
            observed: the pod, as the runtime shows it.
            action: what to end, and how long it has.
            ip: the pod's address.
        """
        deadline_s = self._clock.monotonic() + action.grace_s
        going_on = self._stops.get(action.id)
        if going_on is not None:
            if going_on.deadline_s <= deadline_s:
                return
            going_on.task.cancel()
        else:
            self._event("Normal", "Killing", action.cause, action.name)
        task = self._tasks.create_task(
            self._run(pod, observed, action, deadline_s, ip),
            name=f"stop {key_of(pod)}/{action.name}",
        )
        self._stops[action.id] = _Stop(deadline_s, task)

    async def _run(
        self,
        pod: Object,
        observed: PodObservation,
        action: StopContainer,
        deadline_s: float,
        ip: str,
    ) -> None:
        try:
            hooked = await self._pre_stop(pod, observed, action, ip)
            left_s = max(0.0, deadline_s - self._clock.monotonic())
            least_s = min(_LEFT_AFTER_HOOK_S, action.grace_s) if hooked else 0.0
            await self._runtime.stop_container(action.id, max(least_s, left_s))
            self._retry.reset()
        except RuntimeServiceError as error:
            self._event("Warning", "FailedKillPod", str(error), action.name)
            logger.warning("stop failed", extra={"pod": key_of(pod), "why": str(error)})
            await asyncio.sleep(self._retry.next_s())
        finally:
            stop = self._stops.get(action.id)
            if stop is not None and stop.task is asyncio.current_task():
                del self._stops[action.id]
        self._ended()

    async def _pre_stop(
        self, pod: Object, observed: PodObservation, action: StopContainer, ip: str
    ) -> bool:
        """Run the hook, once for a container, for as long as its grace; return whether it ran."""
        spec = container_of(pod, action.name)
        handler = (spec.get("lifecycle") or {}).get("preStop")
        status = next((c for c in observed.containers if c.id == action.id), None)
        if not handler or status is None or action.id in self._hooked:
            return False
        self._hooked.add(action.id)
        try:
            await run_hook(handler, pod, status, self._runtime, ip, action.grace_s)
        except HookError:
            # Why is not for the log: it may hold what the container has said.
            logger.info("preStop hook failed", extra={"pod": key_of(pod)})
            self._event("Warning", "FailedPreStopHook", "PreStopHook failed", action.name)
        except TimeoutError:
            logger.info("preStop hook took all of the grace", extra={"pod": key_of(pod)})
        return True
