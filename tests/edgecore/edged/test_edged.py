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
from common.names import Operation
from common.status import failure
from edgecore.edged import edged as under_test
from edgecore.edged.runtime import keepers
from edgecore.edged.runtime.base import RuntimeVersion
from edgecore.edged.runtime.hollow import HollowRuntime
from tests.edgecore.edged.atwork import container_id, gone, pid_of, processes, running
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.runtime.processes import Signs
from tests.edgecore.edged.world import NODE, config_object, container, edge, eventually, pod_object

ROOT = Path(__file__).parents[3]


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
        # The node's own requests may come in between.
        asked = [r.resource for r in world.requests[first:] if r.resource.endswith("/web")]
        assert asked == ["default/podpatch/web", "default/pod/web"]
        assert world.status("web")["phase"] == "Failed"
        assert world.container("web")["state"]["terminated"]["exitCode"] == 143
        assert list((tmp_path / "process").iterdir())  # its end is to be seen until it is forgotten
        await world.delete("web", graceful=False)
        await gone(tmp_path)


async def test_a_pod_that_is_force_deleted_is_ended_at_once(tmp_path: Path) -> None:
    async with edge(tmp_path, processes(tmp_path)) as world:
        await world.put(pod_object("web"))
        await world.until(lambda: running(world))
        skeleton = {"metadata": {"namespace": "default", "name": "web"}}
        await world.push(Operation.DELETE, "default/pod/web", skeleton)
        await gone(tmp_path)
        assert world.asked("delete", "default/pod/web") == []


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
