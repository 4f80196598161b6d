"""The CRI runtime: the same scenarios on a fake engine and on a real containerd.

The fake has records for containers (see ``fakecri``); real are gRPC, sockets and files. Where
containers cannot run on the machine, the second half is skipped, and says so.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status
from msgspec.structs import replace

from common.errors import ConfigError, RuntimeServiceError
from common.names import UID
from deploy.devcluster.containerd import ContainerEngine
from edgecore.edged.runtime.base import ContainerState, RuntimeVersion
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods, names
from edgecore.edged.runtime.cri.methods import Method
from edgecore.edged.runtime.cri.runtime import CriRuntime
from tests.edgecore.edged.runtime.cri.engines import FOREVER, Pod, remove_all, runtime_on
from tests.edgecore.edged.runtime.cri.fakecri import BUSYBOX, FakeCri, fake_cri

CHANGING = (
    methods.RUN_SANDBOX,
    methods.CREATE_CONTAINER,
    methods.START_CONTAINER,
    methods.STOP_CONTAINER,
    methods.REMOVE_CONTAINER,
    methods.STOP_SANDBOX,
    methods.REMOVE_SANDBOX,
)


@pytest.fixture(params=["fake", pytest.param("containerd", marks=pytest.mark.containers)])
def real(request: pytest.FixtureRequest) -> ContainerEngine | None:
    """Not async: the engine of the session is started by an event loop of its own."""
    if request.param == "fake":
        return None
    engine = request.getfixturevalue("container_engine")
    assert isinstance(engine, ContainerEngine)
    return engine


@pytest.fixture
async def endpoint(real: ContainerEngine | None, tmp_path: Path) -> AsyncIterator[str]:
    if real is not None:
        yield real.endpoint
        return
    async with fake_cri(tmp_path) as engine:
        yield engine.endpoint


@pytest.fixture
async def runtime(endpoint: str) -> AsyncIterator[CriRuntime]:
    async with runtime_on(endpoint) as runtime:
        yield runtime
        await remove_all(runtime)


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeCri]:
    async with fake_cri(tmp_path) as engine:
        yield engine


async def test_a_pod_lives_and_leaves_nothing(runtime: CriRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    assert await runtime.pod(pod.uid) is None
    sandbox_id = await runtime.run_sandbox(pod.sandbox(hostname="web"))
    container_id = await runtime.create_container(pod.uid, pod.container(*FOREVER))
    created = await pod.status(runtime)
    assert (created.state, created.started_at) == (ContainerState.CREATED, None)
    await runtime.start_container(container_id)
    seen = await pod.seen(runtime)
    [running] = seen.containers
    assert (seen.namespace, seen.name, seen.sandbox_id) == ("default", "web", sandbox_id)
    assert (seen.sandbox_ready, seen.sandbox_attempt) == (True, 0)
    assert seen.ips
    assert (running.id, running.name, running.attempt) == (container_id, "c", 0)
    assert (running.state, running.sandbox_id) == (ContainerState.RUNNING, sandbox_id)
    assert (running.image, running.spec_hash) == (BUSYBOX, "hash-0")
    assert running.created_at is not None
    assert running.started_at is not None
    assert running.started_at >= running.created_at
    await runtime.stop_container(container_id, 0)
    ended = await pod.status(runtime)
    assert (ended.state, ended.exit_code, ended.reason) == (ContainerState.EXITED, 137, "Error")
    assert ended.finished_at is not None
    await runtime.remove_container(container_id)
    await runtime.stop_sandbox(pod.uid)
    stopped = await pod.seen(runtime)
    assert (stopped.sandbox_ready, stopped.ips, stopped.containers) == (False, (), ())
    await runtime.remove_sandbox(pod.uid)
    assert await runtime.pod(pod.uid) is None


async def test_an_end_is_heard_of_with_its_message(runtime: CriRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    script = "echo farewell > /dev/termination-log; exit 3"
    await pod.run(runtime, "sh", "-c", script)
    ended = await pod.ended(runtime)
    assert (ended.exit_code, ended.reason, ended.message) == (3, "Error", "farewell\n")


async def test_the_end_of_the_log_stands_for_a_message_where_that_is_wanted(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    await pod.run(runtime, "sh", "-c", "echo from the log; exit 1", termination_from_log=True)
    assert (await pod.ended(runtime)).message == "from the log\n"
    assert "from the log" in (pod.log_dir / "c" / "0.log").read_text()


async def test_a_good_end_needs_no_words(runtime: CriRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    await pod.run(runtime, "sh", "-c", "echo done; exit 0", termination_from_log=True)
    ended = await pod.ended(runtime)
    assert (ended.exit_code, ended.reason, ended.message) == (0, "Completed", "")


async def test_a_command_that_is_not_there_is_refused_in_the_engines_words(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    await runtime.run_sandbox(pod.sandbox())
    with pytest.raises(RuntimeServiceError, match="no-such-thing") as caught:
        await pod.start(runtime, "no-such-thing")
    assert caught.value.reason == "RunContainerError"
    status = await pod.status(runtime)
    assert (status.state, status.exit_code, status.reason) == (
        ContainerState.EXITED,
        128,
        "StartError",
    )
    assert "no-such-thing" in status.message


async def test_a_command_is_run_beside_the_container(runtime: CriRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    container_id = await pod.run(runtime, *FOREVER)
    result = await runtime.exec_sync(container_id, ["sh", "-c", "echo out; exit 4"], 10)
    assert (result.exit_code, result.output) == (4, b"out\n")
    with pytest.raises(TimeoutError, match="within 1 s"):
        await runtime.exec_sync(container_id, ["sleep", "1000"], 0.5)
    await runtime.stop_container(container_id, 0)
    with pytest.raises(RuntimeServiceError, match=r"not running|CONTAINER_EXITED") as caught:
        await runtime.exec_sync(container_id, ["true"], 10)
    assert caught.value.reason == "ExecError"


async def test_another_edgecore_goes_on_where_one_was_killed(
    runtime: CriRuntime, endpoint: str, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    first = await pod.run(runtime, *FOREVER)
    seen = await pod.seen(runtime)
    async with runtime_on(endpoint) as other:
        assert await other.list_pods() == [seen]
        assert await pod.seen(other) == seen
        await other.stop_container(first, 0)
        second = await pod.start(other, *FOREVER, attempt=1)
        states = {c.id: c.state for c in (await pod.seen(other)).containers}
    assert states == {first: ContainerState.EXITED, second: ContainerState.RUNNING}
    assert (pod.log_dir / "c" / "1.log").exists()


async def test_a_sandbox_whose_making_nobody_saw_gives_way(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    lost = await runtime.run_sandbox(pod.sandbox())
    found = await runtime.run_sandbox(pod.sandbox())
    seen = await pod.seen(runtime)
    assert seen.sandbox_id == found != lost
    assert len(await runtime.list_pods()) == 1


async def test_a_container_whose_making_nobody_saw_gives_way(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    await runtime.run_sandbox(pod.sandbox())
    lost = await runtime.create_container(pod.uid, pod.container(*FOREVER))
    found = await runtime.create_container(pod.uid, pod.container(*FOREVER))
    assert (await pod.status(runtime)).id == found != lost


async def test_a_running_container_keeps_its_name(runtime: CriRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    running = await pod.run(runtime, *FOREVER)
    with pytest.raises(RuntimeServiceError, match="is running") as caught:
        await runtime.create_container(pod.uid, pod.container(*FOREVER))
    assert caught.value.reason == "CreateContainerError"
    assert (await pod.status(runtime)).id == running


async def test_containers_of_an_older_sandbox_stay_visible_in_a_new_one(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    old = await pod.run(runtime, *FOREVER)
    old_sandbox = (await pod.seen(runtime)).sandbox_id
    await runtime.stop_sandbox(pod.uid)
    new_sandbox = await runtime.run_sandbox(pod.sandbox(attempt=1))
    new = await pod.start(runtime, *FOREVER, attempt=1)
    seen = await pod.seen(runtime)
    assert (seen.sandbox_id, seen.sandbox_ready, seen.sandbox_attempt) == (new_sandbox, True, 1)
    assert {c.id: (c.sandbox_id, c.state) for c in seen.containers} == {
        old: (old_sandbox, ContainerState.EXITED),
        new: (new_sandbox, ContainerState.RUNNING),
    }


async def test_an_older_sandbox_goes_when_its_containers_have_gone(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    old = await pod.run(runtime, *FOREVER)
    await runtime.stop_sandbox(pod.uid)
    await runtime.remove_container(old)
    await runtime.run_sandbox(pod.sandbox(attempt=1))
    listing = await runtime._looks.listing(pod.uid)
    assert [sandbox.metadata.attempt for sandbox in listing.sandboxes] == [1]


async def test_ending_what_is_gone_is_fine(runtime: CriRuntime) -> None:
    await runtime.stop_container("0" * 64, 0)
    await runtime.remove_container("0" * 64)
    await runtime.stop_sandbox(UID("nobody"))
    await runtime.remove_sandbox(UID("nobody"))


async def test_a_log_that_was_moved_away_goes_on_in_a_new_one(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    container_id = await pod.run(runtime, *FOREVER)
    log = pod.log_dir / "c" / "0.log"
    log.rename(log.with_suffix(".old"))
    await runtime.reopen_log(container_id)
    assert log.exists()


async def test_the_running_containers_are_measured(runtime: CriRuntime, tmp_path: Path) -> None:
    pod, over = Pod(tmp_path), Pod(tmp_path)
    await pod.run(runtime, *FOREVER)
    await runtime.stop_container(await over.run(runtime, *FOREVER), 0)
    [stats] = await runtime.stats()
    [container] = stats.containers
    assert (stats.uid, stats.namespace, stats.name) == (pod.uid, "default", "web")
    assert (container.name, container.memory_working_set > 0) == ("c", True)


async def test_a_stop_that_is_called_off_lets_a_quicker_one_take_over(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    container_id = await pod.run(runtime, *FOREVER)
    async with asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(runtime.stop_container(container_id, 1000))
        await pod.seen(runtime)  # the call before this one has been sent
        slow.cancel()
    await runtime.stop_container(container_id, 0)
    assert (await pod.status(runtime)).state is ContainerState.EXITED


async def test_what_the_engine_knows_of_a_container_is_what_kubelet_looks_for(
    runtime: CriRuntime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    await pod.run(runtime, *FOREVER)
    listing = await runtime._looks.listing(pod.uid)
    [container] = listing.containers
    assert dict(container.labels) == {
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": pod.uid,
        "io.kubernetes.container.name": "c",
    }
    assert dict(container.annotations) == {
        "io.kubernetes.container.hash": names.kubelet_hash("c", "busybox"),
        "io.kubernetes.container.restartCount": "0",
        "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
        "io.kubernetes.container.terminationMessagePolicy": "File",
        "cloudedge.io/spec-hash": "hash-0",
    }


@pytest.mark.containers
async def test_calls_that_are_cut_off_anywhere_leave_one_of_each(
    container_engine: ContainerEngine, tmp_path: Path
) -> None:
    """On containerd only: what it does after a caller hung up is its own affair."""
    pod = Pod(tmp_path)
    for cut_s in (0.0, 0.005, 0.02, 0.05, 0.1, 0.2):
        async with runtime_on(container_engine.endpoint) as cut_off:
            try:
                async with asyncio.timeout(cut_s):
                    await pod.run(cut_off, *FOREVER)
            except (TimeoutError, RuntimeServiceError):
                pass
        async with runtime_on(container_engine.endpoint) as runtime:
            await until_it_works(runtime, pod)
            [seen] = await runtime.list_pods()
            [container] = seen.containers
            assert (seen.sandbox_ready, container.state) == (True, ContainerState.RUNNING)
            await remove_all(runtime)


async def until_it_works(runtime: CriRuntime, pod: Pod) -> None:
    """Do what a pod worker does, as often as it is refused."""
    while True:
        try:
            seen = await runtime.pod(pod.uid)
            if seen is None or not seen.sandbox_ready:
                await runtime.run_sandbox(pod.sandbox(seen.sandbox_attempt + 1 if seen else 0))
                continue
            if not any(c.state is ContainerState.RUNNING for c in seen.containers):
                for container in seen.containers:
                    await runtime.remove_container(container.id)
                await pod.start(runtime, *FOREVER)
        except RuntimeServiceError:
            continue
        return


@pytest.mark.parametrize("method", CHANGING, ids=lambda m: m.path.rpartition("/")[2])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_connection_that_breaks_at_any_call_is_made_up_for(
    fake: FakeCri, tmp_path: Path, method: Method[cri.Container, cri.Container], moment: str
) -> None:
    pod = Pod(tmp_path)
    (fake.faults.cuts_before if moment == "before" else fake.faults.cuts_after).add(method)
    refused: list[str] = []
    async with runtime_on(fake.endpoint) as runtime:
        while await runtime.pod(pod.uid) is not None or not refused:
            try:
                await until_it_works_once(runtime, pod)
            except RuntimeServiceError as error:
                refused.append(error.reason)
    assert refused == ["RuntimeUnavailable"]
    assert (fake.sandboxes, fake.containers) == ({}, {})


async def until_it_works_once(runtime: CriRuntime, pod: Pod) -> None:
    """Start the pod, if it does not run, and end it."""
    seen = await runtime.pod(pod.uid)
    if seen is None or not seen.sandbox_ready:
        await runtime.run_sandbox(pod.sandbox())
    seen = await pod.seen(runtime)
    running = [c for c in seen.containers if c.state is ContainerState.RUNNING]
    container_id = running[0].id if running else await pod.start(runtime, *FOREVER)
    await runtime.stop_container(container_id, 0)
    await runtime.remove_container(container_id)
    await runtime.stop_sandbox(pod.uid)
    await runtime.remove_sandbox(pod.uid)


async def test_an_engine_that_is_away_is_said_to_be_and_found_again(
    fake: FakeCri, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    async with runtime_on(fake.endpoint) as runtime:
        await pod.run(runtime, *FOREVER)
        seen = await pod.seen(runtime)
        await fake.stop()
        with pytest.raises(RuntimeServiceError, match="cannot be reached") as caught:
            await runtime.version()
        assert caught.value.reason == "RuntimeUnavailable"
        await fake.start()
        assert await pod.seen(runtime) == seen


async def test_an_engine_that_cannot_work_says_why(fake: FakeCri) -> None:
    async with runtime_on(fake.endpoint) as runtime:
        assert await runtime.version() == RuntimeVersion("fakerd", "1.2.3")
        assert runtime.scheme == "fakerd"
        fake.conditions[1] = cri.RuntimeCondition(
            type="NetworkReady", reason="NetworkPluginNotReady", message="no network config found"
        )
        with pytest.raises(RuntimeServiceError, match="no network config found") as caught:
            await runtime.version()
    assert caught.value.reason == "NetworkPluginNotReady"


async def test_reasons_are_those_of_kubelet(fake: FakeCri, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    fake.faults.refusals[methods.RUN_SANDBOX] = (Status.UNKNOWN, "no address left")
    fake.faults.refusals[methods.STOP_CONTAINER] = (Status.INTERNAL, "it will not die")
    async with runtime_on(fake.endpoint) as runtime:
        with pytest.raises(RuntimeServiceError, match="no address left") as caught:
            await runtime.run_sandbox(pod.sandbox())
        assert caught.value.reason == "CreatePodSandboxError"
        container_id = await pod.run(runtime, *FOREVER)
        with pytest.raises(RuntimeServiceError, match="it will not die") as caught:
            await runtime.stop_container(container_id, 1)
        assert caught.value.reason == "KillContainerError"


async def test_a_container_needs_a_sandbox(fake: FakeCri, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with runtime_on(fake.endpoint) as runtime:
        with pytest.raises(RuntimeServiceError, match="has no sandbox") as caught:
            await runtime.create_container(pod.uid, pod.container(*FOREVER))
        assert caught.value.reason == "CreateContainerError"
        await runtime.run_sandbox(pod.sandbox())
        fake.sandboxes.clear()
        with pytest.raises(RuntimeServiceError, match="failed to find sandbox") as caught:
            await runtime.create_container(pod.uid, pod.container(*FOREVER))
        assert caught.value.reason == "CreateContainerError"


async def test_log_directories_can_be_read_by_who_collects_logs_at_any_umask(
    fake: FakeCri, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    old = os.umask(0o077)
    try:
        async with runtime_on(fake.endpoint) as runtime:
            await runtime.run_sandbox(pod.sandbox())
            await runtime.create_container(pod.uid, pod.container(*FOREVER))
    finally:
        os.umask(old)
    for folder in (pod.log_dir, pod.log_dir / "c"):
        assert folder.stat().st_mode & 0o777 == 0o755


async def test_a_log_directory_that_cannot_be_made_is_said_to_be(
    fake: FakeCri, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    sandbox = replace(Pod(tmp_path).sandbox(), log_dir=tmp_path / "file" / "logs")
    async with runtime_on(fake.endpoint) as runtime:
        with pytest.raises(RuntimeServiceError, match="Not a directory") as caught:
            await runtime.run_sandbox(sandbox)
    assert caught.value.reason == "CreatePodSandboxError"


async def test_the_lone_container_of_a_lost_sandbox_is_removed_too(
    fake: FakeCri, tmp_path: Path
) -> None:
    pod = Pod(tmp_path)
    async with runtime_on(fake.endpoint) as runtime:
        await pod.run(runtime, *FOREVER)
        fake.sandboxes.clear()
        seen = await pod.seen(runtime)
        assert (seen.sandbox_id, seen.sandbox_ready, seen.name) == ("", False, "web")
        await runtime.remove_sandbox(pod.uid)
        assert await runtime.pod(pod.uid) is None


async def test_the_output_of_a_command_is_cut(fake: FakeCri, tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with runtime_on(fake.endpoint) as runtime:
        container_id = await pod.run(runtime, *FOREVER)
        result = await runtime.exec_sync(container_id, ["sh", "-c", f"echo {'x' * 100_000}"], 1)
    assert re.fullmatch(b"x{16384}", result.output)


def test_an_endpoint_is_a_socket_on_this_machine() -> None:
    with pytest.raises(ConfigError, match="tcp://"):
        CriRuntime("tcp://127.0.0.1:1")
