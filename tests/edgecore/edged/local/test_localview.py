"""What the local endpoint sees: a whole edged with the process runtime, or a hollow one."""

from pathlib import Path

import pytest

from common.clock import Clock
from common.names import UID
from edgecore.edged.edged import Edged
from edgecore.edged.local.localroutes import Target
from edgecore.edged.local.localservice import NotHereError
from edgecore.edged.local.localview import EdgedView
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.process import ProcessRuntime
from tests.edgecore.edged.runtime.processes import Signs
from tests.edgecore.edged.world import World, container, edge, pod_object

HERE, ELSEWHERE = Target("default", "web", "c"), Target("default", "web", "d")


def view_of(edged: Edged, folder: Path) -> EdgedView:
    return EdgedView(edged._pods, edged._runtime, Clock(), folder)


async def until_running(world: World) -> None:
    await world.until(lambda: world.container("web")["state"].get("running"))


async def test_pods_are_shown_with_the_status_that_the_cloud_gets(tmp_path: Path) -> None:
    async with edge(tmp_path, HollowRuntime()) as world:
        await world.put(pod_object("web"))
        await until_running(world)
        [pod] = await view_of(world.edged, tmp_path).pods()
    assert pod["metadata"]["name"] == "web"
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["qosClass"] == "BestEffort"


async def test_a_command_runs_in_the_newest_container_and_its_log_is_found(
    tmp_path: Path, signs: Signs
) -> None:
    script = f"echo up; echo up > {signs.path}; exec sleep 1000"
    runtime = ProcessRuntime(tmp_path / "process", mount=False)
    async with edge(tmp_path, runtime) as world:
        await world.put(pod_object("web", containers=[container("c", "sh", "-c", script)]))
        await signs.next()
        await until_running(world)
        view = view_of(world.edged, tmp_path)
        result = await view.execute(HERE, ["echo", "hi"], 30)
        assert (result.exit_code, result.output) == (0, b"hi\n")
        [log] = await view.log_files(HERE, previous=False)
        assert log == tmp_path / "logs/pods/default_web_uid-web/c/0.log"
        with pytest.raises(NotHereError, match="once only"):
            await view.log_files(HERE, previous=True)
        with pytest.raises(NotHereError, match="no container d of a pod default/web"):
            await view.execute(ELSEWHERE, ["echo"], 1)
        sample = await view.sample()
    assert sample.starts.keys() == {(UID("uid-web"), "c")}
