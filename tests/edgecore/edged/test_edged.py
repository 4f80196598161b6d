"""The module edged: a real bus, real processes and files; the world stands for all the rest."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.beehive.message import refusal
from common.capabilities import Capability
from common.names import UID, Operation
from common.status import failure
from edgecore.edged import edged as under_test
from edgecore.edged import orphans
from edgecore.edged.runtime import keepers
from edgecore.edged.runtime.base import RuntimeVersion
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.process import ProcessRuntime
from edgecore.edged.runtime.spec import SandboxConfig
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.faulty import AWAY, FaultyRuntime
from tests.edgecore.edged.runtime.processes import Signs
from tests.edgecore.edged.world import (
    NODE,
    World,
    config_object,
    container,
    edge,
    eventually,
    pod_object,
)

ROOT = Path(__file__).parents[3]


def processes(folder: Path) -> ProcessRuntime:
    return ProcessRuntime(folder / "process", mount=False)


def running(world: World, name: str = "web") -> Any:
    return world.container(name)["state"].get("running")


def container_id(world: World, name: str = "web") -> str:
    return str(world.container(name)["containerID"])


def pid_of(folder: Path) -> int:
    """The process of the only container there is."""
    [state] = (folder / "process").rglob("state.json")
    return int(json.loads(state.read_text())["pid"])


@pytest.mark.both_loops
async def test_a_pod_runs_and_is_reported_with_one_patch(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        status = world.status("web")
        assert (status["phase"], status["qosClass"]) == ("Running", "BestEffort")
        assert world.edged.tell() == {"pods": {"Running": 1}}
        assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
        assert len(world.asked("patch", "default/podpatch/web")) == 1


@pytest.mark.both_loops
async def test_a_deletion_goes_its_recorded_way_and_leaves_nothing(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        first = len(world.requests)
        await world.delete("web")
        await world.until(lambda: world.asked("delete", "default/pod/web"))
        kinds = [r.resource.split("/")[1] for r in world.requests[first:]]
        assert [kind for kind in kinds if kind != "event"] == ["podpatch", "pod"]
        assert world.status("web")["phase"] == "Failed"
        assert world.container("web")["state"]["terminated"]["exitCode"] == 143
        assert list((tmp_path / "process").iterdir())  # its end is to be seen until it is forgotten
        await world.delete("web", graceful=False)
        await gone(tmp_path)


async def gone(folder: Path) -> None:
    await eventually(lambda: left_in(folder) == [])


def left_in(folder: Path) -> list[Path]:
    """What there is of pods."""
    places = (folder / place for place in ("process", "pods", "logs/pods"))
    return [path for place in places if place.exists() for path in place.iterdir()]


async def test_a_pod_that_is_force_deleted_is_ended_at_once(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        skeleton = {"metadata": {"namespace": "default", "name": "web"}}
        await world.push(Operation.DELETE, "default/pod/web", skeleton)
        await gone(tmp_path)
        assert world.asked("delete", "default/pod/web") == []


async def test_a_pod_replaced_under_its_name_ends_before_the_new_one_begins(
    tmp_path: Path, signs: Signs
) -> None:
    def one(uid: str) -> dict[str, Any]:
        script = (
            f"trap 'echo end {uid} > {signs.path}; exit' TERM; echo begin {uid} > {signs.path};"
        )
        return pod_object(
            "web",
            uid,
            containers=[container("c", "sh", "-c", f"{script} while :; do sleep 0.01; done")],
        )

    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(one("u1"))
        assert await signs.next() == "begin u1\n"
        await world.put(one("u2"))
        assert await signs.next() == "end u1\n"
        assert await signs.next() == "begin u2\n"
        # What is said of the old one late does not touch the new one.
        await world.push(Operation.DELETE, "default/pod/web", one("u1"))
        await world.until(lambda: running(world))
        assert [p.name for p in (tmp_path / "process").iterdir()] == ["u2"]


async def test_offline_the_stored_pods_are_started(tmp_path: Path) -> None:
    config = config_object("ConfigMap", "web", greeting="hi")
    env = [{"name": "G", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "greeting"}}}]
    pod = pod_object("web", containers=[container("c", env=env)])
    runtime = processes(tmp_path)
    async with edge(tmp_path, runtime, connected=False, stored=[pod]) as world:
        world.objects["default/configmap/web"] = config
        await eventually(lambda: list((tmp_path / "process").rglob("state.json")))
        assert not world.asked("patch", "default/podpatch/web")
        await world.connect()
        await world.until(lambda: running(world))


async def test_a_killed_process_is_restarted_offline(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        await world.disconnect()
        os.kill(pid_of(tmp_path), signal.SIGKILL)
        await eventually(lambda: len(list((tmp_path / "process").rglob("state.json"))) == 2)
        await world.connect()
        await world.until(lambda: world.container("web")["restartCount"] == 1)
        await world.until(lambda: running(world))
        assert world.container("web")["lastState"]["terminated"]["exitCode"] == 137


async def test_a_restart_touches_nothing(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(config_object("ConfigMap", "web", a="1"))
        await world.put(pod_object("web", volumes=[{"name": "v", "configMap": {"name": "web"}}]))
        await world.until(lambda: running(world))
        pod, before = world.objects["default/pod/web"], container_id(world)
        config = world.objects["default/configmap/web"]
    process = pid_of(tmp_path)
    data = os.readlink(tmp_path / "pods/uid-web/volumes/kubernetes.io~configmap/v/..data")
    async with edge(tmp_path, processes(tmp_path), stored=[pod]) as world:
        world.objects["default/configmap/web"] = config
        # The worker has looked at everything once it has asked for the volume's contents.
        await world.until(lambda: world.asked("query", "default/configmap/web"))
        await world.put(pod_object("other"))
        await world.until(lambda: running(world, "other"))
        assert world.asked("patch", "default/podpatch/web") == []
        assert container_id(world) == before
    assert os.readlink(tmp_path / "pods/uid-web/volumes/kubernetes.io~configmap/v/..data") == data
    assert Path(f"/proc/{process}").exists()


DAEMON = """
import asyncio, json, sys
from pathlib import Path
from edgecore.edged.runtime.process import ProcessRuntime
from tests.edgecore.edged.world import container, edge, pod_object

