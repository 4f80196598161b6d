"""How long a container that keeps ending has to wait before it is started again. Pure.

The first restart comes at once, the next ones after 10 s, 20 s, … up to 5 minutes; a container that
ran for 10 minutes starts from the beginning. Seconds are those of a monotonic clock: a device whose
clock jumps restarts its containers all the same.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from edgecore.edged.runtime.base import ContainerState, ContainerStatus

FIRST_PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 300.0
STEADY_AFTER_S: Final = 600.0


class Restarts(Struct, frozen=True):
    """What is known of the ends of one container."""

    attempt: int = -1
    """The attempt that the other fields are about."""
    running_since_s: float | None = None
    """When it was first seen running; None before, and once its end was seen."""
    ended: bool = False
    retry_at_s: float = 0.0
    """When the next attempt may start."""
    pause_s: float = 0.0
    """How long that is after the end was seen."""
    next_pause_s: float = 0.0
    """How long the attempt after that one will have to wait."""


History: TypeAlias = Mapping[str, Restarts]
"""By name of the container."""


def observe(history: History, containers: Iterable[ContainerStatus], now_s: float) -> History:
    """Return ``history`` with what can now be seen; the same again changes nothing."""
    updated = dict(history)
    for container in latest(containers).values():
        before = updated.get(container.name, Restarts())
        if before.attempt != container.attempt:
            before = replace(before, attempt=container.attempt, running_since_s=None, ended=False)
        if container.state is ContainerState.RUNNING and before.running_since_s is None:
            before = replace(before, running_since_s=now_s)
        elif container.state is ContainerState.EXITED and not before.ended:
            before = _ended(before, now_s)
        updated[container.name] = before
    return updated


def latest(containers: Iterable[ContainerStatus]) -> dict[str, ContainerStatus]:
    """Return the newest attempt of each container, by name."""
    newest: dict[str, ContainerStatus] = {}
    for container in containers:
        other = newest.get(container.name)
        if other is None or other.attempt < container.attempt:
            newest[container.name] = container
    return newest


def _ended(restarts: Restarts, now_s: float) -> Restarts:
    since_s = restarts.running_since_s
    steady = since_s is not None and now_s - since_s >= STEADY_AFTER_S
    pause_s = 0.0 if steady else restarts.next_pause_s
    return replace(
        restarts,
        running_since_s=None,
        ended=True,
        retry_at_s=now_s + pause_s,
        pause_s=pause_s,
        next_pause_s=min(LONGEST_PAUSE_S, 2 * pause_s) if pause_s else FIRST_PAUSE_S,
    )
