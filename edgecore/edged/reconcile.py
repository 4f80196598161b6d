"""What has to be done so that a pod becomes what it should be. Pure.

``reconcile`` looks at the pod, at what the runtime shows of it and at the history of its restarts,
and says what to do now and when to look again. It keeps no state: called again after any part of
its actions was carried out, it says what is left. That holds across restarts of edgecore.

Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions).
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from msgspec import Struct, field

from edgecore.edged.crashloop import History, latest
from edgecore.edged.podview import (
    MIN_GRACE_S,
    Object,
    containers_of,
    grace_s_of,
    init_containers_of,
    is_deleting,
    is_over,
    is_sidecar,
    restart_policy_of,
    spec_hash,
)
from edgecore.edged.probes.probes import Verdict
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation

_KEPT_ATTEMPTS: Final = 2  # the newest, and the one before it, which is its last state
_SIDECAR_GRACE_S: Final = 2.0  # what is left to a sidecar when the others took all the time


class Known(Struct, frozen=True):
    """What is known of a pod beside what the runtime shows of it."""

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """What probes and hooks say, by id of the running container; without one it has started."""
    ending_for_s: float = 0.0
    """For how long the pod has been ended."""
    grace_s: float | None = None
    """How long its containers have to end; None: as long as the pod grants."""


NOTHING_KNOWN: Final = Known()


class Wish(StrEnum):
    """What should become of the pod."""

    RUN = "run"
    END = "end"
    """Deleted in the API server, gracefully: end it and say so."""
    VANISH = "vanish"
    """Gone from the API server: end it and leave nothing."""


class RunSandbox(Struct, frozen=True):
    """Make the pod's sandbox."""

    attempt: int


class StartContainer(Struct, frozen=True):
    """Create and start ``container``, a part of the pod's spec."""

    container: Object
    attempt: int


class StopContainer(Struct, frozen=True):
    """End a running container."""

    id: str
    name: str
    grace_s: float
    cause: str


class RemoveContainer(Struct, frozen=True):
    """Remove what is left of a container that does not run."""

    id: str


class StopSandbox(Struct, frozen=True):
    """End the sandbox, in which nothing runs any more."""


class RemoveSandbox(Struct, frozen=True):
    """Remove the sandbox with its containers."""


Action: TypeAlias = (
    RunSandbox | StartContainer | StopContainer | RemoveContainer | StopSandbox | RemoveSandbox
)


class Plan(Struct, frozen=True):
    """What to do, in this order, and what to expect."""

    actions: tuple[Action, ...] = ()
    wake_at_s: float | None = None
    """When to look again although nothing has changed, on the monotonic clock."""
    backing_off: Mapping[str, float] = field(default_factory=dict)
    """Containers that wait before their next start, with the seconds that are left."""
    over: bool = False
    """Nothing runs, and nothing will run any more."""
    gone: bool = False
    """The runtime has nothing of the pod left."""


def wish_of(pod: Object, *, vanished: bool) -> Wish:
    """Return what should become of ``pod``."""
    if vanished:
        return Wish.VANISH
    return Wish.END if is_deleting(pod) or is_over(pod) else Wish.RUN


def reconcile(
    pod: Object,
    wish: Wish,
    observed: PodObservation | None,
    history: History,
    now_s: float,
    known: Known = NOTHING_KNOWN,
) -> Plan:
    """Return what brings the pod nearer to ``wish``.

    Args:
        pod: as the edge-store has it.
        wish: see ``wish_of``.
        observed: what the runtime has of the pod; None for nothing.
        history: of its containers' restarts, up to date with ``observed``.
        now_s: on the clock that ``history`` uses.
        known: what probes say, and since when the pod has been ended.
    """
    if wish is not Wish.RUN:
        return _end(pod, wish, observed, known)
    if observed is None:
        return Plan((RunSandbox(0),))
    if _is_finished(pod, observed):
        return _end(pod, Wish.END, observed, known)
    if not observed.sandbox_ready:
        # What the old sandbox had has ended with it (a reboot); its containers' ends stay visible.
        if stops := _stops(observed.containers, MIN_GRACE_S):
            return Plan(stops)
        return Plan((RunSandbox(observed.sandbox_attempt + 1),))
    return _start(pod, observed, history, now_s, known)


def _start(
    pod: Object, observed: PodObservation, history: History, now_s: float, known: Known
) -> Plan:
    """Return the plan for a pod that shall run: the init containers in order, then the others."""
    newest = latest(observed.containers)
    in_sandbox = {
        name: status for name, status in newest.items() if status.sandbox_id == observed.sandbox_id
    }
    actions = _prunes(observed.containers)
    backing_off: dict[str, float] = {}
    held = False  # by the hook of a container before it
    for container in _due(pod, in_sandbox, known):
        name = container["name"]
        current = in_sandbox.get(name)
        if current is not None and current.state is ContainerState.RUNNING:
            if stop := _restart(pod, container, current, known):
                actions.append(stop)
            held = held or not _has_begun(current, known)
            continue
        if held:
            continue
        wait_s = history[name].retry_at_s - now_s if current and name in history else 0.0
        if wait_s > 0:
            backing_off[name] = wait_s
            continue
        if current is not None and current.state is ContainerState.CREATED:
            actions.append(RemoveContainer(current.id))
        actions.append(StartContainer(container, _next_attempt(pod, newest.get(name), name)))
    wake_at_s = now_s + min(backing_off.values()) if backing_off else None
    return Plan(tuple(actions), wake_at_s, backing_off)


