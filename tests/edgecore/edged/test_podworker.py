"""A pod's worker in a whole edged: real processes and files; the world stands for the cloud."""

import asyncio
import base64
import errno
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from common.delivery.backoff import BackoffPolicy
from common.errors import RuntimeServiceError
from common.names import UID
from common.status import failure
from edgecore.edged import podworker
from edgecore.edged.podworker import PodWorker
from edgecore.edged.runtime.base import ExecResult
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.process import ProcessRuntime
from edgecore.edged.runtime.spec import ContainerConfig
from edgecore.edged.volumes import volumewriter
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.faulty import AWAY, FaultyRuntime
from tests.edgecore.edged.runtime.processes import Signs
from tests.edgecore.edged.world import World, config_object, container, edge, eventually, pod_object

PRINTS = "echo $GREETING; echo `cat $CLOUDEDGE_VOLUME_CONF/greeting`; exec sleep 1000"
GREETING = {
    "name": "GREETING",
    "valueFrom": {"configMapKeyRef": {"name": "web", "key": "greeting"}},
}
CONF = {"name": "conf", "configMap": {"name": "web"}}


def printing_pod(**spec: Any) -> dict[str, Any]:
    mounts = [{"name": "conf", "mountPath": "/conf"}]
    return pod_object(
        "web",
        containers=[container("c", "sh", "-c", PRINTS, env=[GREETING], volumeMounts=mounts)],
        volumes=[CONF],
        **spec,
    )


def processes(folder: Path) -> ProcessRuntime:
    return ProcessRuntime(folder / "process", mount=False)


def state(world: World, kind: str, container_name: str = "c") -> Any:
    return world.container("web", container_name)["state"].get(kind)


def log(folder: Path, attempt: int = 0) -> list[str]:
    path = folder / "logs/pods/default_web_uid-web/c" / f"{attempt}.log"
    text = path.read_text() if path.exists() else ""
    return [line.split(" ", 3)[3] for line in text.splitlines()]


async def until_logged(folder: Path, lines: list[str]) -> None:
    """Wait for what a process writes by itself, which nobody announces."""
    await eventually(lambda: log(folder) == lines)


async def test_a_pod_waits_for_its_configmap_and_prints_it_from_variable_and_file(
    tmp_path: Path,
) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(printing_pod())
        waiting = await world.until(lambda: state(world, "waiting"))
        assert waiting == {
            "reason": "ContainerCreating",
            "message": 'MountVolume.SetUp failed for volume "conf" : configmap "web" not found',
        }
        await world.put(config_object("ConfigMap", "web", greeting="hello"))
        await world.until(lambda: state(world, "running"))
        await until_logged(tmp_path, ["hello", "hello"])
        await world.until(lambda: reasons(world) >= {"FailedMount", "Started"})


def events(world: World) -> list[Any]:
    return [r for r in world.requests if "/event/" in r.resource]


def reasons(world: World) -> set[str]:
    return {r.data().decode().partition('"reason":"')[2].partition('"')[0] for r in events(world)}


