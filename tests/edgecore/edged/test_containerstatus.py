"""The status of one container. Pure."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from edgecore.edged.containerstatus import Situation, Waiting, container_status
from edgecore.edged.probes.probes import BEGINS, Verdict
from edgecore.edged.runtime.base import ContainerState, ContainerStatus

NOW = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)
SPEC = {"name": "c", "image": "img"}
CREATING = Waiting("ContainerCreating")
RUNNING = ContainerStatus(
    "id1",
    "c",
    1,
    ContainerState.RUNNING,
    "s",
    image="full/img:latest",
    image_id="sha256:1",
    created_at=NOW,
    started_at=NOW,
)


def made(*attempts: ContainerStatus, **fields: Any) -> dict[str, Any]:
    situation = Situation(None, "cri", "192.0.2.1", **fields)
    return container_status(SPEC, attempts, situation, {}, CREATING)


def test_a_container_that_does_not_exist_yet_waits() -> None:
    status = made()
    assert status["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert (status["image"], status["imageID"], status["restartCount"]) == ("img", "", 0)
    assert "containerID" not in status


def test_a_running_container_shows_what_runs() -> None:
    status = made(RUNNING)
    assert status["state"] == {"running": {"startedAt": "2026-11-24T10:00:00Z"}}
    assert (status["image"], status["imageID"]) == ("full/img:latest", "sha256:1")
    assert (status["containerID"], status["restartCount"]) == ("cri://id1", 1)
    assert status["ready"] is status["started"] is True


@pytest.mark.parametrize(("started", "ready"), [(False, False), (True, False), (True, True)])
def test_probes_say_whether_a_running_container_has_started_and_is_ready(
    *, started: bool, ready: bool
) -> None:
    status = made(RUNNING, verdicts={"id1": Verdict(started=started, ready=ready)})
    assert (status["started"], status["ready"]) == (started, ready)


def test_a_container_is_not_said_to_run_before_its_hook_has_ended() -> None:
    before = replace(RUNNING, id="id0", attempt=0, state=ContainerState.EXITED, exit_code=3)
    status = made(before, RUNNING, verdicts={"id1": BEGINS})
    assert status["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["ready"] is status["started"] is False
    assert "containerID" not in status


def test_a_container_that_has_ended_is_not_ready_whatever_a_probe_said() -> None:
    ended = replace(RUNNING, state=ContainerState.EXITED, exit_code=3, finished_at=NOW)
    status = made(ended, verdicts={"id1": Verdict(started=True, ready=True)})
    assert status["ready"] is status["started"] is False
    assert status["state"]["terminated"]["exitCode"] == 3
    assert status["state"]["terminated"]["reason"] == "Error"


def test_why_it_is_not_started_again_stands_beside_how_it_ended() -> None:
    ended = replace(RUNNING, state=ContainerState.EXITED, exit_code=3, finished_at=NOW)
    status = made(ended, waiting={"c": Waiting("CrashLoopBackOff", "back-off 10s")})
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert status["lastState"]["terminated"]["exitCode"] == 3
