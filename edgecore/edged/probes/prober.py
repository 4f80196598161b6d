"""The probes of one pod: run when they are due, and added up to a verdict on each container.

A pod without probes costs an object. Each probe of a running container is a timer, and a task only
while it runs: one that hangs holds up no other.

Source: Kubernetes pkg/kubelet/prober.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeAlias

from common.clock import Clock
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object, is_deleting, is_over
from edgecore.edged.probes.probecalls import Target, address_of, run_probe
from edgecore.edged.probes.probes import (
    RUNS,
    RUNS_NOT,
    Course,
    Verdict,
    begin,
    due_s,
    earlier_of,
    event_of,
    is_premature,
    observe,
    verdict_of,
)
from edgecore.edged.probes.probespec import Probed, ProbeKind, probes_of
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation, Runtime

EventSink: TypeAlias = Callable[[str, str, str, str], None]
"""Takes the kind, the reason and the message of an event, and the container's name."""


class _Watched:
    """A running container, and what works on its probes."""

    __slots__ = ("course", "name", "workers")

    def __init__(self, name: str, course: Course) -> None:
        self.name, self.course = name, course
        self.workers: dict[ProbeKind, OnDemand] = {}


class Prober:
    """Probes the containers of one pod."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        runtime: Runtime,
        clock: Clock,
        changed: Callable[[], None],
        event: EventSink,
    ) -> None:
        """Make it idle.

        Args:
            tasks: where probes live while they run.
            runtime: that runs the containers.
            clock: for when probes are due.
            changed: called when the verdict on a container is another one.
            event: called with what people should know.
        """
        self._tasks, self._runtime, self._clock = tasks, runtime, clock
        self._changed, self._event = changed, event
        self._probed: dict[str, Probed] | None = None
        self._watched: dict[str, _Watched] = {}
        self._ending = False
        self._ip = ""

    def follow(self, pod: Object, observed: PodObservation | None, node_ip: str) -> None:
        """Probe the containers that run, each by its id, and forget those that do not.

        Args:
            pod: as it is now, with the status that the API server has: what is reported of a
                container that an earlier edgecore probed holds until this one knows better.
            observed: what the runtime shows of it.
            node_ip: where a pod answers that has no address of its own.
        """
        if self._probed is None:
            self._probed = probes_of(pod)
        if not self._probed:
            return
        self._ending = is_deleting(pod) or is_over(pod)
        containers = observed.containers if observed else ()
        running = {c.id: c for c in containers if c.state is ContainerState.RUNNING}
        for container_id in self._watched.keys() - running.keys():
            self._forget(container_id)
        if observed:
            self._ip = address_of(observed, node_ip)
        for container in running.values():
            if container.id not in self._watched and container.name in self._probed:
                self._watch(pod, container, self._probed[container.name])
        for watched in self._watched.values():
            self._wake_due(watched)

    def verdict(self, container: ContainerStatus) -> Verdict:
        """Return what is known of ``container``, which ``follow`` was shown."""
        if container.state is not ContainerState.RUNNING:
            return RUNS_NOT
        if watched := self._watched.get(container.id):
            return verdict_of(watched.course)
        if self._probed and (probed := self._probed.get(container.name)):
            return verdict_of(begin(probed, 0.0))
        return RUNS

    def close(self) -> None:
        """Probe no more."""
        for container_id in list(self._watched):
            self._forget(container_id)

    def _watch(self, pod: Object, container: ContainerStatus, probed: Probed) -> None:
        # The runtime tells times as the machine's own clock has them.
        now = self._clock.now() - timedelta(seconds=self._clock.offset_s)
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        earlier = earlier_of(pod, container, now, jitter)
        course = begin(probed, self._clock.monotonic(), earlier)
        watched = _Watched(container.name, course)
        self._watched[container.id] = watched
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/{container.name}"
        for kind in probed.probes:
            step = partial(self._step, container.id, watched, kind)
            worker = OnDemand(self._tasks, f"{kind.lower()} probe {name}", step)
            watched.workers[kind] = worker
            worker.wake()

    def _forget(self, container_id: str) -> None:
        for worker in self._watched.pop(container_id).workers.values():
            worker.close()

    def _wake_due(self, watched: _Watched) -> None:
        """Wake the probes that are due: the first by another's result, or after a suspend."""
        now_s = self._clock.monotonic()
        for kind, worker in watched.workers.items():
            at_s = due_s(watched.course, kind, ending=self._ending)
            if at_s is not None and at_s <= now_s:
                worker.wake()

    async def _step(self, container_id: str, watched: _Watched, kind: ProbeKind) -> float | None:
        """Run one probe if it is due; return the seconds until it is due again."""
        now_s = self._clock.monotonic()
        at_s = due_s(watched.course, kind, ending=self._ending)
        if at_s is not None and at_s <= now_s:
            await self._run(container_id, watched, kind, now_s)
            at_s = due_s(watched.course, kind, ending=self._ending)
        return None if at_s is None else max(0.0, at_s - self._clock.monotonic())

    async def _run(
        self, container_id: str, watched: _Watched, kind: ProbeKind, now_s: float
    ) -> None:
        probed = watched.course.probed
        target = Target(probed.container, container_id, self._ip)
        answer = await run_probe(probed.probes[kind], target, self._runtime)
        if self._watched.get(container_id) is not watched or self._is_moot(kind):
            return
        event = event_of(kind, answer)
        if event and not is_premature(watched.course, kind, answer.outcome, now_s):
            self._event("Warning", *event, watched.name)
        before = verdict_of(watched.course)
        watched.course = observe(watched.course, kind, answer.outcome, now_s)
        if verdict_of(watched.course) != before:
            self._wake_due(watched)  # a container that has started is probed for the rest
            self._changed()

    def _is_moot(self, kind: ProbeKind) -> bool:
        """Whether nobody asks for a result any more: the pod was deleted meanwhile."""
        return self._ending and kind is not ProbeKind.READINESS
