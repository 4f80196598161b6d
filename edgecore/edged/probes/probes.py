"""What probes say of a container: when each one is due, and what its results add up to. Pure.

Kubernetes lets a kubelet choose the moment of a container's first probe within a period. Here the
startup and the readiness probe look at once and then, in the first period, a few more times, so
that a container is ready as soon as it can be; a startup probe that fails in that time has not
failed yet. The first liveness probe comes after a period. So no container has less time than the
documentation of Kubernetes grants it.

Source: Kubernetes pkg/kubelet/prober/worker.go and prober_manager.go, and
https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from edgecore.edged.podview import Object
from edgecore.edged.probes.probespec import Probe, Probed, ProbeKind
from edgecore.edged.runtime.base import ContainerStatus

_FIRST_PAUSE_S: Final = 0.5
"""Between the first two looks at a container that is not ready yet; then it doubles."""


_AT_FIRST: Final = {
    ProbeKind.STARTUP: None,
    ProbeKind.LIVENESS: True,
    ProbeKind.READINESS: False,
}


class Outcome(StrEnum):
    """How one run of a probe ended."""

    SUCCESS = "success"
    WARNING = "warning"
    """A success that somebody should look at."""
    FAILURE = "failure"
    UNKNOWN = "unknown"
    """It could not be run: nothing is known of the container."""


class Answer(Struct, frozen=True):
    """How one run of a probe ended, with words for people."""

    outcome: Outcome
    words: str = ""


class RestartCause(Struct, frozen=True):
    """Why a running container must be ended."""

    message: str
    """For the event, in kubelet's words."""
    grace_s: float | None
    """How long it has; None: as long as the pod says."""


class Verdict(Struct, frozen=True):
    """What probes say of a container."""

    started: bool
    ready: bool
    restart: RestartCause | None = None
    has_begun: bool = True
    """False while its postStart hook goes on: until then it is not said to run."""


RUNS: Final = Verdict(started=True, ready=True)
"""A container without probes is ready for as long as it runs."""
RUNS_NOT: Final = Verdict(started=False, ready=False)
BEGINS: Final = Verdict(started=False, ready=False, has_begun=False)


class Earlier(Struct, frozen=True):
    """A running container that an earlier edgecore has probed: what it said remains for now."""

    started: bool
    ready: bool
    age_s: float
    """For how long the container has been running."""
    jitter: float
    """Part of a period, in [0, 1), that passes before the first probe: not all come at once."""


class Record(Struct, frozen=True):
    """Where one probe of one running container stands."""

    passed: bool | None
    """What counts at the moment; None for nothing yet."""
    due_s: float
    last: bool | None = None
    """The last result."""
    run: int = 0
    """How many times in a row there was that result."""
    is_done: bool = False
    """Whether it is run no more in the life of this container."""


class Course(Struct, frozen=True):
    """The probes of one running container, up to now."""

    probed: Probed
    since_s: float
    """When the container started, on the monotonic clock."""
    records: Mapping[ProbeKind, Record]


def earlier_of(
    pod: Object, container: ContainerStatus, now: datetime, jitter: float
) -> Earlier | None:
    """Return what was reported of this very container before; None if nothing was.

    Args:
        pod: with the status that the API server has.
        container: that is seen for the first time.
        now: on the clock that the container's ``started_at`` is from.
        jitter: random, in [0, 1).
    """
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses"):
        for reported in status.get(field) or ():
            if str(reported.get("containerID", "")).rpartition("://")[2] != container.id:
                continue
            started_at = container.started_at or now
            # A clock that was set back makes no container younger than new.
            age_s = max(0.0, (now - started_at).total_seconds())
            started, ready = reported.get("started"), reported.get("ready")
            return Earlier(bool(started), bool(ready), age_s, jitter)
    return None


def begin(probed: Probed, now_s: float, earlier: Earlier | None = None) -> Course:
    """Return the course of a container that is seen running for the first time."""
    since_s = now_s - earlier.age_s if earlier else now_s
    records: dict[ProbeKind, Record] = {}
    for kind, probe in probed.probes.items():
        record = Record(_AT_FIRST[kind], _first_s(probe, since_s))
        if earlier:
            record = _resumed(record, probe, earlier, now_s)
        records[kind] = record
    return Course(probed, since_s, records)


def due_s(course: Course, kind: ProbeKind, *, ending: bool) -> float | None:
    """Return when a probe is to be run next, on the monotonic clock; None for not as things are.

    Args:
        course: of its container.
        kind: of the probe.
        ending: whether the pod is being deleted: then only readiness is of interest.
    """
    record = course.records[kind]
    if record.is_done or (ending and kind is not ProbeKind.READINESS):
        return None
    if kind is not ProbeKind.STARTUP and not _has_started(course):
        return None
    return record.due_s