async def test_a_running_pod_sees_the_last_of_many_updates(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(config_object("ConfigMap", "web", greeting="0"))
        await world.put(printing_pod())
        await world.until(lambda: state(world, "running"))
        started = state(world, "running")
        for number in range(1, 101):
            await world.put(config_object("ConfigMap", "web", greeting=str(number)))
        file = tmp_path / "pods/uid-web/volumes/kubernetes.io~configmap/conf/greeting"
        await eventually(lambda: file.read_text() == "100")
        assert state(world, "running") == started
        queries = len(world.asked("query", "default/configmap/web"))
        assert queries < 102  # updates that come while one is written are one


async def test_a_variable_that_cannot_be_had_is_a_reason_not_to_start(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("web", containers=[container("c", env=[GREETING])]))
        waiting = await world.until(lambda: state(world, "waiting"))
        assert waiting == {
            "reason": "CreateContainerConfigError",
            "message": 'configmap "web" not found',
        }
        await world.put(config_object("ConfigMap", "web", other="x"))
        await world.until(lambda: "couldn't find key" in str(state(world, "waiting")))
        await world.put(config_object("ConfigMap", "web", greeting="x"))
        await world.until(lambda: state(world, "running"))


async def test_a_secret_stands_in_its_volume_for_root_only_and_goes_with_the_pod(
    tmp_path: Path,
) -> None:
    secret = base64.b64encode(b"hunter2").decode()
    volumes = [{"name": "s", "secret": {"secretName": "db", "defaultMode": 0o400}}]
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(config_object("Secret", "db", password=secret))
        await world.put(pod_object("web", volumes=volumes))
        await world.until(lambda: state(world, "running"))
        file = tmp_path / "pods/uid-web/volumes/kubernetes.io~secret/s/password"
        assert file.read_bytes() == b"hunter2"
        assert file.stat().st_mode & 0o777 == 0o400
        assert (tmp_path / "pods/uid-web").stat().st_mode & 0o777 == 0o700
        await world.delete("web")
        await world.until(lambda: world.asked("delete", "default/pod/web"))
        assert not (tmp_path / "pods/uid-web").exists()


async def test_a_service_account_token_is_asked_for_and_mounted(tmp_path: Path) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volumes = [{"name": "t", "projected": {"sources": [source]}}]
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", volumes=volumes))
        await world.until(lambda: state(world, "running"))
        volume = tmp_path / "pods/uid-web/volumes/kubernetes.io~projected/t"
        assert (volume / "token").read_text() == "t0ken"


async def test_init_containers_come_first_and_are_reported(tmp_path: Path) -> None:
    init = [container("i", "true")]
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", initContainers=init))
        await world.until(lambda: state(world, "running"))
        await world.until(lambda: state(world, "terminated", "i"))
        assert state(world, "terminated", "i")["reason"] == "Completed"
        assert world.status("web")["phase"] == "Running"


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
async def test_a_pod_that_is_never_restarted_ends(tmp_path: Path, code: int, phase: str) -> None:
    command = container("c", "sh", "-c", f"exit {code}")
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", restartPolicy="Never", containers=[command]))
        await world.until(lambda: world.status("web").get("phase") == phase)
        assert state(world, "terminated")["exitCode"] == code
        assert world.asked("delete", "default/pod/web") == []


async def test_a_container_that_keeps_ending_is_restarted_once_and_then_waits(
    tmp_path: Path,
) -> None:
    crashing = container("c", "sh", "-c", "exit 1")
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", containers=[crashing]))
        waiting = await world.until(lambda: state(world, "waiting"))
        shown = world.container("web")
        assert waiting["reason"] == "CrashLoopBackOff"
        assert waiting["message"].startswith("back-off 10s restarting failed container=c")
        assert shown["restartCount"] == 1
        assert shown["lastState"]["terminated"]["exitCode"] == 1
        assert world.status("web")["phase"] == "Running"
        words = "Back-off restarting failed container c in pod web_default(uid-web)"
        await world.until(lambda: any(words in str(r.data()) for r in events(world)))


async def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    bad = [container("a", "no-such-program"), {"name": "b", "image": "nginx"}]
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", containers=bad))
        await world.until(lambda: state(world, "waiting", "b"))
        assert state(world, "waiting", "b")["reason"] == "CommandRequired"
        assert "has no images" in state(world, "waiting", "b")["message"]
        await world.until(lambda: world.container("web", "a")["lastState"])
        assert world.container("web", "a")["lastState"]["terminated"]["reason"] == "StartError"


class SlowRuntime(HollowRuntime):
    """Creates no container before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def create_container(self, uid: Any, config: ContainerConfig) -> str:
        await self.gate.wait()
        return await super().create_container(uid, config)


async def test_a_start_that_takes_long_is_reported_as_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podworker, "_SLOW_S", 0.05)
    runtime = SlowRuntime()
    async with edge(tmp_path, runtime) as world:
        await world.put(pod_object("web"))
        waiting = await world.until(lambda: state(world, "waiting"))
        assert waiting == {"reason": "ContainerCreating"}
        runtime.gate.set()
        await world.until(lambda: state(world, "running"))


async def test_a_pod_that_waits_for_an_answer_can_be_deleted_meanwhile(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        world.hold = lambda request: "configmap" in request.resource
        await world.put(printing_pod())
        await world.until(lambda: world.asked("query", "default/configmap/web"))
        await world.delete("web")
        await world.until(lambda: world.asked("delete", "default/pod/web"))
        assert world.status("web")["phase"] == "Failed"


async def test_offline_a_missing_object_is_unknown_and_asked_for_again_on_the_next_link(
    tmp_path: Path,
) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        world.objects["default/configmap/web"] = config_object("ConfigMap", "web", greeting="x")
        world.refuse = lambda r: failure(503, "not connected") if "config" in r.resource else None
        await world.put(printing_pod())
        waiting = await world.until(lambda: state(world, "waiting"))
        assert "could not be asked" in waiting["message"]
        world.refuse = lambda _: None
        await world.connect()
        await world.until(lambda: state(world, "running"))


async def test_a_force_delete_shortens_a_graceful_one(tmp_path: Path, signs: Signs) -> None:
    script = f"trap '' TERM; echo up > {signs.path}; while :; do sleep 0.01; done"
    stubborn = [container("c", "sh", "-c", script)]
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", containers=stubborn, terminationGracePeriodSeconds=1000))
        await signs.next()
        await world.delete("web")
        await world.until(lambda: any("Killing" in str(r.data()) for r in events(world)))
        await world.delete("web", graceful=False)
        await eventually(lambda: not list((tmp_path / "process").iterdir()))


async def test_labels_that_change_are_seen_in_the_volume(tmp_path: Path) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    pod = pod_object("web", volumes=[{"name": "d", "downwardAPI": {"items": items}}])
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod)
        await world.until(lambda: state(world, "running"))
        labelled = world.objects["default/pod/web"]
        labelled["metadata"]["labels"] = {"a": "b"}
        await world.put(labelled)
        file = tmp_path / "pods/uid-web/volumes/kubernetes.io~downward-api/d/labels"
        await eventually(lambda: file.read_text() == 'a="b"')


def worker_of(world: World, name: str = "web") -> PodWorker:
    return world.edged._pods.workers[UID(f"uid-{name}")]


async def test_a_start_is_timed_once_and_not_of_a_pod_that_ran_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runtime = HollowRuntime()
    async with edge(tmp_path, runtime) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: world.edged.phases() == {"Running": 1})
        metrics = world.edged._metrics
        assert metrics.pod_start_seconds.count == 1
        assert metrics.events.value_of("Started") == 1
        await world.put(pod_object("web"))
        await world.put(pod_object("other"))
        await world.until(lambda: world.edged.phases() == {"Running": 2})
        assert metrics.pod_start_seconds.count == 2
    assert caplog.text.count("pod runs") == 2
    async with edge(tmp_path, runtime, stored=[pod_object("web")]) as world:
        await world.until(lambda: world.edged.phases() == {"Running": 1})
        assert world.edged._metrics.pod_start_seconds.count == 0


async def test_while_the_runtime_is_away_nothing_is_said_and_then_all_is_made_up_for(
    tmp_path: Path,
) -> None:
    runtime = FaultyRuntime()
    async with edge(tmp_path, runtime, lease_period_s=0.05) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: state(world, "running"))
        runtime.fault = AWAY
        reports = len(world.asked("patch", "default/podpatch/web"))
        await world.put(pod_object("new"))
        await world.delete("web")
        # The node says so; of its pods nothing is known.
        await world.until(lambda: "runtime is down" in str(world.objects["null/node/n1"]))
        assert len(world.asked("patch", "default/podpatch/web")) == reports
        assert world.asked("patch", "default/podpatch/new") == []
        assert world.edged.runtime_fault() != ""
        runtime.fault = None
        await world.until(lambda: world.container("new")["state"].get("running"))
        await world.until(lambda: world.asked("delete", "default/pod/web"))


async def test_a_pod_that_the_runtime_cannot_show_is_looked_at_again_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(podworker, "_LOOK_AGAIN", BackoffPolicy(first_s=0.01))
    runtime = FaultyRuntime()
    runtime.faults["uid-web"] = [RuntimeServiceError("ListError", "bad checkpoint")] * 3
    async with edge(tmp_path, runtime) as world:
        await world.put(pod_object("web"))
        await world.put(pod_object("other"))
        await world.until(lambda: world.container("other")["state"].get("running"))
        await world.until(lambda: state(world, "running"))
    assert caplog.text.count("does not show the pod") == 3
    assert "runtime is away" not in caplog.text


async def test_a_pod_that_the_runtime_was_not_asked_about_is_not_called_new(
    tmp_path: Path,
) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: state(world, "running"))
        pod = world.objects["default/pod/web"]
    runtime = FaultyRuntime()
    runtime.fault = AWAY
    async with edge(tmp_path, runtime, stored=[pod]) as world:
        await world.until(lambda: "runtime is down" in str(world.objects.get("null/node/n1")))
        worker_of(world)._report_creating()
        assert worker_of(world).status() == pod["status"]


async def test_a_pod_has_the_time_that_it_says_and_no_more(tmp_path: Path) -> None:
    clock = HandClock()
    async with edge(tmp_path, HollowRuntime(), clock=clock) as world:
        await world.put(pod_object("web", activeDeadlineSeconds=600))
        await world.until(lambda: state(world, "running"))
        clock.seconds += 601
        await world.connect()
        await world.until(lambda: world.status("web").get("phase") == "Failed")
        status = world.status("web")
        assert status["reason"] == "DeadlineExceeded"
        assert status["message"] == "Pod was active on the node longer than the specified deadline"
        assert state(world, "terminated")
        told = await world.until(
            lambda: [r for r in events(world) if "DeadlineExceeded" in str(r.data())]
        )
        assert '"type":"Normal"' in str(told[0].data())


async def test_a_pod_that_was_through_in_time_has_missed_no_deadline(tmp_path: Path) -> None:
    clock, runtime = HandClock(), HollowRuntime()
    async with edge(tmp_path, runtime, clock=clock) as world:
        await world.put(pod_object("web", activeDeadlineSeconds=600, restartPolicy="Never"))
        await world.until(lambda: state(world, "running"))
        await world.disconnect()
        runtime.end("uid-web.c.0", 0)
        await eventually(lambda: worker_of(world).has_ended)
        clock.seconds += 601
        await world.connect()
        await world.until(lambda: world.status("web").get("phase") == "Succeeded")
        worker_of(world).wake()
        await eventually(lambda: worker_of(world)._worker._task is None)
        assert not worker_of(world).is_given_up


class Stubborn(HollowRuntime):
    """Its containers end when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        await self.gate.wait()
        await super().stop_container(container_id, grace_s)


async def test_a_pod_that_is_ending_waits_for_its_containers_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    clock, runtime = HandClock(), Stubborn()
    async with edge(tmp_path, runtime, clock=clock) as world:
        await world.put(config_object("ConfigMap", "web", greeting="hi"))
        await world.put(printing_pod(activeDeadlineSeconds=600))
        await world.until(lambda: state(world, "running"))
        clock.seconds += 601
        world.hold = lambda request: "configmap" in request.resource
        await world.put(config_object("ConfigMap", "web", greeting="ho"))
        await world.until(lambda: any("Killing" in str(r.data()) for r in events(world)))
        await eventually(lambda: worker_of(world)._worker._task is None)
        assert worker_of(world)._worker._timer is None
        runtime.gate.set()
        await world.until(lambda: world.status("web").get("reason") == "DeadlineExceeded")


async def test_volumes_that_cannot_be_removed_yet_are_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podworker, "_FAILED_S", 0.01)
    tear_down = volumewriter.tear_down
    failed: list[Path] = []

    def busy_at_first(pod_dir: Path) -> None:
        if len(failed) < 2:
            failed.append(pod_dir)
            raise OSError(errno.EBUSY, "Device or resource busy")
        tear_down(pod_dir)

    monkeypatch.setattr(volumewriter, "tear_down", busy_at_first)
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(config_object("ConfigMap", "web", greeting="hi"))
        await world.put(printing_pod())
        await world.until(lambda: state(world, "running"))
        await world.delete("web")
        await world.until(lambda: any("FailedUnMount" in str(r.data()) for r in events(world)))
        await world.delete("web", graceful=False)
        await eventually(lambda: not world.edged._pods.workers)
        assert not (tmp_path / "pods/uid-web").exists()
    assert len(failed) == 2