def _restart(
    pod: Object, container: Object, current: ContainerStatus, known: Known
) -> StopContainer | None:
    """Return the end of a running container that is to be started anew, if it is."""
    name = container["name"]
    # A container that another kubelet made tells no hash of ours: it is taken as it is.
    if current.spec_hash and current.spec_hash != spec_hash(container):
        cause = f"Container {name} definition changed, will be restarted"
        return StopContainer(current.id, name, grace_s_of(pod), cause)
    verdict = known.verdicts.get(current.id)
    if verdict is None or verdict.restart is None:
        return None
    grace_s = verdict.restart.grace_s
    grace_s = grace_s_of(pod) if grace_s is None else float(max(MIN_GRACE_S, grace_s))
    return StopContainer(current.id, name, grace_s, verdict.restart.message)


def _due(pod: Object, in_sandbox: Mapping[str, ContainerStatus], known: Known) -> list[Object]:
    """Return the containers that should be running now, or be started."""
    policy = restart_policy_of(pod)
    due: list[Object] = []
    initialized = any(c["name"] in in_sandbox for c in containers_of(pod))
    for container in init_containers_of(pod):
        status = in_sandbox.get(container["name"])
        if is_sidecar(container):
            due.append(container)
            if not initialized and not _has_started(status, known):
                return due
        elif not initialized and not _succeeded(status):
            if status is None or status.state is not ContainerState.EXITED or policy != "Never":
                due.append(container)
            return due
    return due + [c for c in containers_of(pod) if _shall_run(in_sandbox.get(c["name"]), policy)]


def _has_begun(status: ContainerStatus, known: Known) -> bool:
    verdict = known.verdicts.get(status.id)
    return verdict is None or verdict.has_begun


def _has_started(status: ContainerStatus | None, known: Known) -> bool:
    """Whether a sidecar is so far that the next container may follow."""
    if status is None or status.state is not ContainerState.RUNNING:
        return False
    verdict = known.verdicts.get(status.id)
    return verdict is None or verdict.started


def _shall_run(status: ContainerStatus | None, policy: str) -> bool:
    if status is None or status.state is not ContainerState.EXITED or policy == "Always":
        return True
    return policy == "OnFailure" and status.exit_code != 0


def _succeeded(status: ContainerStatus | None) -> bool:
    return status is not None and status.state is ContainerState.EXITED and status.exit_code == 0


def _is_finished(pod: Object, observed: PodObservation) -> bool:
    """Whether all containers have ended in a way after which the policy starts none again."""
    policy = restart_policy_of(pod)
    if policy == "Always":
        return False
    newest = latest(observed.containers)
    if policy == "Never" and any(
        (status := newest.get(c["name"])) is not None
        and status.state is ContainerState.EXITED
        and status.exit_code != 0
        for c in init_containers_of(pod)
        if not is_sidecar(c)
    ):
        return not any(c["name"] in newest for c in containers_of(pod)) or _all_ended(pod, newest)
    return _all_ended(pod, newest)


def _all_ended(pod: Object, newest: Mapping[str, ContainerStatus]) -> bool:
    policy = restart_policy_of(pod)
    return all(
        c["name"] in newest and not _shall_run(newest[c["name"]], policy)
        for c in containers_of(pod)
    )


def _end(pod: Object, wish: Wish, observed: PodObservation | None, known: Known) -> Plan:
    """Return the plan for a pod that shall not run any more."""
    if observed is None:
        return Plan(over=True, gone=True)
    grace_s = grace_s_of(pod) if known.grace_s is None else known.grace_s
    if wish is Wish.VANISH:
        grace_s = MIN_GRACE_S
    if stops := _stops(*_next_to_end(pod, observed, grace_s, known)):
        return Plan(stops)
    if observed.sandbox_ready:
        return Plan(
            (StopSandbox(), *((RemoveSandbox(),) if wish is Wish.VANISH else ())), over=True
        )
    return Plan((RemoveSandbox(),) if wish is Wish.VANISH else (), over=True)


def _next_to_end(
    pod: Object, observed: PodObservation, grace_s: float, known: Known
) -> tuple[list[ContainerStatus], float]:
    """Return which containers end now, and how long they have: sidecars go last, in reverse order.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    order = [c["name"] for c in init_containers_of(pod) if is_sidecar(c)]
    running = [c for c in observed.containers if c.state is ContainerState.RUNNING]
    others = [c for c in running if c.name not in order]
    if others or not running:
        return others, grace_s
    last = max(running, key=lambda c: order.index(c.name))
    left_s = max(min(_SIDECAR_GRACE_S, grace_s), grace_s - known.ending_for_s)
    return [last], left_s


def _stops(containers: Iterable[ContainerStatus], grace_s: float) -> tuple[Action, ...]:
    return tuple(
        StopContainer(c.id, c.name, grace_s, f"Stopping container {c.name}")
        for c in containers
        if c.state is ContainerState.RUNNING
    )


def _prunes(containers: Iterable[ContainerStatus]) -> list[Action]:
    """Return the removal of attempts that no status shows any more."""
    newest = latest(containers)
    return [
        RemoveContainer(c.id)
        for c in containers
        if c.state is not ContainerState.RUNNING
        and c.attempt <= newest[c.name].attempt - _KEPT_ATTEMPTS
    ]


def _next_attempt(pod: Object, newest: ContainerStatus | None, name: str) -> int:
    """Return the number of the next attempt: one more than any that was ever seen.

    Where the runtime forgot the container (a hollow one, after a restart), the report remains.
    """
    if newest is not None:
        return newest.attempt + (newest.state is not ContainerState.CREATED)
    status = pod.get("status") or {}
    for field_name in ("containerStatuses", "initContainerStatuses"):
        for reported in status.get(field_name) or ():
            if reported.get("name") == name and reported.get("containerID"):
                return int(reported.get("restartCount", 0)) + 1
    return 0
