"""How far a Deployment has come, and why it does not come further. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from collections.abc import Iterable

from msgspec import Struct

from cloudcore.install.kustomization import Object

_USUAL = frozenset({"ContainerCreating", "PodInitializing"})
"""A container waits for these anyway."""


class Rollout(Struct, frozen=True):
    """How far a Deployment has come."""

    available: int
    wanted: int
    is_done: bool
    """All that are wanted are available, and of the newest form."""

    problems: tuple[str, ...]
    """What the Deployment itself says is wrong."""

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.available} of {self.wanted} replicas are available"


def judge(deployment: Object) -> Rollout:
    """Return how far a Deployment has come."""
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    is_seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    problems = tuple(
        f"{one['reason']}: {one['message']}"
        for one in status.get("conditions", ())
        if (one["type"], one["status"]) in {("ReplicaFailure", "True"), ("Progressing", "False")}
    )
    is_done = is_seen and updated == total == available == wanted
    return Rollout(available, wanted, is_done, problems)


def problems(pods: Iterable[Object]) -> list[str]:
    """Return why ``pods`` do not run, one line for each reason."""
    return list(dict.fromkeys(line for pod in pods for line in _problems(pod)))


def _problems(pod: Object) -> Iterable[str]:
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"{condition.get('reason', '')}: {condition.get('message', '')}"
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        waiting = state.get("waiting", {})
        if waiting and waiting.get("reason") not in _USUAL:
            yield f"{waiting.get('reason', '')}: {waiting.get('message', '')}"
        ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
        if ended:
            yield f"cloudcore ended with {ended['exitCode']}: see kubectl -n kubeedge logs"
