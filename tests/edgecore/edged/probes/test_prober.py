"""The prober of a pod on a real event loop; time is set by hand, commands end as the test says."""

import asyncio
from datetime import timedelta
from typing import Any

from common.names import UID
from edgecore.edged.probes.prober import Prober
from edgecore.edged.probes.probes import Verdict
from edgecore.edged.probes.probespec import ProbeKind
from edgecore.edged.runtime.base import (
    ContainerState,
    ContainerStatus,
    ExecResult,
    PodObservation,
)
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.scripted import ILL, WELL, ScriptedRuntime, refused
from tests.edgecore.edged.servers import HOST, answer, serving
from tests.edgecore.edged.world import container, pod_object

RUNNING, EXITED = ContainerState.RUNNING, ContainerState.EXITED


def probe(command: str = "check", **said: Any) -> dict[str, Any]:
    return {"exec": {"command": [command]}} | said


class Stage:
    """A prober with all around it; ``look`` shows it the pod after some seconds have passed."""

    def __init__(self, **fields: Any) -> None:
        self.runtime, self.clock = ScriptedRuntime(), HandClock()
        self.pod = pod_object("web", containers=[container("c", **fields)])
        self.running = {"c": "id1"}
        self.changes = 0
        self.events: list[tuple[str, str, str, str]] = []
        self.prober = Prober(
            asyncio.TaskGroup(), self.runtime, self.clock, self._changed, self._event
        )

    async def look(self, seconds: float = 0) -> Verdict:
        """Let ``seconds`` pass and everything be done that is due then; return the verdict."""
        self.clock.seconds += seconds
        async with asyncio.TaskGroup() as tasks:
            self.prober._tasks = tasks
            for watched in self.prober._watched.values():
                for worker in watched.workers.values():
                    worker._tasks = tasks
            self.follow()
        self._stop_timers()
        return self.verdict()

    def follow(self) -> None:
        self.prober.follow(self.pod, self.observed(), "192.0.2.7")

    def observed(self) -> PodObservation:
        containers = tuple(self.status(name) for name in self.running)
        return PodObservation(
            UID("uid-web"),
            "default",
            "web",
            "s",
            sandbox_ready=True,
            ips=(HOST,),
            containers=containers,
        )

    def status(self, name: str = "c", state: ContainerState = RUNNING) -> ContainerStatus:
        age = timedelta(seconds=60 + self.clock.offset_s)
        started_at = self.clock.now() - age
        return ContainerStatus(self.running[name], name, 0, state, "s", started_at=started_at)

    def verdict(self) -> Verdict:
        return self.prober.verdict(self.status())

    def pauses_s(self) -> dict[ProbeKind, float]:
        """Return after how many seconds each probe wants to run."""
        [watched] = self.prober._watched.values()
        now_s = self.clock.seconds
        return {kind: record.due_s - now_s for kind, record in watched.course.records.items()}

    def _stop_timers(self) -> None:
        """Time is set by hand: no timer may run out by itself."""
        for watched in self.prober._watched.values():
            for worker in watched.workers.values():
                worker._cancel_timer()

    def _changed(self) -> None:
        self.changes += 1

    def _event(self, *event: str) -> None:
        kind, reason, message, about = event
        self.events.append((kind, reason, message, about))


async def test_a_container_without_probes_is_ready_while_it_runs_and_costs_nothing() -> None:
    stage = Stage()
    assert await stage.look() == Verdict(started=True, ready=True)
    assert stage.prober._watched == {}
    ended = stage.prober.verdict(stage.status(state=EXITED))
    assert ended == Verdict(started=False, ready=False)


async def test_a_container_is_ready_once_its_probe_succeeds_and_that_is_told_once() -> None:
    stage = Stage(readinessProbe=probe())
    stage.runtime.result = ILL
    assert await stage.look() == Verdict(started=True, ready=False)
    assert stage.changes == 0
    assert stage.events == [("Warning", "Unhealthy", "Readiness probe failed: ill", "c")]
    stage.runtime.result = WELL
    assert (await stage.look(0.5)).ready
    assert (await stage.look(10)).ready
    assert stage.changes == 1
    assert stage.runtime.calls == [("id1", ("check",), 1)] * 3


async def test_looking_again_runs_nothing_before_its_time() -> None:
    stage = Stage(readinessProbe=probe(), livenessProbe=probe(periodSeconds=20))
    await stage.look()
    await stage.look(9)
    assert len(stage.runtime.calls) == 1
    assert stage.pauses_s() == {ProbeKind.LIVENESS: 11, ProbeKind.READINESS: 1}


async def test_a_timer_has_the_next_probe_run() -> None:
    stage = Stage(readinessProbe=probe())
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with asyncio.TaskGroup() as tasks:
        stage.prober._tasks = tasks
        stage.follow()
    [watched] = stage.prober._watched.values()
    timer = watched.workers[ProbeKind.READINESS]._timer
    assert timer is not None
    assert began_s + 9 < timer.when() <= loop.time() + 10
    stage.prober.close()
    assert timer.cancelled()


async def test_a_container_that_has_started_is_probed_for_the_rest_at_once() -> None:
    stage = Stage(startupProbe=probe("start"), readinessProbe=probe("ready"))
    stage.runtime.by_command["start"] = ILL
    assert await stage.look() == Verdict(started=False, ready=False)
    assert stage.events == []
    stage.runtime.by_command["start"] = WELL
    assert await stage.look(0.5) == Verdict(started=True, ready=True)
    assert stage.changes == 2
    assert [call[1] for call in stage.runtime.calls] == [("start",), ("start",), ("ready",)]


