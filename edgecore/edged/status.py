"""The status of a pod, made from what its containers do. Pure.

The words and the order are kubelet's, since people and controllers know them; the patches of the
recorded traffic show how it looks on the wire.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (getPhase, convertToAPIContainerStatuses) and
pkg/kubelet/status/generate.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from common.clock import rfc3339
from edgecore.edged.crashloop import History, latest
from edgecore.edged.podview import (
    Object,
    containers_of,
    init_containers_of,
    is_sidecar,
    restart_policy_of,
)
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from edgecore.edged.strategic import diff, patch_text

_EXIT_SIGKILL: Final = 137
_GONE_MESSAGE: Final = "The container could not be located when the pod was terminated"


class Waiting(NamedTuple):
    """Why a container does not run yet, or again."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a pod at one moment."""

    observed: PodObservation | None
    scheme: str
    """Of container ids: ``<scheme>://<id>``."""
    node_ip: str
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    """Containers, by name, that something keeps from starting."""
    over: bool = False
    """Nothing runs any more, and nothing will be started."""


def crash_loop_waits(
    pod: Object, backing_off: Mapping[str, float], history: History
) -> dict[str, Waiting]:
    """Return why the containers in ``backing_off`` wait: the same words for as long as they do."""
    metadata = pod.get("metadata", {})
    name = f"{metadata.get('name')}_{metadata.get('namespace')}({metadata.get('uid')})"
    return {
        container: Waiting(
            "CrashLoopBackOff",
            f"back-off {history[container].pause_s:.0f}s restarting failed "
            f"container={container} pod={name}",
        )
        for container in backing_off
    }


def pod_status(
    pod: Object, situation: Situation, reported: Object, now: datetime
) -> dict[str, Any]:
    """Return the status that the pod should have in the API server.

    Args:
        pod: its spec decides what is listed.
        situation: what the runtime shows and what the pod worker knows.
        reported: the status that the API server has; times in it stay where nothing changed.
        now: for conditions that change.
    """
    attempts = situation.observed.containers if situation.observed else ()
    newest = latest(attempts)
    initialized = is_initialized(pod, newest)
    # Where init containers are still at work, that is what the others wait for.
    creating = Waiting("ContainerCreating" if initialized else "PodInitializing")
    first = (
        Waiting("ContainerCreating") if not init_containers_of(pod) else Waiting("PodInitializing")
    )
    init_statuses = [
        _container_status(c, attempts, situation, reported, first) for c in init_containers_of(pod)
    ]
    for spec, init_status in zip(init_containers_of(pod), init_statuses, strict=True):
        if not is_sidecar(spec):
            init_status["ready"] = _exit_code(init_status["state"]) == 0
    statuses = [
        _container_status(c, attempts, situation, reported, creating) for c in containers_of(pod)
    ]
    phase = reported.get("phase", "")
    if phase not in {"Succeeded", "Failed"}:  # from which there is no way back
        phase = _phase(pod, statuses, init_statuses, over=situation.over, initialized=initialized)
    ready_to_start = bool(situation.observed and situation.observed.sandbox_ready)
    facts = [
        ("PodReadyToStartContainers", ready_to_start, "", ""),
        ("Initialized", *_initialized(phase, init_statuses, initialized=initialized)),
        *((kind, *_ready(phase, statuses)) for kind in ("Ready", "ContainersReady")),
        ("PodScheduled", True, "", ""),
    ]
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": [_condition(*fact, reported, now) for fact in facts],
        "containerStatuses": statuses,
        "hostIP": situation.node_ip,
        "hostIPs": [{"ip": situation.node_ip}],
        "startTime": reported.get("startTime") or rfc3339(now),
    }
    if init_statuses:
        status["initContainerStatuses"] = init_statuses
    if ready_to_start and situation.observed:
        ips = situation.observed.ips or (situation.node_ip,)
        status |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return status


def status_patch(uid: str, reported: Object, wanted: Object) -> str | None:
    """Return the text of the patch from one status to the other; None where they agree."""
    changes = diff(reported, wanted)
    return patch_text({"metadata": {"uid": uid}, "status": changes}) if changes else None


def is_initialized(pod: Object, newest: Mapping[str, ContainerStatus]) -> bool:
    """Whether all init containers have done their part."""
    if any(c["name"] in newest for c in containers_of(pod)):
        return True
    return all(
        (status := newest.get(c["name"])) is not None
        and (
            status.state is ContainerState.RUNNING
            if is_sidecar(c)
            else status.state is ContainerState.EXITED and status.exit_code == 0
        )
        for c in init_containers_of(pod)
    )


