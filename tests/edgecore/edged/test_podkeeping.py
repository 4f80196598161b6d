"""Which pods there are: a real bus, processes and files; the world stands for all the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.names import UID, Operation
from edgecore.edged import orphans
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.spec import SandboxConfig
from tests.edgecore.edged.atwork import gone, pid_of, processes, running
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.faulty import AWAY, FaultyRuntime
from tests.edgecore.edged.runtime.processes import Signs
from tests.edgecore.edged.world import NODE, World, container, edge, eventually, pod_object


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
        await eventually(lambda: world.edged._keeping._orphans._ending[UID("uid-old")])
        runtime.fault = None
        await world.until(
            lambda: any(p.containers for u, p in runtime._pods.items() if u == "uid-old")
        )


async def test_a_pod_of_another_node_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("theirs", nodeName="n2"))
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        assert world.status("theirs")["phase"] == "Pending"
    assert "another node" in caplog.text


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
        await eventually(lambda: not world.edged._keeping._static.complete)
        assert set(runtime._pods) == uids
        manifest(folder, "other")
        look(world)
        await eventually(lambda: len(runtime._pods) == 1)
        assert world.edged._keeping._static.complete


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
        await eventually(lambda: world.edged._keeping._static.pods)
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
        await eventually(lambda: world.edged._keeping._static.complete)
        await world.edged._end_orphans()
        await eventually(lambda: len(list((tmp_path / "process").iterdir())) == 1)