async def test_a_container_that_fails_is_to_be_restarted_and_left_alone_until_it_is_another() -> (
    None
):
    said = probe(failureThreshold=2, terminationGracePeriodSeconds=3)
    stage = Stage(livenessProbe=said)
    stage.runtime.result = ILL
    assert (await stage.look(10)).restart is None
    await stage.look(10)
    restart = (await stage.look(10)).restart
    assert restart is not None
    assert restart.message == "Container c failed liveness probe, will be restarted"
    assert restart.grace_s == 3
    assert stage.changes == 1
    await stage.look(100)
    assert len(stage.runtime.calls) == 2
    stage.running["c"] = "id2"
    assert (await stage.look()).restart is None
    await stage.look(10)
    assert stage.runtime.calls[-1][0] == "id2"


async def test_a_container_that_is_gone_is_forgotten_with_what_was_still_asked_of_it() -> None:
    stage = Stage(readinessProbe=probe())
    asked, gone = asyncio.Event(), asyncio.Event()

    async def exec_sync(*_: object) -> ExecResult:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            gone.set()
            raise
        return WELL

    stage.runtime.exec_sync = exec_sync  # type: ignore[assignment,method-assign]
    async with asyncio.TaskGroup() as tasks:
        stage.prober._tasks = tasks
        stage.follow()
        await asked.wait()
        stage.prober.follow(stage.pod, None, HOST)
    assert gone.is_set()
    assert stage.prober._watched == {}
    assert stage.changes == 0
    assert stage.verdict() == Verdict(started=True, ready=False)


async def test_of_a_pod_that_is_being_deleted_only_readiness_is_asked() -> None:
    stage = Stage(livenessProbe=probe("live"), readinessProbe=probe("ready"))
    await stage.look()
    stage.pod["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    await stage.look(10)
    await stage.look(10)
    assert {call[1] for call in stage.runtime.calls} == {("ready",)}
    assert len(stage.runtime.calls) == 3


async def test_a_result_that_comes_after_the_deletion_says_nothing() -> None:
    stage = Stage(livenessProbe=probe(failureThreshold=1))
    asked, answered = asyncio.Event(), asyncio.Event()

    async def exec_sync(*_: object) -> ExecResult:
        asked.set()
        await answered.wait()
        return ILL

    stage.runtime.exec_sync = exec_sync  # type: ignore[assignment,method-assign]
    await stage.look()
    stage.clock.seconds += 10
    async with asyncio.TaskGroup() as tasks:
        for worker in stage.prober._watched["id1"].workers.values():
            worker._tasks = tasks
        stage.follow()
        await asked.wait()
        stage.pod["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
        stage.follow()
        answered.set()
    assert stage.verdict().restart is None
    assert stage.events == []


async def test_a_probe_that_cannot_be_run_changes_nothing_and_is_told() -> None:
    stage = Stage(readinessProbe=probe())
    assert (await stage.look()).ready
    stage.runtime.result = refused()
    for _ in range(5):
        assert (await stage.look(10)).ready
    words = "Readiness probe errored and resulted in unknown state: container is not running"
    assert set(stage.events) == {("Warning", "Unhealthy", words, "c")}


async def test_what_an_earlier_edgecore_reported_holds_until_this_one_knows_better() -> None:
    stage = Stage(startupProbe=probe("start"), readinessProbe=probe(), livenessProbe=probe())
    reported = {"name": "c", "containerID": "cri://id1", "started": True, "ready": True}
    stage.pod["status"]["containerStatuses"] = [reported]
    stage.clock.offset_s = 1_000_000.0
    assert await stage.look() == Verdict(started=True, ready=True)
    assert stage.changes == 0
    pauses_s = stage.pauses_s()
    assert 0 < pauses_s[ProbeKind.READINESS] < 10
    assert 0 < pauses_s[ProbeKind.LIVENESS] < 10
    await stage.look(10)
    assert {call[1] for call in stage.runtime.calls} == {("check",)}


async def test_containers_of_a_pod_are_probed_each_by_itself() -> None:
    stage = Stage(readinessProbe=probe())
    sidecar = container("s", restartPolicy="Always", readinessProbe=probe("side"))
    plain = container("init", readinessProbe=probe("never"))
    stage.pod["spec"]["initContainers"] = [sidecar, plain]
    stage.running |= {"s": "id-s", "init": "id-init"}
    stage.runtime.by_command["side"] = ILL
    assert (await stage.look()).ready
    assert not stage.prober.verdict(stage.status("s")).ready
    assert stage.prober.verdict(stage.status("init")).ready
    assert {call[0] for call in stage.runtime.calls} == {"id1", "id-s"}
    stage.prober.close()
    assert stage.prober._watched == {}


async def test_before_it_is_followed_a_container_with_a_probe_is_not_ready() -> None:
    stage = Stage(readinessProbe=probe())
    stage.prober.follow(stage.pod, None, HOST)
    assert stage.verdict() == Verdict(started=True, ready=False)


async def test_a_server_in_the_pod_is_asked_at_the_address_of_the_pod() -> None:
    async with serving(answer(200)) as server:
        stage = Stage(readinessProbe={"httpGet": {"port": server.port}})
        assert (await stage.look()).ready
