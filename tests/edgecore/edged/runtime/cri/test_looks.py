"""Looking at pods with few calls: the client and its socket are real, the engine is a fake."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from common.names import UID
from edgecore.edged.runtime.base import ContainerState
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods
from edgecore.edged.runtime.cri.refusals import EngineError
from edgecore.edged.runtime.cri.runtime import CriRuntime
from tests.edgecore.edged.runtime.cri.engines import FOREVER, Pod, runtime_on
from tests.edgecore.edged.runtime.cri.fakecri import FakeCri, fake_cri


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeCri]:
    async with fake_cri(tmp_path) as engine:
        yield engine


@pytest.fixture
async def runtime(engine: FakeCri) -> AsyncIterator[CriRuntime]:
    async with runtime_on(engine.endpoint) as runtime:
        yield runtime


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def calls_of(engine: FakeCri) -> list[str]:
    calls = sorted(engine.calls)
    engine.calls.clear()
    return calls


async def test_a_second_look_costs_two_lists(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    container_id = await pod.run(runtime, *FOREVER)
    first = await pod.seen(runtime)
    calls_of(engine)
    assert await pod.seen(runtime) == first
    assert calls_of(engine) == ["ListContainers", "ListPodSandbox"]
    engine.end(container_id, 1)
    ended = await pod.status(runtime)
    assert ended.state is ContainerState.EXITED
    assert calls_of(engine) == ["ContainerStatus", "ListContainers", "ListPodSandbox"]
    assert await pod.status(runtime) == ended
    assert calls_of(engine) == ["ListContainers", "ListPodSandbox"]


async def test_a_first_look_asks_for_what_lists_do_not_tell(
    engine: FakeCri, runtime: CriRuntime, pod: Pod
) -> None:
    await pod.run(runtime, *FOREVER)
    await pod.seen(runtime)
    calls_of(engine)
    async with runtime_on(engine.endpoint) as other:
        await pod.seen(other)
    assert calls_of(engine) == [
        "ContainerStatus",
        "ListContainers",
        "ListPodSandbox",
        "PodSandboxStatus",
    ]


async def test_all_pods_are_looked_at_with_two_lists(
    runtime: CriRuntime, engine: FakeCri, tmp_path: Path
) -> None:
    pods = [Pod(tmp_path) for _ in range(3)]
    for pod in pods:
        await pod.run(runtime, *FOREVER)
    seen = await runtime.list_pods()
    assert {one.uid for one in seen} == {pod.uid for pod in pods}
    calls_of(engine)
    assert await runtime.list_pods() == seen
    assert calls_of(engine) == ["ListContainers", "ListPodSandbox"]


async def test_what_is_no_kubelets_is_left_alone(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    await pod.run(runtime, *FOREVER)
    for sandbox in engine.sandboxes.values():
        sandbox.config.labels.clear()
    for container in engine.containers.values():
        container.config.labels.clear()
    assert await runtime.list_pods() == []


async def test_what_was_removed_meanwhile_is_not_there(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    await pod.run(runtime, *FOREVER)
    gone = (Status.NOT_FOUND, "gone")
    engine.faults.refusals |= {methods.CONTAINER_STATUS: gone, methods.SANDBOX_STATUS: gone}
    seen = await pod.seen(runtime)
    assert (seen.containers, seen.ips) == ((), ())
    assert len((await pod.seen(runtime)).containers) == 1


@pytest.mark.parametrize("method", [methods.CONTAINER_STATUS, methods.SANDBOX_STATUS])
async def test_an_engine_that_fails_at_looking_is_said_to(
    runtime: CriRuntime, engine: FakeCri, pod: Pod, method: methods.Method[cri.Mount, cri.Mount]
) -> None:
    await pod.run(runtime, *FOREVER)
    engine.faults.refusals[method] = (Status.INTERNAL, "database is damaged")
    with pytest.raises(EngineError, match="damaged"):
        await runtime.pod(pod.uid)


async def test_a_container_that_the_engine_lost_sight_of_is_ended(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    container_id = await pod.run(runtime, *FOREVER)
    engine.containers[container_id].status.state = cri.CONTAINER_UNKNOWN
    status = await pod.status(runtime)
    assert (status.state, status.exit_code) == (ContainerState.EXITED, 137)


async def test_doubt_about_an_end_makes_the_next_look_ask_again(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    container_id = await pod.run(runtime, *FOREVER)
    engine.end(container_id, 137)
    assert (await pod.status(runtime)).reason == "Error"
    engine.containers[container_id].status.reason = "OOMKilled"
    assert (await pod.status(runtime)).reason == "Error"
    runtime._looks.doubt(container_id)
    assert (await pod.status(runtime)).reason == "OOMKilled"


async def test_how_a_sandbox_was_made_is_asked_once(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    await runtime.run_sandbox(pod.sandbox())
    async with runtime_on(engine.endpoint) as other:
        calls_of(engine)
        await other.create_container(pod.uid, pod.container(*FOREVER))
        first = calls_of(engine)
        await other.create_container(pod.uid, pod.container(*FOREVER, attempt=1))
        assert calls_of(engine) == ["CreateContainer"]
    assert first.count("PodSandboxStatus") == 2  # its addresses, and how it was made
    assert (pod.log_dir / "c").is_dir()


async def test_a_pod_that_is_gone_is_not_remembered(runtime: CriRuntime, pod: Pod) -> None:
    await pod.run(runtime, *FOREVER)
    await pod.seen(runtime)
    await runtime.remove_sandbox(pod.uid)
    assert await runtime.pod(pod.uid) is None
    assert await runtime.pod(UID("another")) is None
    assert runtime._looks._pods == {}


async def test_a_pod_that_was_looked_for_and_is_not_there_is_not_looked_for_again(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    assert await runtime.pod(pod.uid) is None
    calls_of(engine)
    await runtime.run_sandbox(pod.sandbox())
    assert calls_of(engine) == ["RunPodSandbox"]


async def test_what_may_be_there_of_a_pod_is_looked_for_before_it_gets_a_sandbox(
    runtime: CriRuntime, engine: FakeCri, pod: Pod
) -> None:
    await runtime.run_sandbox(pod.sandbox())
    assert calls_of(engine) == ["ListContainers", "ListPodSandbox", "RunPodSandbox"]