def _container_status(
    spec: Object,
    attempts: Sequence[ContainerStatus],
    situation: Situation,
    reported: Object,
    creating: Waiting,
) -> dict[str, Any]:
    name = spec["name"]
    own = sorted((c for c in attempts if c.name == name), key=lambda c: c.attempt)
    newest = own[-1] if own else None
    before = _reported_container(reported, name)
    if newest is None and situation.over and before.get("containerID"):
        return _lost(before)
    scheme = situation.scheme
    last = _last_state(own[-2], scheme) if len(own) > 1 else {}
    if newest is None or newest.state is ContainerState.CREATED:
        state = _waiting(situation.waiting.get(name, creating))
        last = last or before.get("lastState") or {}
    elif newest.state is ContainerState.RUNNING:
        state = {"running": {"startedAt": _time(newest.started_at)}}
    elif name in situation.waiting and not situation.over:
        state, last = _waiting(situation.waiting[name]), _last_state(newest, scheme)
    else:
        state = _last_state(newest, scheme)
    running = "running" in state
    status: dict[str, Any] = {
        "name": name,
        "state": state,
        "lastState": last,
        "ready": running,
        "started": running,
        "restartCount": newest.attempt if newest else int(before.get("restartCount", 0)),
        "image": (newest.image if newest else "") or spec.get("image", ""),
        "imageID": newest.image_id if newest else "",
    }
    if newest and newest.state is not ContainerState.CREATED:
        status["containerID"] = f"{scheme}://{newest.id}"
    if mounts := [_mount_status(m) for m in spec.get("volumeMounts") or ()]:
        status["volumeMounts"] = mounts
    return status


def _lost(before: Object) -> dict[str, Any]:
    """Return the last status of a container that ran, and of which the runtime has nothing left."""
    if "terminated" in before.get("state", {}):
        return dict(before)
    terminated = {
        "exitCode": _EXIT_SIGKILL,
        "reason": "ContainerStatusUnknown",
        "message": _GONE_MESSAGE,
        "startedAt": None,
        "finishedAt": None,
    }
    state = {"terminated": terminated}
    return {**before, "state": state, "ready": False, "started": False}


def _reported_container(reported: Object, name: str) -> Object:
    for field_name in ("containerStatuses", "initContainerStatuses"):
        for status in reported.get(field_name) or ():
            if status.get("name") == name:
                found: Object = status
                return found
    return {}


def _waiting(waiting: Waiting) -> dict[str, Any]:
    state = {"reason": waiting.reason}
    return {"waiting": state | ({"message": waiting.message} if waiting.message else {})}


def _last_state(container: ContainerStatus, scheme: str) -> dict[str, Any]:
    terminated: dict[str, Any] = {
        "exitCode": container.exit_code,
        "reason": container.reason or ("Completed" if container.exit_code == 0 else "Error"),
        "startedAt": _time(container.started_at or container.created_at),
        "finishedAt": _time(container.finished_at or container.created_at),
        "containerID": f"{scheme}://{container.id}",
    }
    return {
        "terminated": terminated | ({"message": container.message} if container.message else {})
    }


def _time(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None


def _mount_status(mount: Object) -> dict[str, Any]:
    status: dict[str, Any] = {"name": mount["name"], "mountPath": mount["mountPath"]}
    return status | (
        {"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else {}
    )


def _exit_code(state: Object) -> int | None:
    terminated = state.get("terminated")
    return terminated["exitCode"] if terminated else None


def _phase(
    pod: Object,
    statuses: list[dict[str, Any]],
    init_statuses: list[dict[str, Any]],
    *,
    over: bool,
    initialized: bool,
) -> str:
    if over:
        all_well = all(_exit_code(s["state"]) == 0 for s in statuses)
        return "Succeeded" if all_well else "Failed"
    policy = restart_policy_of(pod)
    if not initialized:
        failed = any((_exit_code(s["state"]) or 0) != 0 for s in init_statuses)
        return "Failed" if failed and policy == "Never" else "Pending"
    never_ran = [s for s in statuses if "waiting" in s["state"] and not s["lastState"]]
    if never_ran:
        return "Pending"
    codes = [_exit_code(s["state"]) for s in statuses]
    if policy == "Always" or None in codes:
        return "Running"
    if not any(codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _initialized(
    phase: str, init_statuses: list[dict[str, Any]], *, initialized: bool
) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if initialized:
        return True, "", ""
    names = _go_list(s["name"] for s in init_statuses if not s["ready"])
    return False, "ContainersNotInitialized", f"containers with incomplete status: {names}"


def _ready(phase: str, statuses: list[dict[str, Any]]) -> tuple[bool, str, str]:
    if phase in {"Succeeded", "Failed"}:
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    unready = [s["name"] for s in statuses if not s["ready"]]
    if not unready:
        return True, "", ""
    return False, "ContainersNotReady", f"containers with unready status: {_go_list(unready)}"


def _go_list(names: Any) -> str:
    return f"[{' '.join(names)}]"


def _condition(
    kind: str,
    met: bool,  # noqa: FBT001 - from a table of facts
    reason: str,
    message: str,
    reported: Object,
    now: datetime,
) -> dict[str, Any]:
    status = "True" if met else "False"
    before: Object = next(
        (c for c in reported.get("conditions") or () if c.get("type") == kind), {}
    )
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since or rfc3339(now),
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }
