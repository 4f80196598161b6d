"""The probes of a spec: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.probes.probespec import Probed, ProbeKind, probes_of
from tests.edgecore.edged.world import container, pod_object

EXEC = {"exec": {"command": ["true"]}}


def probed(policy: str = "Always", /, **probes: dict[str, Any]) -> Probed:
    fields: dict[str, Any] = {field: EXEC | probe for field, probe in probes.items()}
    pod = pod_object("web", containers=[container("c", **fields)], restartPolicy=policy)
    return probes_of(pod)["c"]


def test_what_a_probe_does_not_say_is_as_the_api_server_sets_it() -> None:
    probe = probed(livenessProbe={}).probes[ProbeKind.LIVENESS]
    assert (probe.timeout_s, probe.period_s, probe.initial_delay_s) == (1, 10, 0)
    assert (probe.success_threshold, probe.failure_threshold, probe.grace_s) == (1, 3, None)


def test_what_it_says_is_taken() -> None:
    said = {
        "timeoutSeconds": 2,
        "periodSeconds": 3,
        "initialDelaySeconds": 4,
        "successThreshold": 5,
        "failureThreshold": 6,
        "terminationGracePeriodSeconds": 7,
    }
    probe = probed(readinessProbe=said).probes[ProbeKind.READINESS]
    assert (probe.timeout_s, probe.period_s, probe.initial_delay_s) == (2, 3, 4)
    assert (probe.success_threshold, probe.failure_threshold, probe.grace_s) == (5, 6, 7)
    assert probe.handler["exec"] == EXEC["exec"]


def test_sidecars_have_probes_and_other_init_containers_have_none() -> None:
    probe = {"livenessProbe": EXEC}
    pod = pod_object(
        "web",
        initContainers=[
            container("init", **probe),
            container("sidecar", restartPolicy="Always", **probe),
        ],
        containers=[container("plain"), container("c", **probe)],
    )
    assert set(probes_of(pod)) == {"sidecar", "c"}


@pytest.mark.parametrize(
    ("policy", "sequel"),
    [
        ("Always", ", will be restarted"),
        ("OnFailure", ", will be restarted"),
        ("Never", ""),
    ],
)
def test_whether_a_container_is_restarted_is_the_policy_of_the_pod(
    policy: str, sequel: str
) -> None:
    made = probed(policy, livenessProbe={})
    assert (made.subject, made.sequel) == ("Container c", sequel)


def test_a_container_may_have_a_policy_of_its_own() -> None:
    fields: dict[str, Any] = {"livenessProbe": EXEC, "restartPolicy": "OnFailure"}
    pod = pod_object("web", containers=[container("c", **fields)], restartPolicy="Never")
    assert probes_of(pod)["c"].sequel == ", will be restarted"