def is_premature(course: Course, kind: ProbeKind, outcome: Outcome, at_s: float) -> bool:
    """Whether a result says nothing yet: a container may take a period to start.

    Args:
        course: of the container.
        kind: of the probe.
        outcome: how it ended.
        at_s: when it was begun.
    """
    is_failure = kind is ProbeKind.STARTUP and outcome is Outcome.FAILURE
    return is_failure and _is_early(course, kind, at_s)


def observe(course: Course, kind: ProbeKind, outcome: Outcome, at_s: float) -> Course:
    """Return ``course`` with the result of a probe that was begun at ``at_s``."""
    record, probe = course.records[kind], course.probed.probes[kind]
    if record.is_done:
        return course
    is_well = outcome in {Outcome.SUCCESS, Outcome.WARNING}
    next_s = at_s + probe.period_s
    if not is_well and not record.passed and _is_early(course, kind, at_s):
        first_s = _first_s(probe, course.since_s)
        next_s = min(at_s + max(_FIRST_PAUSE_S, at_s - first_s), first_s + probe.period_s)
    record = replace(record, due_s=next_s)
    if outcome is not Outcome.UNKNOWN and not is_premature(course, kind, outcome, at_s):
        record = _counted(record, probe, succeeded=is_well)
    return replace(course, records={**course.records, kind: record})


def verdict_of(course: Course) -> Verdict:
    """Return what the results so far say of a container that runs."""
    started = _has_started(course)
    readiness = course.records.get(ProbeKind.READINESS)
    ready = started and (readiness is None or bool(readiness.passed))
    for kind in (ProbeKind.LIVENESS, ProbeKind.STARTUP):
        record = course.records.get(kind)
        if record is not None and record.passed is False:
            return Verdict(started, ready, _cause(course.probed, kind))
    return Verdict(started, ready)


def event_of(kind: ProbeKind, answer: Answer) -> tuple[str, str] | None:
    """Return reason and message of the event about a probe's run; None where all is well."""
    match answer.outcome:
        case Outcome.SUCCESS:
            return None
        case Outcome.WARNING:
            return "ProbeWarning", f"{kind} probe warning: {answer.words}"
        case Outcome.FAILURE:
            return "Unhealthy", f"{kind} probe failed: {answer.words}"
        case _:
            words = f"{kind} probe errored and resulted in unknown state: {answer.words}"
            return "Unhealthy", words


def _first_s(probe: Probe, since_s: float) -> float:
    if probe.kind is ProbeKind.LIVENESS:
        return since_s + max(probe.initial_delay_s, probe.period_s)
    return since_s + probe.initial_delay_s


def _resumed(record: Record, probe: Probe, earlier: Earlier, now_s: float) -> Record:
    """Return ``record`` as an earlier edgecore left it."""
    first_s = max(record.due_s, now_s + earlier.jitter * probe.period_s)
    if probe.kind is ProbeKind.STARTUP and earlier.started:
        return replace(record, passed=True, is_done=True)
    if probe.kind is ProbeKind.READINESS and earlier.ready:
        return replace(record, passed=True, due_s=first_s)
    return replace(record, due_s=first_s)


def _has_started(course: Course) -> bool:
    startup = course.records.get(ProbeKind.STARTUP)
    return startup is None or bool(startup.passed)


def _is_early(course: Course, kind: ProbeKind, at_s: float) -> bool:
    """Whether a kubelet need not have looked by ``at_s``: its first period is not over."""
    probe = course.probed.probes[kind]
    return at_s < _first_s(probe, course.since_s) + probe.period_s


def _counted(record: Record, probe: Probe, *, succeeded: bool) -> Record:
    run = record.run + 1 if record.last is succeeded else 1
    record = replace(record, last=succeeded, run=run)
    if run < (probe.success_threshold if succeeded else probe.failure_threshold):
        return record
    # What failed for good is ended: nobody should look into it while that goes on.
    is_done = probe.kind is ProbeKind.STARTUP or (
        probe.kind is ProbeKind.LIVENESS and not succeeded
    )
    return replace(record, passed=succeeded, is_done=is_done)


def _cause(probed: Probed, kind: ProbeKind) -> RestartCause:
    message = f"{probed.subject} failed {kind.lower()} probe{probed.sequel}"
    return RestartCause(message, probed.probes[kind].grace_s)