def exec_probe(*command: str) -> dict[str, Any]:
    return {"exec": {"command": list(command)}, "periodSeconds": 1, "failureThreshold": 1}


async def test_a_container_is_ready_while_its_probe_says_so(tmp_path: Path) -> None:
    sign = tmp_path / "ready"
    probed = container("c", readinessProbe=exec_probe("test", "-e", str(sign)))
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", containers=[probed]))
        await world.until(lambda: state(world, "running"))
        assert not world.container("web")["ready"]
        sign.touch()
        await world.until(lambda: world.container("web")["ready"])
        sign.unlink()
        await world.until(lambda: not world.container("web")["ready"])
        assert world.container("web")["restartCount"] == 0


async def test_a_container_that_is_not_alive_is_started_again(tmp_path: Path) -> None:
    sign = tmp_path / "ill"
    script = f"if [ -e {sign} ]; then rm {sign}; else touch {sign}; fi; exec sleep 1000"
    probe = exec_probe("test", "!", "-e", str(sign))
    probed = container("c", "sh", "-c", script, livenessProbe=probe)
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web", containers=[probed]))
        await world.until(lambda: world.container("web").get("restartCount") == 1)
        await world.until(lambda: state(world, "running"))
        await world.until(lambda: any("failed liveness" in str(r.data()) for r in events(world)))
        await eventually(lambda: not sign.exists())


class Gated(HollowRuntime):
    """Its commands end when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.commands: list[str] = []

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        self.commands.append(container_id)
        await self.gate.wait()
        return await super().exec_sync(container_id, command, timeout_s)


async def test_the_next_container_starts_once_the_hook_of_the_one_before_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podworker, "_SLOW_S", 0.05)
    runtime = Gated()
    hook = {"postStart": {"exec": {"command": ["wait-for-it"]}}}
    pod = pod_object("web", containers=[container("c", lifecycle=hook), container("d")])
    async with edge(tmp_path, runtime) as world:
        await world.put(pod)
        await eventually(lambda: runtime.commands)
        await world.until(lambda: state(world, "waiting", "d"))
        assert state(world, "waiting") == {"reason": "ContainerCreating"}
        [observed] = await runtime.list_pods()
        assert [one.name for one in observed.containers] == ["c"]
        runtime.gate.set()
        await world.until(lambda: state(world, "running") and state(world, "running", "d"))
        assert len(runtime.commands) == 1
