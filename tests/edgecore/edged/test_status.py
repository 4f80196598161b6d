"""Statuses of pods: pure. Where they apply, the recorded patches of a real edge are the measure."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from common.names import UID
from edgecore.edged.containerstatus import Rejection, Situation, Waiting, crash_loop_waits
from edgecore.edged.crashloop import History, observe
from edgecore.edged.probes.probes import Verdict
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from edgecore.edged.status import pod_status, status_patch
from tests import transcript
from tests.edgecore.edged.world import IP, container, merge, pod_object

CREATED_AT = datetime(2026, 11, 23, 9, 31, 44, tzinfo=UTC)
STARTED_AT = datetime(2026, 11, 23, 9, 31, 45, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 9, 31, 46, tzinfo=UTC)


def ran(name: str, attempt: int = 0, *, code: int | None = None, **fields: Any) -> ContainerStatus:
    state = ContainerState.RUNNING if code is None else ContainerState.EXITED
    return ContainerStatus(
        f"id-{name}{attempt}",
        name,
        attempt,
        state,
        "s",
        started_at=STARTED_AT,
        finished_at=None if code is None else NOW,
        exit_code=code or 0,
        **fields,
    )


def status(
    pod: dict[str, Any], *containers: ContainerStatus, sandbox: bool = True, **fields: Any
) -> dict[str, Any]:
    observed = PodObservation(
        UID("u"), "default", "web", "s", sandbox_ready=sandbox, containers=containers
    )
    situation = Situation(observed, "process", IP, **fields)
    return pod_status(pod, situation, pod["status"], NOW)


def conditions(made: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c.get("reason", "")) for c in made["conditions"]}


def recorded_patch(number: int) -> dict[str, Any]:
    """The ``number``-th patch that the recorded edge sent for the pod web."""
    patches = [
        line.message["content"]
        for line in transcript.lines()
        if line.direction == "up"
        and line.message["route"].get("resource") == "default/podpatch/web"
    ]
    patch: dict[str, Any] = json.loads(patches[number])
    return patch


def recorded_pod() -> dict[str, Any]:
    pod: dict[str, Any] = next(
        line.message["content"]
        for line in transcript.lines()
        if line.direction == "down"
        and (line.operation, line.resource) == ("insert", "default/pod/web")
    )
    return pod


RECORDED_IMAGE = "sha256:caa7376b7fbca079ea35739fa1919e5d0f50a2b54f88675b2a67b79bee8df710"
RECORDED_ID = "355d0f5d77f31495687fa012d5ed9c89cb44bb0312d635222a20169966a9f3b2"


def recorded_situation(*containers: ContainerStatus, ready: bool, **fields: Any) -> Situation:
    observed = PodObservation(
        UID("u"),
        "default",
        "web",
        "s",
        sandbox_ready=ready,
        ips=("10.88.7.253",),
        containers=containers,
    )
    return Situation(observed, "containerd", "192.0.2.2", **fields)


def test_the_recorded_patches_of_a_pods_life_are_made_from_what_then_was_so() -> None:
    pod = recorded_pod()
    uid, image = pod["metadata"]["uid"], pod["spec"]["containers"][0]["image"]
    first = pod_status(pod, recorded_situation(ready=False), pod["status"], CREATED_AT)
    # A phase that the API server has already is not sent.
    assert json.loads(status_patch(uid, pod["status"], first) or "") == recorded_patch(0)
    reported = merge(pod["status"], recorded_patch(0)["status"])

    runs = ContainerStatus(
        RECORDED_ID,
        "c",
        0,
        ContainerState.RUNNING,
        "s",
        image,
        RECORDED_IMAGE,
        started_at=STARTED_AT,
    )
    second = pod_status(pod, recorded_situation(runs, ready=True), reported, NOW)
    assert json.loads(status_patch(uid, reported, second) or "") == recorded_patch(1)
    reported = merge(reported, recorded_patch(1)["status"])

    ended = ContainerStatus(
        RECORDED_ID,
        "c",
        0,
        ContainerState.EXITED,
        "s",
        image,
        RECORDED_IMAGE,
        started_at=STARTED_AT,
        finished_at=datetime(2026, 11, 23, 9, 32, 23, tzinfo=UTC),
        exit_code=137,
        reason="Error",
    )
    now = datetime(2026, 11, 23, 9, 32, 24, tzinfo=UTC)
    last = pod_status(pod, recorded_situation(ended, ready=False, over=True), reported, now)
    assert json.loads(status_patch(uid, reported, last) or "") == recorded_patch(2)


def test_a_status_that_the_api_server_has_is_not_sent() -> None:
    pod = pod_object("web")
    made = status(pod, ran("c"))
    patch = json.loads(status_patch("u", pod["status"], made) or "")
    pod["status"] = merge(pod["status"], patch["status"])
    assert status_patch("u", pod["status"], status(pod, ran("c"))) is None


def test_times_of_conditions_change_only_with_their_status() -> None:
    pod = pod_object("web")
    old = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    pod["status"]["conditions"] = [old]
    ready = {c["type"]: c for c in status(pod, ran("c"))["conditions"]}["Ready"]
    assert ready["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    crashed = {c["type"]: c for c in status(pod, ran("c", code=1))["conditions"]}["Ready"]
    assert crashed["lastTransitionTime"] == "2026-11-23T09:31:46Z"


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [
        ("Always", (None, None), "Running"),
        ("Always", (None, 1), "Running"),
        ("Always", (0, 1), "Running"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 1), "Failed"),
        ("Never", (None, 1), "Running"),
    ],
)
def test_the_phase_is_that_of_kubelet(policy: str, codes: tuple[Any, Any], phase: str) -> None:
    pod = pod_object("web", restartPolicy=policy, containers=[container("a"), container("b")])
    made = status(pod, ran("a", code=codes[0]), ran("b", code=codes[1]))
    assert made["phase"] == phase


def test_a_pod_is_pending_until_each_container_has_run() -> None:
    pod = pod_object("web", containers=[container("a"), container("b")])
    made = status(pod, ran("a"), waiting={"b": Waiting("CreateContainerConfigError", "no x")})
    assert made["phase"] == "Pending"
    assert conditions(made)["Ready"] == ("False", "ContainersNotReady")
    assert made["containerStatuses"][1]["state"] == {
        "waiting": {"reason": "CreateContainerConfigError", "message": "no x"}
    }


def test_init_containers_are_waited_for_and_named() -> None:
    pod = pod_object("web", initContainers=[container("i1"), container("i2")])
    made = status(pod, ran("i1", code=0), ran("i2"))
    ready = {c["type"]: c for c in made["conditions"]}
    assert made["phase"] == "Pending"
    assert ready["Initialized"]["message"] == "containers with incomplete status: [i2]"
    assert [s["ready"] for s in made["initContainerStatuses"]] == [True, False]
    assert made["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    done = status(pod, ran("i1", code=0), ran("i2", code=0), ran("c"))
    assert conditions(done)["Initialized"] == ("True", "")


def test_a_failed_init_container_fails_a_pod_that_is_never_restarted() -> None:
    pod = pod_object("web", restartPolicy="Never", initContainers=[container("i")])
    assert status(pod, ran("i", code=1))["phase"] == "Failed"


def test_a_crashing_container_shows_why_it_waits_and_how_it_ended() -> None:
    pod = pod_object("web")
    ends = [ran("c", 0, code=1), ran("c", 1, code=2)]
    history: History = {}
    for now_s, end in enumerate(ends):
        history = observe(history, [end], float(now_s))
    waits = crash_loop_waits(pod, {"c": 3.0}, history)
    [shown] = status(pod, *ends, waiting=waits)["containerStatuses"]
    message = "back-off 10s restarting failed container=c pod=web_default(uid-web)"
    assert shown["state"]["waiting"] == {"reason": "CrashLoopBackOff", "message": message}
    assert shown["lastState"]["terminated"]["exitCode"] == 2
    assert shown["restartCount"] == 1


def test_the_last_state_of_a_running_container_is_how_it_ended_before() -> None:
    [shown] = status(pod_object("web"), ran("c", 0, code=3), ran("c", 1))["containerStatuses"]
    assert shown["lastState"]["terminated"]["exitCode"] == 3
    assert shown["ready"]


def test_a_pod_that_has_ended_never_goes_back() -> None:
    pod = pod_object("web")
    pod["status"]["phase"] = "Succeeded"
    assert status(pod, over=True)["phase"] == "Succeeded"


def test_a_container_that_the_runtime_lost_is_reported_as_ended() -> None:
    pod = pod_object("web")
    before = {
        "name": "c",
        "containerID": "process://x",
        "state": {"running": {}},
        "restartCount": 2,
    }
    pod["status"]["containerStatuses"] = [before]
    [shown] = status(pod, over=True)["containerStatuses"]
    assert shown["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert shown["restartCount"] == 2
    pod["status"]["containerStatuses"] = [before | {"state": {"terminated": {"exitCode": 0}}}]
    assert status(pod, over=True)["containerStatuses"] == pod["status"]["containerStatuses"]
    assert status(pod, over=True)["phase"] == "Succeeded"


def test_mounts_are_shown_with_how_they_can_be_written() -> None:
    mounts = [
        {"name": "v", "mountPath": "/v"},
        {"name": "w", "mountPath": "/w", "readOnly": True},
    ]
    pod = pod_object("web", containers=[container("c", volumeMounts=mounts)])
    assert status(pod, ran("c"))["containerStatuses"][0]["volumeMounts"] == [
        {"name": "v", "mountPath": "/v"},
        {"name": "w", "mountPath": "/w", "readOnly": True, "recursiveReadOnly": "Disabled"},
    ]


def test_the_pods_address_is_the_nodes_where_it_has_none_of_its_own() -> None:
    made = status(pod_object("web"), ran("c"))
    assert (made["podIP"], made["hostIP"]) == (IP, IP)
    assert made["podIPs"] == [{"ip": IP}]


def test_a_pod_that_the_node_gave_up_has_failed_once_nothing_of_it_runs() -> None:
    rejection = Rejection("Evicted", "The node was low on resource: memory.", disrupts=True)
    going_on = status(pod_object("web"), ran("c"), rejection=rejection)
    assert (going_on["phase"], going_on["reason"]) == ("Running", "Evicted")
    over = status(pod_object("web"), ran("c", code=0), rejection=rejection, over=True)
    assert (over["phase"], over["message"]) == ("Failed", "The node was low on resource: memory.")
    assert conditions(over)["DisruptionTarget"] == ("True", "TerminationByKubelet")


def test_a_pod_that_cannot_be_taken_is_no_victim() -> None:
    made = status(pod_object("web"), rejection=Rejection("OutOfcpu", "too much"), over=True)
    assert (made["phase"], made["reason"], made["message"]) == ("Failed", "OutOfcpu", "too much")
    assert "DisruptionTarget" not in conditions(made)


def test_why_there_is_no_sandbox_stands_in_a_condition_in_the_runtimes_words() -> None:
    made = status(pod_object("web"), sandbox_problem="no network here", sandbox=False)
    [found] = [c for c in made["conditions"] if c["type"] == "PodReadyToStartContainers"]
    assert (found["status"], found["reason"]) == ("False", "FailedCreatePodSandBox")
    assert found["message"] == "no network here"


def test_a_pod_is_ready_when_others_say_so_too_where_it_has_gates() -> None:
    pod = pod_object("web", readinessGates=[{"conditionType": "example.org/seen"}])
    assert conditions(status(pod, ran("c")))["Ready"] == ("False", "ReadinessGatesNotReady")
    assert conditions(status(pod, ran("c")))["ContainersReady"] == ("True", "")
    for said, ready in (("False", "False"), ("True", "True")):
        pod["status"]["conditions"] = [{"type": "example.org/seen", "status": said}]
        assert conditions(status(pod, ran("c")))["Ready"][0] == ready


def test_a_sidecar_counts_as_done_when_its_startup_probe_has_succeeded() -> None:
    pod = pod_object("web", initContainers=[container("side", restartPolicy="Always")])
    side = ran("side")
    for started, condition in ((False, "False"), (True, "True")):
        verdicts = {side.id: Verdict(started=started, ready=False)}
        made = status(pod, side, verdicts=verdicts)
        assert conditions(made)["Initialized"][0] == condition
