"""The worker of one pod: bring what runs in line with what should run, and have it reported.

It works when something happened: the pod was pushed, a container ended, an object that the pod
names changed, a pause is over. In between it costs nothing. It keeps no state that matters: what to
do is decided anew each time from what the runtime shows.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RuntimeServiceError
from edgecore.edged import volumewriter
from edgecore.edged.containerstatus import Situation, Waiting, crash_loop_waits
from edgecore.edged.crashloop import History, observe
from edgecore.edged.dependencies import Dependencies, refs_of
from edgecore.edged.events import Events
from edgecore.edged.fields import NodeView
from edgecore.edged.objects import MissingError, Objects, Ref, UnavailableError
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podfiles import Prepared, container_config, pod_files
from edgecore.edged.podview import Object, key_of, uid_of
from edgecore.edged.reconcile import (
    Action,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
    reconcile,
    wish_of,
)
from edgecore.edged.reporter import Reporter
from edgecore.edged.requests import TIMEOUT_S, Link, Requests
from edgecore.edged.runtime.base import PodObservation, Runtime
from edgecore.edged.runtime.spec import SandboxConfig
from edgecore.edged.volumes import VolumeError, volumes_of

logger = logging.getLogger(__name__)

_ROUNDS: Final = 8
"""Looks at the runtime in one go; a pod needs three or four, another go follows otherwise."""

_SLOW_S: Final = 1.0
"""A start that takes longer than this is reported before it is done."""

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=60.0)


@dataclass(frozen=True, slots=True)
class PodServices:
    """What the workers of a node share."""

    tasks: asyncio.TaskGroup
    runtime: Runtime
    requests: Requests
    clock: Clock
    link: Link
    events: Events
    data_dir: Path
    node: Callable[[], NodeView]


class PodWorker:
    """Everything that edged does for one pod, from its first sight to its last trace."""

    def __init__(
        self,
        services: PodServices,
        pod: Object,
        on_gone: Callable[["PodWorker"], None],
        *,
        blocked: bool,
    ) -> None:
        """Make the worker; ``wake`` sets it to work.

        Args:
            services: what it works with.
            pod: as the edge-store has it.
            on_gone: called when nothing is left of the pod.
            blocked: whether another pod of this name must be gone first.
        """
        self.uid, self.key = uid_of(pod), key_of(pod)
        self._services, self._on_gone, self._blocked = services, on_gone, blocked
        self._pod = pod
        self._refs = refs_of(pod)
        self._files = pod_files(services.data_dir, pod)
        self._dependencies = Dependencies(services.requests, services.clock)
        self._reporter = Reporter(services.tasks, services.requests, services.link, services.clock)
        self._reporter.pushed(pod)
        self._history: History = {}
        self._vanished = False
        self._refresh = True  # what stands in the volumes may be older than the edge-store
        self._torn_down = False
        self._prepared: Prepared | None = None
        self._waiting: dict[str, Waiting] = {}
        self._retry = Backoff(_RETRY)
        # What failed, and when it may be tried again: a container by its name, the volumes by "".
        self._held: dict[str, float] = {}
        self._stops: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._patience: asyncio.Timeout | None = None
        self._worker = OnDemand(services.tasks, f"pod {self.key}", self._step)

    def names(self, ref: Ref, namespace: str) -> bool:
        """Whether the pod names this ConfigMap or Secret."""
        return ref in self._refs and self.key.partition("/")[0] == namespace

    def pushed(self, pod: Object) -> None:
        """Take the pod as it is now."""
        before, self._pod = self._pod, pod
        self._reporter.pushed(pod)
        if wish_of(before, vanished=False) is not wish_of(pod, vanished=False):
            self._hurry()
        if _visible(before) != _visible(pod):
            self._refresh = True
        if before.get("spec") != pod.get("spec"):
            self._refs = refs_of(pod)
            self._held.clear()
        self._worker.wake()

    def vanish(self) -> None:
        """End the pod and leave nothing: the API server does not know it any more."""
        self._vanished = True
        self._reporter.close()
        self._hurry()
        self._worker.wake()

    def changed(self) -> None:
        """Look again at the objects that the pod names."""
        self._refresh = True
        self._held.clear()
        self._retry.reset()
        self._worker.wake()

    def release(self) -> None:
        """Begin: the pod that had this name before is gone."""
        self._blocked = False
        self._worker.wake()

    def wake(self) -> None:
        """Look at what the runtime shows of the pod."""
        self._worker.wake()

    def relink(self) -> None:
        """Say again what the API server does not have, on a new connection."""
        self._held.clear()
        self._reporter.wake()
        self._worker.wake()

    def close(self) -> None:
        """Work no more; what runs goes on running."""
        self._reporter.close()
        self._worker.close()

    def _hurry(self) -> None:
        """Let go of a request that the work waits for: there is something more urgent."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _step(self) -> float | None:
        if self._blocked and not self._vanished:
            return None
        slow = asyncio.get_running_loop().call_later(_SLOW_S, self._report_creating)
        try:
            observed, plan = await self._settle()
        finally:
            slow.cancel()
        if self._vanished and plan.gone:
            await self._leave()
            return None
        await self._keep_volumes(plan)
        self._prepared = None  # it holds Secrets, and will be out of date when it is needed again
        self._report(observed, plan)
        return self._pause_s(plan)

    async def _settle(self) -> tuple[PodObservation | None, Plan]:
        """Do what there is to do, and return what came of it."""
        rounds = 0
        while True:
            observed = await self._services.runtime.pod(self.uid)
            plan = self._plan(observed)
            rounds += 1
            if not await self._carry_out(plan):
                return observed, plan
            if rounds == _ROUNDS:
                self._worker.wake()
                return observed, plan

    def _plan(self, observed: PodObservation | None) -> Plan:
        now_s = self._services.clock.monotonic()
        self._history = observe(self._history, observed.containers if observed else (), now_s)
        wish = wish_of(self._pod, vanished=self._vanished)
        return reconcile(self._pod, wish, observed, self._history, now_s)

    async def _carry_out(self, plan: Plan) -> bool:
        """Do what the plan says; return whether that changed what the runtime shows."""
        changed = False
        for action in plan.actions:
            if isinstance(action, StartContainer) and not await self._may_start(action):
                continue
            try:
                changed |= await self._apply(action)
            except RuntimeServiceError as error:
                self._failed(action, error.reason, str(error))
                changed |= error.reason == "RunContainerError"  # the end of it is to be seen
        return changed

    async def _apply(self, action: Action) -> bool:
        runtime = self._services.runtime
        match action:
            case RunSandbox(attempt):
                metadata = self._pod["metadata"]
                await runtime.run_sandbox(
                    SandboxConfig(
                        self.uid,
                        metadata["namespace"],
                        metadata["name"],
                        attempt,
                        self._files.log_dir,
                        tuple((metadata.get("labels") or {}).items()),
                    )
                )
            case StartContainer():
                return await self._start(action)
            case StopContainer():
                self._stop(action)
                return False
            case RemoveContainer(container_id):
                await runtime.remove_container(container_id)
            case StopSandbox():
                await runtime.stop_sandbox(self.uid)
            case RemoveSandbox():
                await runtime.remove_sandbox(self.uid)
        return True

    async def _may_start(self, action: StartContainer) -> bool:
        """Whether everything is there that the container needs; get it if it was not tried yet."""
        now_s = self._services.clock.monotonic()
        if any(now_s < self._held.get(what, 0.0) for what in (action.container["name"], "")):
            return False
        if self._prepared is None or self._refresh:
            try:
                self._prepared = await self._prepare()
            except (VolumeError, OSError) as error:
                self._failed(action, "ContainerCreating", str(error), event="FailedMount")
                self._held[""] = self._held[action.container["name"]]
                return False
        return True

    async def _prepare(self) -> Prepared:
        """Fetch the objects that the pod names and let its volumes have them.

        Raises:
            VolumeError, OSError: a volume cannot be set up.
        """
        self._refresh = False
        try:
            async with asyncio.timeout(TIMEOUT_S) as self._patience:
                objects = await self._dependencies.fetch(self._pod)
        except TimeoutError:
            objects = Objects(self._pod["metadata"]["namespace"])
        finally:
            self._patience = None
        volumes = volumes_of(self._pod, objects, self._services.node())
        paths: Mapping[str, Path] = {}
        if volumes and self._services.runtime.wants_files:
            paths = await asyncio.to_thread(volumewriter.set_up, self._files.volumes_dir, volumes)
        return Prepared(objects, paths)

    async def _start(self, action: StartContainer) -> bool:
        assert self._prepared is not None
        name = action.container["name"]
        log = self._files.log_path(name, action.attempt)
        node = self._services.node()
        try:
            config, skipped = container_config(
                self._pod, action.container, action.attempt, self._prepared, node, log
            )
        except (MissingError, UnavailableError) as error:
            self._prepared = None
            self._failed(action, "CreateContainerConfigError", str(error))
            return False
        if skipped:
            message = f"Keys {', '.join(skipped)} were skipped: they are no names of variables"
            self._event("Warning", "InvalidEnvironmentVariableNames", message, name)
        container_id = await self._services.runtime.create_container(self.uid, config)
        await self._services.runtime.start_container(container_id)
        self._waiting.pop(name, None)
        self._retry.reset()
        self._event("Normal", "Started", f"Started container {name}", name)
        return True

    def _failed(self, action: Action, reason: str, message: str, *, event: str = "Failed") -> None:
        """Keep the pod from trying again for a while, and say why."""
        logger.info("pod action failed", extra={"pod": self.key, "reason": reason, "why": message})
        name = ""
        if isinstance(action, StartContainer):
            name = action.container["name"]
            self._waiting[name] = Waiting(reason, message)
        self._event("Warning", event, message, name)
        self._held[name] = self._services.clock.monotonic() + self._retry.next_s()

    def _stop(self, action: StopContainer) -> None:
        """Have a container ended, in a task of its own: the grace may still be shortened."""
        deadline_s = self._services.clock.monotonic() + action.grace_s
        going_on = self._stops.get(action.id)
        if going_on is not None:
            if going_on[0] <= deadline_s:
                return
            going_on[1].cancel()
        else:
            self._event("Normal", "Killing", action.cause, action.name)
        task = self._services.tasks.create_task(
            self._stop_container(action), name=f"stop {self.key}/{action.name}"
        )
        self._stops[action.id] = (deadline_s, task)

    async def _stop_container(self, action: StopContainer) -> None:
        try:
            await self._services.runtime.stop_container(action.id, action.grace_s)
        except RuntimeServiceError as error:
            self._event("Warning", "FailedKillPod", str(error), action.name)
            logger.warning("stop failed", extra={"pod": self.key, "why": str(error)})
            await asyncio.sleep(self._retry.next_s())
        finally:
            if self._stops.get(action.id, (0, None))[1] is asyncio.current_task():
                del self._stops[action.id]
        self._worker.wake()

    async def _keep_volumes(self, plan: Plan) -> None:
        """Let running containers see what changed; remove the files of those that ended."""
        if plan.over:
            if not self._torn_down:
                await asyncio.to_thread(volumewriter.tear_down, self._files.volumes_dir)
                self._torn_down = True
            return
        due_s = self._dependencies.refresh_in_s()
        if not self._refresh and (due_s is None or due_s > 0):
            return
        try:
            self._prepared = await self._prepare()
        except (VolumeError, OSError) as error:
            # The containers keep what they have.
            self._event("Warning", "FailedMount", str(error), "")

    def _report(self, observed: PodObservation | None, plan: Plan) -> None:
        waits = {**self._waiting, **crash_loop_waits(self._pod, plan.backing_off, self._history)}
        for name in plan.backing_off:
            self._event("Warning", "BackOff", f"Back-off restarting failed container {name}", name)
        self._reporter.report(
            Situation(
                observed,
                self._services.runtime.scheme,
                self._services.node().ip,
                waits,
                over=plan.over,
            )
        )

    def _report_creating(self) -> None:
        """Say that the pod was seen, while its first containers take their time."""
        if not self._history and not self._vanished:
            self._report(None, Plan())

    def _pause_s(self, plan: Plan) -> float | None:
        """Return the seconds until there is something to do by itself."""
        now_s = self._services.clock.monotonic()
        pauses = [
            s for s in (self._dependencies.refresh_in_s(),) if s is not None and not plan.over
        ]
        if plan.wake_at_s is not None:
            pauses.append(plan.wake_at_s - now_s)
        pauses += [until_s - now_s for until_s in self._held.values() if until_s > now_s]
        return max(0.01, min(pauses)) if pauses else None

    async def _leave(self) -> None:
        """Remove what is left of the pod on disk, and be forgotten."""
        for directory in (self._files.volumes_dir, self._files.log_dir):
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        logger.info("pod is gone", extra={"pod": self.key, "uid": self.uid})
        self._worker.close()
        self._on_gone(self)

    def _event(self, kind: str, reason: str, message: str, container: str) -> None:
        if not self._vanished:
            self._services.events.record(self._pod, kind, reason, message, container=container)


def _visible(pod: Object) -> tuple[object, ...]:
    """Return what of a pod may stand in its volumes and change while it runs."""
    metadata = pod.get("metadata", {})
    return metadata.get("labels"), metadata.get("annotations")
