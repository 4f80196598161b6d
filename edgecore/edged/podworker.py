"""The worker of one pod: bring what runs in line with what should run, and have it reported.

It works when something happened: the pod was pushed, a container ended, an object that the pod
names changed, a probe has another verdict, a pause is over. In between it costs nothing. It keeps
no state that matters: what to do is decided anew each time from what the runtime shows. What it
decides is carried out by ``Starter``, ``Stops`` and ``PostStarts``.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RuntimeServiceError
from edgecore.edged.containerstatus import Rejection, Situation, crash_loop_waits
from edgecore.edged.crashloop import History, observe
from edgecore.edged.dependencies import pull_secrets_of, refs_of
from edgecore.edged.node.eviction import PodUsage
from edgecore.edged.objects import Ref
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podservices import PodServices
from edgecore.edged.podview import Object, key_of, spec_of, uid_of
from edgecore.edged.probes.poststart import PostStarts
from edgecore.edged.probes.prober import Prober
from edgecore.edged.probes.probes import Verdict
from edgecore.edged.reconcile import (
    Action,
    Known,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
    Wish,
    reconcile,
    wish_of,
)
from edgecore.edged.reporter import Reporter
from edgecore.edged.runtime.base import ContainerState, PodObservation
from edgecore.edged.spec.refusals import described
from edgecore.edged.starter import Starter
from edgecore.edged.stops import Stops
from edgecore.edged.volumes.podfiles import pod_files
from edgecore.edged.volumes.podusage import usage_of
from edgecore.edged.volumes.volumeusage import empty_dir_over_limit

logger = logging.getLogger(__name__)

_ROUNDS: Final = 8
"""Looks at the runtime in one go; a pod needs three or four, another go follows otherwise."""

_SLOW_S: Final = 1.0
"""A start that takes longer than this is reported before it is done."""

_FAILED_S: Final = 1.0
"""Before another attempt at what the runtime refused to do with a sandbox or a dead container."""

_LOOK_AGAIN: Final = BackoffPolicy(first_s=1.0, cap_s=60.0)
"""Before another look at a pod of which the runtime cannot say how it is."""


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
        self._refs = _names_of(pod)
        self.files = pod_files(services.root_dir, services.logs_dir, pod)
        self._worker = OnDemand(services.tasks, f"pod {self.key}", self._step)
        tasks, runtime, clock = services.tasks, services.runtime, services.clock
        self._starter = Starter(services, self.files, self.wake, self._event)
        self._stops = Stops(tasks, runtime, clock, self.wake, self._event)
        self._post_starts = PostStarts(tasks, runtime, self._event, self.wake)
        self._prober = (
            Prober(tasks, runtime, clock, self.wake, self._event)
            if runtime.answers_probes
            else None
        )
        self._reporter = Reporter(tasks, services.requests, services.link, clock)
        self._reporter.pushed(pod)
        self._observed: PodObservation | None = None
        self._is_observed = False  # whether the runtime was ever asked
        self._history: History = {}
        self._vanished = self._is_static = False
        self._rejection: Rejection | None = None
        self._ending_since_s: float | None = None
        self._seen_at_s = self._planned_at_s = clock.monotonic()
        self._torn_down = False
        self._has_run = False
        self._look_again = Backoff(_LOOK_AGAIN)

    @property
    def pod(self) -> Object:
        """The pod as it was last pushed."""
        return self._pod

    @property
    def observed(self) -> PodObservation | None:
        """The pod as the runtime showed it last."""
        return self._observed

    @property
    def is_given_up(self) -> bool:
        """Whether the node has given the pod up, whether or not it has ended yet."""
        return self._rejection is not None

    @property
    def has_vanished(self) -> bool:
        """Whether the pod is to leave nothing: others may have its place, and its ports."""
        return self._vanished

    @property
    def has_ended(self) -> bool:
        """Whether nothing of the pod runs, nor will: it takes nothing of the node any more."""
        return self._torn_down

    def status(self) -> Object:
        """Return the pod's status as it was last worked out."""
        return self._reporter.wanted

    def volume_over_limit(self) -> str:
        """Return which volume has outgrown its limit, in words; blocks while it counts."""
        return empty_dir_over_limit(self.files, self._pod)

    def disk_usage(self) -> PodUsage:
        """Return what the pod's logs and volumes take of the disk; blocks while it counts."""
        return usage_of(self.files, self._pod)

    def names(self, ref: Ref, namespace: str) -> bool:
        """Whether the pod names this ConfigMap or Secret."""
        return ref in self._refs and self.key.partition("/")[0] == namespace

    def pushed(self, pod: Object) -> None:
        """Take the pod as it is now."""
        before, self._pod = self._pod, pod
        if not self._is_static:
            self._reporter.pushed(pod)
        if wish_of(before, vanished=False) is not wish_of(pod, vanished=False):
            self._starter.hurry()
        if _visible(before) != _visible(pod):
            self._starter.outdated()
        if before.get("spec") != pod.get("spec"):
            self._refs = _names_of(pod)
            self._starter.retry()
        self._worker.wake()

    def mirrored(self, mirror: Object | None) -> None:
        """Take the copy that the API server has of this static pod; None for none."""
        self._is_static = True
        self._reporter.is_known = mirror is not None
        if mirror is not None:
            self._reporter.pushed(mirror)

    def vanish(self) -> None:
        """End the pod and leave nothing: the API server does not know it any more."""
        self._vanished = True
        self._reporter.close()
        self._starter.hurry()
        self._worker.wake()

    def reject(self, rejection: Rejection) -> None:
        """Give the pod up: it is ended, and has failed for good."""
        if self._rejection is None:
            self._rejection = rejection
            self._event(rejection.kind, rejection.reason, rejection.message, "")
            self._starter.hurry()
            self._worker.wake()

    def changed(self) -> None:
        """Look again at the objects that the pod names."""
        self._starter.changed()
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
        self._starter.retry()
        self._reporter.wake()
        self._worker.wake()

    def close(self) -> None:
        """Work no more; what runs goes on running."""
        self._reporter.close()
        if self._prober is not None:
            self._prober.close()
        self._post_starts.close()
        self._starter.leave()
        self._worker.close()

    async def _step(self) -> float | None:
        if self._blocked and not self._vanished:
            return None
        slow = asyncio.get_running_loop().call_later(_SLOW_S, self._report_creating)
        try:
            plan = await self._settle()
        except RuntimeServiceError as error:
            # Nothing is known of the pod, so nothing is said of it.
            if not error.is_unavailable:
                extra = {"pod": self.key, "why": str(error)[:256]}
                logger.warning("the runtime does not show the pod", extra=extra)
                return self._look_again.next_s()
            self._services.availability.lost(error)
            return None
        finally:
            slow.cancel()
        if self._vanished and plan.gone:
            await self._leave()
            return None
        if plan.over:
            await self._tear_down()
        elif self._ending_since_s is None:
            await self._starter.keep_volumes(self._pod)
        self._starter.rest()
        self._report(plan)
        return self._pause_s(plan)

    async def _settle(self) -> Plan:
        """Do what there is to do, and return what came of it.

        Raises:
            RuntimeServiceError: the runtime cannot be asked.
        """
        rounds = 0
        while True:
            await self._look()
            plan = self._plan()
            rounds += 1
            if not await self._carry_out(plan):
                return plan
            if rounds == _ROUNDS:
                self._worker.wake()
                return plan

    async def _look(self) -> None:
        observed = self._observed = await self._services.runtime.pod(self.uid)
        if not self._is_observed and observed is not None:
            self._has_run = True  # or it may have: an edgecore before this one began it
        self._is_observed = True
        self._look_again.reset()
        node_ip = self._services.setup().view.ip
        if observed is not None:
            ip = observed.ips[0] if observed.ips else node_ip
            self._post_starts.begin(self._pod, observed, self._starter.started, ip)
            hooked = self._post_starts.verdict
            begun = tuple(c for c in observed.containers if hooked(c.id) is None)
            observed = replace(observed, containers=begun)
        if self._prober is not None:
            self._prober.follow(self._pod, observed, node_ip)

    def _plan(self) -> Plan:
        observed = self._observed
        now_s = self._planned_at_s = self._services.clock.monotonic()
        containers = observed.containers if observed else ()
        self._history = observe(self._history, containers, now_s)
        self._enforce_deadline(now_s)
        wish = wish_of(self._pod, vanished=self._vanished)
        if self._rejection is not None and wish is Wish.RUN:
            wish = Wish.END
        if wish is not Wish.RUN and self._ending_since_s is None:
            self._ending_since_s = now_s
        ending_for_s = 0.0 if self._ending_since_s is None else now_s - self._ending_since_s
        grace_s = self._rejection.grace_s if self._rejection is not None else None
        known = Known(self._verdicts(), ending_for_s, grace_s)
        return reconcile(self._pod, wish, observed, self._history, now_s, known)

    def _verdicts(self) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for container in self._observed.containers if self._observed else ():
            if container.state is ContainerState.RUNNING:
                verdict = self._post_starts.verdict(container.id)
                if verdict is None and self._prober is not None:
                    verdict = self._prober.verdict(container)
                if verdict is not None:
                    verdicts[container.id] = verdict
        return verdicts

    def _enforce_deadline(self, now_s: float) -> None:
        """Give up a pod that has been active for longer than it may.

        Counted from when this edgecore first saw it: the wall clock of a device proves nothing.
        """
        limit_s = spec_of(self._pod).get("activeDeadlineSeconds")
        if limit_s is None or self._torn_down or self._ending_since_s is not None:
            return
        if now_s - self._seen_at_s >= limit_s:
            message = "Pod was active on the node longer than the specified deadline"
            self.reject(Rejection("DeadlineExceeded", message, kind="Normal"))

    async def _carry_out(self, plan: Plan) -> bool:
        """Do what the plan says; return whether that changed what the runtime shows."""
        changed = False
        for action in plan.actions:
            try:
                changed |= await self._apply(action)
                if changed and isinstance(action, StartContainer) and _has_hook(action.container):
                    break  # it comes before the next container
            except RuntimeServiceError as error:
                if error.is_unavailable:
                    raise
                self._failed(action, error)
        return changed

    async def _apply(self, action: Action) -> bool:
        runtime = self._services.runtime
        match action:
            case RunSandbox(attempt):
                return await self._starter.run_sandbox(self._pod, attempt)
            case StartContainer():
                assert self._observed is not None
                return await self._starter.start(self._pod, self._observed, action)
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

    def _stop(self, action: StopContainer) -> None:
        if self._observed is not None:
            ips = self._observed.ips or (self._services.setup().view.ip,)
            self._stops.stop(self._pod, self._observed, action, ips[0])

    def _failed(self, action: Action, error: RuntimeServiceError) -> None:
        """Say that something could not be cleared away; it is tried again."""
        extra = {"pod": self.key, "action": type(action).__name__, "why": str(error)[:256]}
        logger.warning("the runtime refused", extra=extra)
        self._event("Warning", "FailedKillPod", f"error killing pod: {error}", "")
        self._again_soon()

    def _again_soon(self) -> None:
        asyncio.get_running_loop().call_later(_FAILED_S, self._worker.wake)

    def _report(self, plan: Plan) -> None:
        waits = {
            **self._starter.waiting,
            **crash_loop_waits(self._pod, plan.backing_off, self._history),
        }
        for name in plan.backing_off:
            message = f"Back-off restarting failed container {name} in pod {described(self._pod)}"
            self._event("Warning", "BackOff", message, name)
        self._reporter.report(
            Situation(
                self._observed,
                self._services.runtime.scheme,
                self._services.setup().view.ip,
                waits,
                over=plan.over,
                verdicts=self._verdicts(),
                rejection=self._rejection,
                sandbox_problem=self._starter.sandbox_problem,
            )
        )
        if not self._has_run and self.status().get("phase") == "Running":
            self._has_run = True
            after_s = self._planned_at_s - self._seen_at_s
            self._services.note_start(after_s)
            extra = {"pod": self.key, "uid": self.uid, "after_s": round(after_s, 1)}
            logger.info("pod runs", extra=extra)

    def _report_creating(self) -> None:
        """Say that the pod was seen, while its first containers take their time."""
        if self._is_observed and not self._history and not self._vanished:
            self._report(Plan())

    def _pause_s(self, plan: Plan) -> float | None:
        """Return the seconds until there is something to do by itself."""
        if plan.over:
            return None
        now_s = self._services.clock.monotonic()
        pauses: list[float] = []
        if plan.wake_at_s is not None:
            pauses.append(plan.wake_at_s - now_s)
        if self._ending_since_s is None:
            pauses += self._starter.pauses_s(self._planned_at_s)
            limit_s = spec_of(self._pod).get("activeDeadlineSeconds")
            if limit_s is not None:
                pauses.append(self._seen_at_s + limit_s - now_s)
        return max(0.01, min(pauses)) if pauses else None

    async def _tear_down(self) -> None:
        """Remove the files of a pod of which nothing runs, and its cgroup."""
        if self._torn_down:
            return
        try:
            await self._starter.tear_down()
        except OSError as error:
            extra = {"pod": self.key, "why": str(error)}
            logger.warning("volumes cannot be removed yet", extra=extra)
            self._event("Warning", "FailedUnMount", f"volumes cannot be removed: {error}", "")
            self._again_soon()
            return
        if (cgroups := self._services.cgroups) is not None:
            await asyncio.to_thread(cgroups.remove_pod, self.uid)
        self._starter.leave()
        self._torn_down = True

    async def _leave(self) -> None:
        """Remove what is left of the pod on disk, and be forgotten."""
        await self._tear_down()
        if not self._torn_down:
            return
        await asyncio.to_thread(shutil.rmtree, self.files.log_dir, ignore_errors=True)
        logger.info("pod is gone", extra={"pod": self.key, "uid": self.uid})
        self.close()
        self._on_gone(self)

    def _event(self, kind: str, reason: str, message: str, container: str) -> None:
        if not self._vanished:
            self._services.events.record(self._pod, kind, reason, message, container=container)


def _has_hook(container: Object) -> bool:
    return bool((container.get("lifecycle") or {}).get("postStart"))


def _names_of(pod: Object) -> frozenset[Ref]:
    return refs_of(pod) | frozenset(pull_secrets_of(pod))


def _visible(pod: Object) -> tuple[object, ...]:
    """Return what of a pod may stand in its volumes and change while it runs."""
    metadata = pod.get("metadata", {})
    return metadata.get("labels"), metadata.get("annotations")
