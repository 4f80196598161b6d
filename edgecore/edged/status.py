"""The status of a pod, made from what its containers do. Pure.

The words and the order are kubelet's, since people and controllers know them; the patches of the
recorded traffic show how it looks on the wire.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (getPhase, convertToAPIContainerStatuses) and
pkg/kubelet/status/generate.go.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from common.clock import rfc3339
from edgecore.edged.containerstatus import (
    Situation,
    Waiting,
    container_status,
    exit_code,
)
from edgecore.edged.crashloop import latest
from edgecore.edged.podview import (
    Object,
    containers_of,
    init_containers_of,
    is_sidecar,
    restart_policy_of,
    spec_of,
)
from edgecore.edged.probes.probes import Verdict
from edgecore.edged.runtime.base import ContainerState, ContainerStatus
from edgecore.edged.strategic import diff, patch_text


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
    initialized = is_initialized(pod, newest, situation.verdicts)
    # Where init containers are still at work, that is what the others wait for.
    creating = Waiting("ContainerCreating" if initialized else "PodInitializing")
    first = (
        Waiting("ContainerCreating") if not init_containers_of(pod) else Waiting("PodInitializing")
    )
    init_statuses = [
        container_status(c, attempts, situation, reported, first) for c in init_containers_of(pod)
    ]
    for spec, init_status in zip(init_containers_of(pod), init_statuses, strict=True):
        if not is_sidecar(spec):
            init_status["ready"] = exit_code(init_status["state"]) == 0
    statuses = [
        container_status(c, attempts, situation, reported, creating) for c in containers_of(pod)
    ]
    phase = reported.get("phase", "")
    if phase not in {"Succeeded", "Failed"}:  # from which there is no way back
        phase = _phase(pod, statuses, init_statuses, over=situation.over, initialized=initialized)
        if situation.rejection and situation.over:
            phase = "Failed"
    ready_to_start = bool(situation.observed and situation.observed.sandbox_ready)
    problem = situation.sandbox_problem
    containers_ready = _ready(phase, statuses)
    facts = [
        (
            "PodReadyToStartContainers",
            ready_to_start,
            "FailedCreatePodSandBox" if problem else "",
            problem,
        ),
        ("Initialized", *_initialized(phase, init_statuses, initialized=initialized)),
        ("Ready", *_gates(pod, reported, containers_ready)),
        ("ContainersReady", *containers_ready),
        ("PodScheduled", True, "", ""),
    ]
    rejection = situation.rejection
    if rejection is not None and rejection.disrupts:
        facts.append(("DisruptionTarget", True, "TerminationByKubelet", rejection.message))
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
    if rejection is not None:
        status |= {"reason": rejection.reason, "message": rejection.message}
    if ready_to_start and situation.observed:
        ips = situation.observed.ips or (situation.node_ip,)
        status |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return status


def status_patch(uid: str, reported: Object, wanted: Object) -> str | None:
    """Return the text of the patch from one status to the other; None where they agree."""
    changes = diff(reported, wanted)
    return patch_text({"metadata": {"uid": uid}, "status": changes}) if changes else None


def is_initialized(
    pod: Object, newest: Mapping[str, ContainerStatus], verdicts: Mapping[str, Verdict]
) -> bool:
    """Whether all init containers have done their part."""

    def is_done(container: Object) -> bool:
        status = newest.get(container["name"])
        if status is None:
            return False
        if is_sidecar(container):
            verdict = verdicts.get(status.id)
            return status.state is ContainerState.RUNNING and (verdict is None or verdict.started)
        return status.state is ContainerState.EXITED and status.exit_code == 0

    if any(c["name"] in newest for c in containers_of(pod)):
        return True
    return all(map(is_done, init_containers_of(pod)))


def _phase(
    pod: Object,
    statuses: list[dict[str, Any]],
    init_statuses: list[dict[str, Any]],
    *,
    over: bool,
    initialized: bool,
) -> str:
    if over:
        all_well = all(exit_code(s["state"]) == 0 for s in statuses)
        return "Succeeded" if all_well else "Failed"
    policy = restart_policy_of(pod)
    if not initialized:
        failed = any((exit_code(s["state"]) or 0) != 0 for s in init_statuses)
        return "Failed" if failed and policy == "Never" else "Pending"
    never_ran = [s for s in statuses if "waiting" in s["state"] and not s["lastState"]]
    if never_ran:
        return "Pending"
    codes = [exit_code(s["state"]) for s in statuses]
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


def _gates(
    pod: Object, reported: Object, containers_ready: tuple[bool, str, str]
) -> tuple[bool, str, str]:
    """Return whether the pod is ready: its containers, and what others must say of it.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-readiness-gate
    """
    if not containers_ready[0]:
        return containers_ready
    said = {c.get("type"): c.get("status") for c in reported.get("conditions") or ()}
    gates = [gate["conditionType"] for gate in spec_of(pod).get("readinessGates") or ()]
    for gate in gates:
        if said.get(gate) != "True":
            state = "set to False" if gate in said else "missing"
            message = f'the condition of pod readiness gate "{gate}" is {state}'
            return False, "ReadinessGatesNotReady", message
    return True, "", ""


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