async def main():
    folder = Path(sys.argv[1])
    async with edge(folder, ProcessRuntime(folder / "process", mount=False)) as world:
        script = f"echo $$$$ > {folder}/signs; exec sleep 1000"
        await world.put(pod_object("web", containers=[container("c", "sh", "-c", script)]))
        await world.until(lambda: world.container("web")["state"].get("running"))
        (folder / "pod.json").write_text(json.dumps(world.objects["default/pod/web"]))
        print("reported", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_after_sigkill_of_edgecore_the_next_one_goes_on_with_the_same_process(
    tmp_path: Path, signs: Signs
) -> None:
    command = [sys.executable, "-c", DAEMON, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as edgecore:  # noqa: ASYNC220 - it only has to start
        process = int(await signs.next())
        assert edgecore.stdout is not None
        await asyncio.to_thread(edgecore.stdout.readline)
        edgecore.kill()
    pod = json.loads((tmp_path / "pod.json").read_text())
    async with edge(tmp_path, processes(tmp_path), stored=[pod]) as world:
        os.kill(process, signal.SIGKILL)  # that it is watched shows that it was adopted
        await world.until(lambda: world.container("web")["restartCount"] == 1)
        await world.until(lambda: running(world))
        assert world.container("web")["lastState"]["terminated"]["exitCode"] == 137


@pytest.fixture
def _sure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "SURE_S", 0.0)


@pytest.mark.usefixtures("_sure_at_once")
async def test_what_is_not_in_the_store_is_ended_once_the_store_was_read(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
    async with edge(tmp_path, processes(tmp_path), connected=False):
        await gone(tmp_path)


async def test_what_the_store_does_not_know_yet_is_left_to_the_cloud(tmp_path: Path) -> None:
    clock, runtime = HandClock(), HollowRuntime()
    async with edge(tmp_path, runtime, clock=clock) as world:
        await world.until(lambda: world.edged._pods.is_loaded)
        # As another kubelet may have left it, which had the node meanwhile.
        await runtime.run_sandbox(SandboxConfig(UID("uid-web"), "default", "web", 0, tmp_path))
        await world.edged._end_orphans()
        clock.seconds += orphans.SURE_S - 1
        await world.edged._end_orphans()
        assert list(runtime._pods) == ["uid-web"]
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        clock.seconds += 1
        await world.edged._end_orphans()
        assert world.edged._pods.workers[UID("uid-web")].has_vanished is False


async def test_a_pod_that_is_known_after_all_begins_anew(tmp_path: Path) -> None:
    runtime = FaultyRuntime()
    async with edge(tmp_path, runtime) as world:
        await world.until(lambda: world.edged._pods.is_loaded)
        await runtime.run_sandbox(SandboxConfig(UID("uid-old"), "default", "web", 0, tmp_path))
        await world.put(pod_object("web"))  # which proves that the old one was deleted
        await world.until(lambda: running(world))
        await world.edged._end_orphans()
        runtime.fault = AWAY  # so that it cannot end at once
        await world.push(Operation.UPDATE, "default/pod/web", pod_object("web", "uid-old"))
        await eventually(lambda: world.edged._orphans._ending[UID("uid-old")])
        runtime.fault = None
        await world.until(
            lambda: any(p.containers for u, p in runtime._pods.items() if u == "uid-old")
        )


async def test_a_store_that_cannot_be_read_is_no_reason_to_end_anything(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        pod, before = world.objects["default/pod/web"], container_id(world)
    async with edge(tmp_path, processes(tmp_path)) as world:
        answer = world._answer

        def damaged(request: Any) -> Any:
            if request.resource == "null/pod":
                return refusal(request, failure(503, "the store is being rebuilt"))
            return answer(request)

        world._answer = damaged  # type: ignore[method-assign]
        await world.until(lambda: len(world.asked("query", "null/pod")) == 2)
        world.stored = [pod]
        await world.put(pod)
        world._answer = answer  # type: ignore[method-assign]
        await world.until(lambda: len(world.asked("query", "null/pod")) == 3)
        await world.put(pod_object("other"))
        await world.until(lambda: running(world, "other"))
        assert container_id(world) == before


async def test_what_a_store_that_may_lack_something_does_not_list_goes_on_running(
    tmp_path: Path,
) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.put(pod_object("lost"))
        await world.until(lambda: running(world) and running(world, "lost"))
        web, lost = world.objects["default/pod/web"], world.objects["default/pod/lost"]
        before = container_id(world), container_id(world, "lost")
    async with edge(tmp_path, processes(tmp_path)) as world:
        world.is_complete, world.stored = False, [web]
        await world.until(lambda: len(world.asked("query", "null/pod")) == 2)
        world.stored = [web, lost]
        await world.put(web)
        await world.put(lost)
        world.is_complete = True
        await world.until(lambda: len(world.asked("query", "null/pod")) == 3)
        await world.put(pod_object("other"))
        await world.until(lambda: running(world, "other"))
        assert (container_id(world), container_id(world, "lost")) == before


async def test_a_deletion_while_the_edge_was_away_is_carried_out_on_return(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        await world.disconnect()
        await world.delete("web")  # stored by metamanager before it was cut off
        keeper_files = list((tmp_path / "process").rglob("keeper.json"))
        await eventually(lambda: not any(map(pid_alive, keeper_files)))
        assert world.asked("delete", "default/pod/web") == []
        pod = world.objects["default/pod/web"]
    async with edge(tmp_path, processes(tmp_path), stored=[pod]) as world:
        await world.until(lambda: world.asked("delete", "default/pod/web"))
        assert world.status("web")["phase"] == "Failed"


def pid_alive(note: Path) -> bool:
    pid = keepers.keeper_of(note.parent)
    return pid is not None and Path(f"/proc/{pid}").exists()


async def test_what_the_api_server_has_is_set_right_on_each_connection(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        await world.disconnect()
        flipped = json.loads(json.dumps(world.objects["default/pod/web"]))
        flipped["status"]["conditions"][2]["status"] = "False"
        await world.put(flipped)
        await world.connect()
        await world.until(lambda: world.status("web")["conditions"][2]["status"] == "True")


async def test_the_node_is_registered_and_its_lease_renewed(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        lease = f"kube-node-lease/lease/{NODE}"
        await world.until(lambda: lease in world.objects and f"null/node/{NODE}" in world.objects)
        node = world.objects[f"null/node/{NODE}"]
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("hollow://")
        flipped = json.loads(json.dumps(node)) | {"kind": "Node"}
        flipped["status"]["conditions"][3]["status"] = "Unknown"
        await world.put(flipped)
        await world.until(
            lambda: (
                world.objects[f"null/node/{NODE}"]["status"]["conditions"][3]["status"] == "True"
            )
        )
        await world.push(
            Operation.DELETE, f"null/node/{NODE}", world.objects.pop(f"null/node/{NODE}")
        )
        await world.until(lambda: f"null/node/{NODE}" in world.objects)


async def test_a_link_that_carries_the_renewal_of_the_lease_gets_no_lease(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime(), connected=False, lease_period_s=0.01) as world:
        await world.connect(frozenset({Capability.BEATS}))
        await world.until(lambda: world.asked("insert", f"null/node/{NODE}"))
        assert await world.works()
        assert not [request for request in world.requests if "/lease/" in request.resource]
        await world.disconnect()
        await world.connect()
        await world.until(lambda: world.asked("update", f"kube-node-lease/lease/{NODE}"))


class HangingRuntime(HollowRuntime):
    """Does not say its version until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()

    async def version(self) -> RuntimeVersion:
        self.asked.set()
        await self.may_answer.wait()
        return await super().version()


async def test_edged_does_its_work_unless_the_runtime_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(under_test, "TURN_S", 0.02)
    lease = f"kube-node-lease/lease/{NODE}"
    runtime, clock = HangingRuntime(), HandClock()
    async with edge(tmp_path, runtime, clock=clock, lease_period_s=0.01) as world:
        await runtime.asked.wait()
        assert await world.works()
        await world.until(lambda: world.asked("update", lease))
        clock.seconds += under_test.STUCK_AFTER_S
        assert not await world.works(timeout_s=0.02)
        renewed = len(world.asked("update", lease))
        await eventually(lambda: "its lease is not renewed" in caplog.text)
        assert len(world.asked("update", lease)) <= renewed + 1  # one may have been under way
        runtime.may_answer.set()
        await world.until(lambda: len(world.asked("update", lease)) > renewed + 1)
        assert await world.works()


@pytest.mark.parametrize(
    ("resource", "content"),
    [
        ("default/pod/web", "no object"),
        ("default/pod/web", {"metadata": {"name": "web"}}),
        ("default/pod/web", {"metadata": {"uid": "u"}}),
        ("nonsense", {}),
        ("node/connection", 7),
        (f"null/node/{NODE}", 7),
    ],
)
async def test_a_message_that_cannot_be_used_is_counted_and_the_next_one_is(
    tmp_path: Path, resource: str, content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.push(Operation.UPDATE, resource, content)
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
    assert "cannot be used" in caplog.text


async def test_a_pod_of_another_node_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("theirs", nodeName="n2"))
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        assert world.status("theirs")["phase"] == "Pending"
    assert "another node" in caplog.text


async def test_a_stored_pod_that_cannot_be_used_keeps_none_from_running(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nameless = {"kind": "Pod", "metadata": {"uid": "u"}, "spec": {"nodeName": NODE}}
    async with edge(tmp_path, HollowRuntime()) as world:
        unusable: list[Any] = ["no pod", nameless]
        world.stored = [*unusable, pod_object("web")]
        world.objects["default/pod/web"] = pod_object("web")
        await world.until(lambda: running(world))
    assert caplog.text.count("cannot be used") == 2


async def test_a_pod_that_the_node_has_no_room_for_fails_and_never_runs(tmp_path: Path) -> None:
    huge = container("c", resources={"requests": {"cpu": "100000"}})
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("web", containers=[huge]))
        await world.until(lambda: world.status("web").get("phase") == "Failed")
        status = world.status("web")
        assert status["reason"] == "OutOfcpu"
        assert status["message"].startswith("Pod was rejected: Node didn't have enough resource:")
        assert await world.edged._runtime.list_pods() == []
        assert await world.until(lambda: [r for r in world.requests if b"OutOfcpu" in r.data()])


async def test_a_pod_that_runs_keeps_its_place_whatever_the_node_has_become(
    tmp_path: Path,
) -> None:
    started = {"phase": "Running", "startTime": "2026-11-24T00:00:00Z"}
    huge = container("c", resources={"requests": {"cpu": "100000"}})
    pod = pod_object("web", containers=[huge]) | {"status": started}
    async with edge(tmp_path, HollowRuntime(), stored=[pod]) as world:
        await world.until(lambda: running(world))


async def test_a_pod_that_takes_over_gets_the_port_of_the_one_that_goes(tmp_path: Path) -> None:
    ports = [{"containerPort": 80, "hostPort": 8080}]

    def one(uid: str) -> dict[str, Any]:
        return pod_object("web", uid, containers=[container("c", ports=ports)])

    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(one("u1"))
        await world.until(lambda: running(world))
        await world.put(one("u2"))
        await world.until(lambda: "u2.c.0" in str(world.container("web")))
        await world.put(pod_object("other", containers=[container("c", ports=ports)]))
        await world.until(lambda: world.status("other").get("reason") == "NodePorts")


@pytest.mark.usefixtures("_sure_at_once")
async def test_what_nobody_knows_is_ended_whenever_it_comes_to_light(tmp_path: Path) -> None:
    runtime = FaultyRuntime()
    async with edge(tmp_path, runtime) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        runtime.fault = AWAY
        world.edged._housekeeping.begin()
        for uid in map(UID, ("uid-1", "uid-2")):
            await runtime.run_sandbox(SandboxConfig(uid, "default", "x", 0, tmp_path / "x"))
            runtime.fault = None
            world.edged._housekeeping.begin()
            await eventually(lambda: len(runtime._pods) == 1)
        assert running(world)


def manifest(folder: Path, name: str, **spec: Any) -> Path:
    """Write the manifest of a static pod; return the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container("c")]} | spec,
    }
    path.write_text(json.dumps(pod))
    return path


def look(world: World) -> None:
    """Have the manifests looked at now, and not only after seconds."""
    assert world.edged._manifests is not None
    world.edged._manifests.wake()


async def test_a_static_pod_runs_without_a_cloud_and_is_shown_by_its_mirror(
    tmp_path: Path,
) -> None:
    folder, runtime, name = tmp_path / "manifests", HollowRuntime(), f"web-{NODE}"
    file = manifest(folder, "web")
    async with edge(tmp_path, runtime, connected=False, static_pods_dir=folder) as world:
        world.gives_uids = True
        await eventually(lambda: any(p.containers for p in runtime._pods.values()))
        assert world.objects == {}
        await world.connect()
        await world.until(lambda: running(world, name))
        mirror = world.objects[f"default/pod/{name}"]
        assert mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"]
        assert mirror["metadata"]["uid"] not in runtime._pods  # it is not run itself
        # Somebody deletes the mirror: the pod runs on, and is shown again.
        await world.delete(name, graceful=False)
        await world.until(lambda: running(world, name))
        assert len(runtime._pods) == 1
        file.unlink()
        look(world)
        await eventually(lambda: runtime._pods == {})
        await world.until(lambda: world.asked("delete", f"default/pod/{name}"))


async def test_a_static_pod_ends_once_all_manifests_are_understood(tmp_path: Path) -> None:
    folder, runtime = tmp_path / "manifests", HollowRuntime()
    file, other = manifest(folder, "web"), manifest(folder, "other")
    async with edge(tmp_path, runtime, static_pods_dir=folder) as world:
        world.gives_uids = True
        await world.until(lambda: running(world, f"web-{NODE}") and running(world, f"other-{NODE}"))
        uids = set(runtime._pods)
        file.unlink()
        other.write_text("{")
        look(world)
        await eventually(lambda: not world.edged._static.complete)
        assert set(runtime._pods) == uids
        manifest(folder, "other")
        look(world)
        await eventually(lambda: len(runtime._pods) == 1)
        assert world.edged._static.complete


async def test_a_manifest_that_is_back_before_its_pod_has_ended_is_run_again(
    tmp_path: Path,
) -> None:
    folder, runtime = tmp_path / "manifests", FaultyRuntime()
    file = manifest(folder, "web")
    async with edge(tmp_path, runtime, static_pods_dir=folder) as world:
        world.gives_uids = True
        await world.until(lambda: running(world, f"web-{NODE}"))
        [worker] = world.edged._pods.workers.values()
        text = file.read_text()
        runtime.fault = AWAY  # so that it cannot end at once
        file.unlink()
        look(world)
        await eventually(lambda: worker.has_vanished)
        file.write_text(text)
        look(world)
        await eventually(lambda: world.edged._static.pods)
        runtime.fault = None
        await eventually(lambda: world.edged._pods.workers.get(worker.uid) not in {None, worker})
        await eventually(lambda: worker.uid in runtime._pods)


@pytest.mark.usefixtures("_sure_at_once")
async def test_what_may_be_a_static_pod_runs_on_while_a_manifest_is_broken(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "manifests"
    file = manifest(folder, "web")
    async with edge(tmp_path, processes(tmp_path), static_pods_dir=folder) as world:
        world.gives_uids = True
        await world.until(lambda: running(world, f"web-{NODE}"))
    process = pid_of(tmp_path)
    file.write_text("{")
    async with edge(tmp_path, processes(tmp_path), static_pods_dir=folder) as world:
        world.gives_uids = True
        await world.put(pod_object("stray"))
        await world.until(lambda: running(world, "stray"))
        await eventually(lambda: world.edged._pods.is_loaded)
        await world.edged._end_orphans()
        assert len(world.edged._pods.workers) == 1
        assert Path(f"/proc/{process}").exists()
        file.unlink()
        look(world)
        await eventually(lambda: world.edged._static.complete)
        await world.edged._end_orphans()
        await eventually(lambda: len(list((tmp_path / "process").iterdir())) == 1)
