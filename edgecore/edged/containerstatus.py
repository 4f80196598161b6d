"""The status of a container, made from what the runtime shows of it. Pure.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from common.clock import rfc3339
from edgecore.edged.crashloop import History
from edgecore.edged.podview import Object
from edgecore.edged.probes.probes import Verdict
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation

_EXIT_SIGKILL: Final = 137
_GONE_MESSAGE: Final = "The container could not be located when the pod was terminated"


class Waiting(NamedTuple):
    """Why a container does not run yet, or again."""

    reason: str
    message: str = ""


class Rejection(NamedTuple):
    """Why the node does not run a pod, or not any longer: the pod has failed for good."""

    reason: str
    """A CamelCase word: ``Evicted``, ``OutOfcpu``, ``DeadlineExceeded``, …"""
    message: str
    disrupts: bool = False
    """Whether the pod did nothing wrong and is to be replaced: a condition says so."""
    grace_s: float | None = None
    """How long its containers have to end; None: as long as the pod grants."""
    kind: str = "Warning"
    """Of the Event that tells of it: ``Normal`` where the pod's author wanted it so."""


class Situation(Struct, frozen=True):
    """What is known of a pod at one moment."""

    observed: PodObservation | None
    scheme: str
    """Of container ids: ``<scheme>://<id>``."""
    node_ip: str
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    """Containers, by name, that something keeps from starting."""
    over: bool = False
    """Nothing runs any more, and nothing will be started."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """What probes say, by id of the running container; without one it is ready."""
    rejection: Rejection | None = None
    """Why the node gave the pod up, if it did."""
    sandbox_problem: str = ""
    """Why the pod has no sandbox, in the runtime's words."""


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


def container_status(
    spec: Object,
    attempts: Sequence[ContainerStatus],
    situation: Situation,
    reported: Object,
    creating: Waiting,
) -> dict[str, Any]:
    """Return the status of the container ``spec``.

    Args:
        spec: its part of the pod's spec.
        attempts: all containers that the runtime has of the pod.
        situation: of the pod.
        reported: the pod's status that the API server has.
        creating: what it waits for where nobody knows better.
    """
    name = spec["name"]
    own = sorted((c for c in attempts if c.name == name), key=lambda c: c.attempt)
    newest = own[-1] if own else None
    before = _reported_container(reported, name)
    if newest is None and situation.over and before.get("containerID"):
        return _lost(before)
    scheme = situation.scheme
    last = _last_state(own[-2], scheme) if len(own) > 1 else {}
    verdict = situation.verdicts.get(newest.id) if newest is not None else None
    begins = verdict is not None and not verdict.has_begun
    if newest is None or newest.state is ContainerState.CREATED or begins:
        state = _waiting(situation.waiting.get(name, creating))
        last = last or before.get("lastState") or {}
    elif newest.state is ContainerState.RUNNING:
        state = {"running": {"startedAt": _time(newest.started_at)}}
    elif name in situation.waiting and not situation.over:
        state, last = _waiting(situation.waiting[name]), _last_state(newest, scheme)
    else:
        state = _last_state(newest, scheme)
    running = newest is not None and "running" in state
    status: dict[str, Any] = {
        "name": name,
        "state": state,
        "lastState": last,
        "ready": running and (verdict is None or verdict.ready),
        "started": running and (verdict is None or verdict.started),
        "restartCount": newest.attempt if newest else int(before.get("restartCount", 0)),
        "image": (newest.image if newest else "") or spec.get("image", ""),
        "imageID": newest.image_id if newest else "",
    }
    if newest and newest.state is not ContainerState.CREATED and not begins:
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


def exit_code(state: Object) -> int | None:
    """Return how a container ended that is in ``state``; None if it has not ended."""
    terminated = state.get("terminated")
    return terminated["exitCode"] if terminated else None
