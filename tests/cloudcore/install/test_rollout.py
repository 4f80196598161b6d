"""How far a Deployment has come. Pure; the objects are made up."""

from typing import Any

import pytest

from cloudcore.install import rollout
from cloudcore.install.rollout import Rollout


def deployment(wanted: int = 2, seen: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 3},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": seen, **status},
    }


ALL = {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}


def test_all_that_are_wanted_are_available() -> None:
    found = rollout.judge(deployment(**ALL))
    assert found == Rollout(2, 2, is_done=True, problems=())
    assert str(found) == "2 of 2 replicas are available"


@pytest.mark.parametrize(
    "status",
    [
        {},
        {**ALL, "seen": 2},  # of the change before
        {**ALL, "replicas": 3},  # one of the old form is not gone yet
        {**ALL, "updatedReplicas": 1},
        {**ALL, "availableReplicas": 1},
        {**ALL, "wanted": 3},
    ],
    ids=str,
)
def test_it_is_not_done_before_that(status: dict[str, int]) -> None:
    assert not rollout.judge(deployment(**status)).is_done


def test_a_deployment_that_nobody_has_looked_at_has_nothing() -> None:
    found = deployment()
    del found["status"]
    assert rollout.judge(found) == Rollout(0, 2, is_done=False, problems=())


def test_it_says_what_it_cannot_do() -> None:
    conditions = [
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
        {"type": "Progressing", "status": "False", "reason": "Late", "message": "too late"},
        {"type": "ReplicaFailure", "status": "True", "reason": "Forbidden", "message": "no"},
    ]
    found = rollout.judge(deployment(conditions=conditions))
    assert found.problems == ("Late: too late", "Forbidden: no")


def test_pods_say_once_what_keeps_them() -> None:
    unbound = {"type": "PodScheduled", "status": "False", "reason": "Full", "message": "no node"}
    bound = {"type": "PodScheduled", "status": "True"}
    usual = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    no_image = {"state": {"waiting": {"reason": "ErrImagePull", "message": "not there"}}}
    ended = {"state": {"terminated": {"exitCode": 2}}}
    again = {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 1}},
    }
    pods: list[Any] = [
        {},
        {"status": {"conditions": [unbound]}},
        {"status": {"conditions": [unbound]}},
        {"status": {"conditions": [bound], "containerStatuses": [usual, {"state": {}}]}},
        {"status": {"containerStatuses": [no_image, ended, again]}},
    ]
    assert rollout.problems(pods) == [
        "Full: no node",
        "ErrImagePull: not there",
        "cloudcore ended with 2: see kubectl -n kubeedge logs",
        "CrashLoopBackOff: back-off",
        "cloudcore ended with 1: see kubectl -n kubeedge logs",
    ]
