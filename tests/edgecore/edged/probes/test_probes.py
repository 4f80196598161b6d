"""Probes as a state machine: pure, nothing faked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.probes.probes import (
    Answer,
    Course,
    Earlier,
    Outcome,
    RestartCause,
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
from edgecore.edged.runtime.base import ContainerState, ContainerStatus
from tests.edgecore.edged.world import container, pod_object

STARTUP, LIVENESS, READINESS = ProbeKind.STARTUP, ProbeKind.LIVENESS, ProbeKind.READINESS
SUCCESS, WARNING = Outcome.SUCCESS, Outcome.WARNING
FAILURE, UNKNOWN = Outcome.FAILURE, Outcome.UNKNOWN
EXEC = {"exec": {"command": ["true"]}}
START_S = 100.0


def probed(policy: str = "Always", /, **probes: dict[str, Any]) -> Probed:
    """Return a container with ``startup=…``, ``liveness=…`` and ``readiness=…``."""
    fields = {f"{name}Probe": EXEC | probe for name, probe in probes.items()}
    pod = pod_object("web", containers=[container("c", **fields)], restartPolicy=policy)
    return probes_of(pod)["c"]


def course_of(**probes: dict[str, Any]) -> Course:
    return begin(probed("Always", **probes), START_S)


def run(course: Course, kind: ProbeKind, *outcomes: Outcome) -> Course:
    """Run a probe once for each outcome, each time when it is due."""
    for outcome in outcomes:
        at_s = due_s(course, kind, ending=False)
        assert at_s is not None
        course = observe(course, kind, outcome, at_s)
    return course


def test_before_any_result_a_container_lives_and_is_not_ready() -> None:
    assert verdict_of(course_of(liveness={}, readiness={})) == Verdict(started=True, ready=False)
    assert verdict_of(course_of(liveness={})) == Verdict(started=True, ready=True)
    assert verdict_of(course_of(startup={})) == Verdict(started=False, ready=False)


@pytest.mark.parametrize(
    ("kind", "said", "first_s"),
    [
        (STARTUP, {}, 0),
        (STARTUP, {"initialDelaySeconds": 4}, 4),
        (READINESS, {}, 0),
        (READINESS, {"initialDelaySeconds": 4}, 4),
        (LIVENESS, {}, 10),
        (LIVENESS, {"initialDelaySeconds": 4}, 10),
        (LIVENESS, {"initialDelaySeconds": 14}, 14),
    ],
)
def test_the_first_look_comes_after_the_initial_delay(
    kind: ProbeKind, said: dict[str, Any], first_s: float
) -> None:
    course = course_of(**{kind.lower(): said})
    assert due_s(course, kind, ending=False) == START_S + first_s


@pytest.mark.parametrize("kind", [STARTUP, READINESS])
def test_in_the_first_period_looks_are_closer_so_that_nobody_waits_for_nothing(
    kind: ProbeKind,
) -> None:
    course = course_of(**{kind.lower(): {"failureThreshold": 9}})
    looks = []
    for _ in range(9):
        at_s = due_s(course, kind, ending=False)
        assert at_s is not None
        looks.append(at_s - START_S)
        course = observe(course, kind, FAILURE, at_s)
    assert looks == [0, 0.5, 1, 2, 4, 8, 10, 20, 30]


def test_after_a_success_a_probe_comes_once_in_a_period() -> None:
    course = run(course_of(readiness={}), READINESS, SUCCESS)
    assert due_s(course, READINESS, ending=False) == START_S + 10


def test_the_others_are_held_back_until_the_startup_probe_has_succeeded() -> None:
    course = course_of(startup={}, liveness={}, readiness={})
    assert due_s(course, LIVENESS, ending=False) is None
    assert due_s(course, READINESS, ending=False) is None
    course = run(course, STARTUP, FAILURE, SUCCESS)
    assert verdict_of(course) == Verdict(started=True, ready=False)
    assert due_s(course, STARTUP, ending=False) is None
    assert due_s(course, LIVENESS, ending=False) == START_S + 10
    assert due_s(course, READINESS, ending=False) == START_S


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("Always", "Container c failed liveness probe, will be restarted"),
        ("OnFailure", "Container c failed liveness probe, will be restarted"),
        ("Never", "Container c failed liveness probe"),
    ],
)
def test_enough_failures_in_a_row_end_the_container(policy: str, message: str) -> None:
    course = begin(probed(policy, liveness={}), START_S)
    course = run(course, LIVENESS, FAILURE, FAILURE, SUCCESS, FAILURE, UNKNOWN, FAILURE)
    assert verdict_of(course).restart is None
    course = run(course, LIVENESS, FAILURE)
    assert verdict_of(course).restart == RestartCause(message, None)
    assert due_s(course, LIVENESS, ending=False) is None
    assert observe(course, LIVENESS, SUCCESS, START_S + 999) is course


def test_a_startup_probe_may_fail_for_a_period_before_it_counts() -> None:
    said = {"failureThreshold": 2, "terminationGracePeriodSeconds": 1}
    course = run(course_of(startup=said), STARTUP, *[FAILURE] * 6)
    assert is_premature(course, STARTUP, FAILURE, START_S + 9)
    assert not is_premature(course, STARTUP, SUCCESS, START_S + 9)
    assert due_s(course, STARTUP, ending=False) == START_S + 10
    course = run(course, STARTUP, FAILURE)
    assert verdict_of(course).restart is None
    course = run(course, STARTUP, FAILURE)
    cause = RestartCause("Container c failed startup probe, will be restarted", 1)
    assert verdict_of(course) == Verdict(started=False, ready=False, restart=cause)


def test_a_sidecar_that_fails_is_named_as_kubelet_does() -> None:
    fields: dict[str, Any] = {"livenessProbe": EXEC | {"failureThreshold": 1}}
    sidecar = container("s", restartPolicy="Always", **fields)
    pod = pod_object("web", initContainers=[sidecar], restartPolicy="Never")
    course = run(begin(probes_of(pod)["s"], START_S), LIVENESS, FAILURE)
    cause = verdict_of(course).restart
    assert cause is not None
    assert cause.message == "Init container s failed liveness probe"


def test_a_warning_is_a_success() -> None:
    assert verdict_of(run(course_of(readiness={}), READINESS, WARNING)).ready


def test_of_a_pod_that_is_being_deleted_only_readiness_is_of_interest() -> None:
    course = course_of(liveness={}, readiness={})
    assert due_s(course, LIVENESS, ending=True) is None
    assert due_s(course, READINESS, ending=True) == START_S
    assert due_s(course_of(startup={}), STARTUP, ending=True) is None


def test_what_an_earlier_edgecore_said_holds_until_this_one_knows_better() -> None:
    earlier = Earlier(started=True, ready=True, age_s=60, jitter=0.5)
    course = begin(probed(startup={}, liveness={}, readiness={}), START_S, earlier)
    assert verdict_of(course) == Verdict(started=True, ready=True)
    assert due_s(course, STARTUP, ending=False) is None
    assert due_s(course, LIVENESS, ending=False) == START_S + 5
    assert due_s(course, READINESS, ending=False) == START_S + 5
    course = run(course, READINESS, FAILURE, FAILURE)
    assert verdict_of(course).ready
    assert not verdict_of(run(course, READINESS, FAILURE)).ready


def test_what_had_not_started_for_an_earlier_edgecore_still_has_to() -> None:
    earlier = Earlier(started=False, ready=False, age_s=3, jitter=0.5)
    course = begin(probed(startup={"initialDelaySeconds": 20}, readiness={}), START_S, earlier)
    assert verdict_of(course) == Verdict(started=False, ready=False)
    assert due_s(course, STARTUP, ending=False) == START_S + 17


def status(container_id: str) -> ContainerStatus:
    started_at = datetime(2026, 1, 1, tzinfo=UTC)
    running = ContainerState.RUNNING
    return ContainerStatus(container_id, "c", 0, running, "s", started_at=started_at)


def test_a_report_is_believed_of_the_very_container_that_it_is_about() -> None:
    pod = pod_object("web")
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=9)
    assert earlier_of(pod, status("id1"), now, 0.1) is None
    reported = {"name": "c", "containerID": "containerd://id1", "started": True, "ready": False}
    for field in ("containerStatuses", "initContainerStatuses"):
        pod["status"] = {field: [{"name": "x"}, reported]}
        assert earlier_of(pod, status("id1"), now, 0.1) == Earlier(
            started=True, ready=False, age_s=9, jitter=0.1
        )
        assert earlier_of(pod, status("id2"), now, 0.1) is None


def test_a_clock_that_was_set_back_makes_no_container_younger_than_new() -> None:
    pod = pod_object("web")
    pod["status"] = {"containerStatuses": [{"containerID": "x://id1"}]}
    earlier = earlier_of(pod, status("id1"), datetime(1970, 1, 1, tzinfo=UTC), 0.1)
    assert earlier == Earlier(started=False, ready=False, age_s=0, jitter=0.1)


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (SUCCESS, None),
        (WARNING, ("ProbeWarning", "Readiness probe warning: w")),
        (FAILURE, ("Unhealthy", "Readiness probe failed: w")),
        (UNKNOWN, ("Unhealthy", "Readiness probe errored and resulted in unknown state: w")),
    ],
)
def test_events_have_the_words_of_kubelet(outcome: Outcome, event: tuple[str, str] | None) -> None:
    assert event_of(READINESS, Answer(outcome, "w")) == event


outcomes = st.lists(st.sampled_from(Outcome), max_size=40)
small = st.integers(1, 4)


@given(st.sampled_from([STARTUP, LIVENESS]), outcomes, small, st.integers(0, 30), st.integers(1, 9))
def test_nothing_is_restarted_before_enough_failures_in_a_row_and_enough_time(
    kind: ProbeKind, story: list[Outcome], threshold: int, delay_s: int, period_s: int
) -> None:
    said = {
        "failureThreshold": threshold,
        "initialDelaySeconds": delay_s,
        "periodSeconds": period_s,
    }
    course = course_of(**{kind.lower(): said})
    known: list[Outcome] = []
    for outcome in story:
        at_s = due_s(course, kind, ending=False)
        if at_s is None:
            break
        assert at_s >= START_S + delay_s
        course = observe(course, kind, outcome, at_s)
        known += [outcome] if outcome is not UNKNOWN else []
        if verdict_of(course).restart is not None:
            assert known[-threshold:] == [FAILURE] * threshold
            lived_s = at_s - START_S
            granted_s = (
                delay_s + period_s * threshold
                if kind is STARTUP
                else max(delay_s, period_s) + period_s * (threshold - 1)
            )
            assert lived_s >= granted_s
        else:
            assert kind is STARTUP or known[-threshold:] != [FAILURE] * threshold


@given(outcomes, small, small)
def test_readiness_flips_on_its_thresholds_only(
    story: list[Outcome], successes: int, failures: int
) -> None:
    said = {"successThreshold": successes, "failureThreshold": failures}
    course = course_of(readiness=said)
    ready, known = False, list[bool]()
    for outcome in story:
        course = run(course, READINESS, outcome)
        known += [outcome is not FAILURE] if outcome is not UNKNOWN else []
        if known and known[-successes:] == [True] * successes:
            ready = True
        if known and known[-failures:] == [False] * failures:
            ready = False
        assert verdict_of(course).ready is ready
