"""What a container needs before it starts: real files and a real bus; runtime and images hollow."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.availability import Availability
from edgecore.edged.containerstatus import Waiting
from edgecore.edged.images.imagepuller import ImagePuller
from edgecore.edged.podservices import PodServices
from edgecore.edged.reconcile import StartContainer
from edgecore.edged.runtime.base import PodObservation
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig
from edgecore.edged.spec.containerspec import NodeSetup
from edgecore.edged.spec.fields import NodeView
from edgecore.edged.starter import Starter
from edgecore.edged.volumes import volumewriter
from edgecore.edged.volumes.mounts import Mounter
from edgecore.edged.volumes.podfiles import pod_files
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.fakeimages import FakeImages
from tests.edgecore.edged.world import IP, NODE, config_object, container, eventually, pod_object

IMAGE = "img:1"
GREETING = {
    "name": "GREETING",
    "valueFrom": {"configMapKeyRef": {"name": "web", "key": "greeting"}},
}
REFUSED = RuntimeServiceError("CreatePodSandboxError", "no address is left")
AWAY = RuntimeServiceError(RuntimeServiceError.UNAVAILABLE, "connection refused")
UNREACHABLE = RuntimeServiceError("ErrImagePull", "no such image in the registry")


class Engine(HollowRuntime):
    """A hollow runtime that wants files, notes what it is to make, and may refuse."""

    wants_files = True

    def __init__(self) -> None:
        super().__init__()
        self.refusal: RuntimeServiceError | None = None
        self.made: list[ContainerConfig] = []

    async def run_sandbox(self, config: SandboxConfig) -> str:
        if self.refusal is not None:
            raise self.refusal
        return await super().run_sandbox(config)

    async def create_container(self, uid: UID, config: ContainerConfig) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.made.append(config)
        return await super().create_container(uid, config)


class Site:
    """One pod with a sandbox, and what starts its containers."""

    def __init__(self, b: Bus, folder: Path, pod: dict[str, Any]) -> None:
        self.bus, self.world, self.clock, self.pod = b, b.world, b.clock, pod
        self.engine, self.images = Engine(), FakeImages()
        self.images.add(IMAGE)
        self.events: list[tuple[str, str]] = []
        self.woken = asyncio.Event()
        self.files = pod_files(folder, folder / "logs", pod)
        services = PodServices(
            b.tasks,
            self.engine,
            b.requests,
            b.clock,
            b.link,
            None,  # type: ignore[arg-type] # events are given to whoever made the starter
            folder,
            folder / "logs",
            Availability(b.tasks, self.engine, self.woken.set),
            lambda: NodeSetup(NodeView(NODE, IP), 2**30),
            Mounter(),
            ImagePuller(b.tasks, self.images, b.clock),
        )
        self.starter = Starter(services, self.files, self.woken.set, self._event)

    def _event(self, _kind: str, reason: str, _message: str, name: str) -> None:
        self.events.append((reason, name))

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.events]

    async def observed(self) -> PodObservation:
        found = await self.engine.pod(self.pod["metadata"]["uid"])
        assert found is not None
        return found

    async def start(self, number: int = 0, attempt: int = 0) -> bool:
        """Start one of the pod's containers."""
        action = StartContainer(self.pod["spec"]["containers"][number], attempt)
        return await self.starter.start(self.pod, await self.observed(), action)

    def environment(self) -> dict[str, str]:
        """What the container that was made last has."""
        return dict(self.engine.made[-1].env)


@asynccontextmanager
async def site(folder: Path, pod: dict[str, Any] | None = None) -> AsyncIterator[Site]:
    async with bus() as b:
        made = Site(b, folder, pod or web_pod())
        assert await made.starter.run_sandbox(made.pod, 0)
        yield made


def one(name: str, **fields: Any) -> dict[str, Any]:
    return container(name, image=IMAGE, **fields)


def web_pod(**spec: Any) -> dict[str, Any]:
    return pod_object("web", **{"containers": [one("c")], "dnsPolicy": "Default"} | spec)


def greeting(text: str, **fields: Any) -> dict[str, Any]:
    return config_object("ConfigMap", "web", greeting=text) | fields


def shown_pod(**spec: Any) -> dict[str, Any]:
    """A pod that shows the ConfigMap ``web`` in a volume and in a variable."""
    volumes = [{"name": "v", "configMap": {"name": "web"}}]
    return web_pod(containers=[one("c", env=[GREETING])], volumes=volumes, **spec)


async def test_a_container_is_started_and_its_id_is_there_for_its_hook(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        assert await s.start()
        assert s.starter.started == {"uid-web.c.0"}
        assert s.engine.made[0].image_id == "sha256:id-img:1"
        assert s.reasons() == ["Pulled", "Created", "Started"]
        assert s.starter.waiting == {}


async def test_a_start_that_the_runtime_has_forgotten_counts_by_its_log(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        logs = s.files.log_dir / "c"
        logs.mkdir(parents=True)
        (logs / "4.log").touch()
        assert await s.start(attempt=1)
        assert s.engine.made[-1].attempt == 5
        assert s.engine.made[-1].log_path == logs / "5.log"
        # What the runtime knows is not asked of the logs.
        assert await s.start(attempt=1)
        assert s.engine.made[-1].attempt == 1


async def test_no_image_is_pulled_for_a_pod_that_lacks_a_volume(tmp_path: Path) -> None:
    async with site(tmp_path, shown_pod()) as s:
        s.images.here.clear()
        assert not await s.start()
        assert s.starter.waiting["c"].reason == "ContainerCreating"
        assert 'configmap "web" not found' in s.starter.waiting["c"].message
        assert s.reasons() == ["FailedMount"]
        s.world.objects["default/configmap/web"] = greeting("hi")
        s.starter.changed()
        assert not await s.start()
        await s.images.until_pulls(1)
        volume = s.files.pod_dir / "volumes/kubernetes.io~configmap/v/greeting"
        assert volume.read_text() == "hi"


async def test_a_pull_is_not_waited_for_and_says_when_it_is_through(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.images.here.clear()
        s.images.gate.clear()
        assert not await s.start()
        assert s.starter.waiting == {}
        s.images.gate.set()
        await s.woken.wait()
        assert await s.start()
        assert s.reasons() == ["Pulling", "Pulled", "Created", "Started"]


async def test_why_an_image_could_not_be_had_stands_there_while_it_is_pulled_again(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as s:
        s.images.here.clear()
        s.images.refusal = lambda _reference, _auth: UNREACHABLE
        assert not await s.start()
        await s.woken.wait()
        assert not await s.start()
        failed = s.starter.waiting["c"]
        assert failed.reason == "ErrImagePull"
        assert not await s.start()
        s.clock.seconds += 1000
        s.images.gate.clear()
        assert not await s.start()
        await s.images.until_pulls(2)
        assert s.starter.waiting["c"] == failed
        s.images.gate.set()


async def test_what_failed_waits_and_is_tried_at_once_after_a_change(tmp_path: Path) -> None:
    async with site(tmp_path, web_pod(containers=[one("c", env=[GREETING])])) as s:
        assert not await s.start()
        lacks = Waiting("CreateContainerConfigError", 'configmap "web" not found')
        assert s.starter.waiting["c"] == lacks
        s.world.objects["default/configmap/web"] = greeting("hi")
        assert not await s.start()  # not yet
        assert len(s.world.asked("query", "default/configmap/web")) == 1
        s.starter.changed()
        assert await s.start()
        assert s.environment()["GREETING"] == "hi"


async def test_what_was_held_and_is_not_any_more_is_due(tmp_path: Path) -> None:
    async with site(tmp_path, web_pod(containers=[one("c", env=[GREETING])])) as s:
        began_s = s.clock.monotonic()
        await s.start()
        [pause_s] = s.starter.pauses_s(began_s)
        assert pause_s > 0
        # It was looked at too early, and the rest of that work took long.
        s.clock.seconds += 10
        [pause_s] = s.starter.pauses_s(began_s)
        assert pause_s < 0
        # Whoever begins now finds it free.
        assert list(s.starter.pauses_s(s.clock.monotonic())) == []


async def test_a_refused_sandbox_is_said_and_tried_again_later(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.engine.refusal = REFUSED
        assert not await s.starter.run_sandbox(s.pod, 1)
        assert s.starter.sandbox_problem == "no address is left"
        assert s.reasons() == ["FailedCreatePodSandBox"]
        s.engine.refusal = None
        assert not await s.starter.run_sandbox(s.pod, 1)  # not yet
        s.clock.seconds += 60
        assert await s.starter.run_sandbox(s.pod, 1)
        assert s.starter.sandbox_problem == ""


async def test_a_pod_that_asks_for_what_cannot_be_done_gets_no_sandbox(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.pod["spec"]["runtimeClassName"] = "gvisor"
        assert not await s.starter.run_sandbox(s.pod, 1)
        assert "gvisor" in s.starter.sandbox_problem


async def test_that_the_runtime_is_away_is_not_the_pods_fault(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.engine.refusal = AWAY
        with pytest.raises(RuntimeServiceError, match="refused"):
            await s.starter.run_sandbox(s.pod, 1)
        with pytest.raises(RuntimeServiceError, match="refused"):
            await s.start()
        assert (s.starter.waiting, s.starter.sandbox_problem) == ({}, "")
        assert s.reasons() == ["Pulled"]
        s.engine.refusal = None
        assert await s.start()


async def test_a_container_that_the_runtime_refuses_waits_in_its_words(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.engine.refusal = RuntimeServiceError("CreateContainerError", "name is reserved")
        assert not await s.start()
        assert s.starter.waiting["c"] == Waiting("CreateContainerError", "name is reserved")
        assert s.starter.started == set()


async def test_an_immutable_object_stays_what_it_was_until_the_pod_has_ended(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, shown_pod()) as s:
        s.world.objects["default/configmap/web"] = greeting("first", immutable=True)
        assert await s.start()
        s.starter.rest()
        s.world.objects["default/configmap/web"] = greeting("made anew", immutable=True)
        s.starter.changed()
        assert await s.start(attempt=1)
        assert s.environment()["GREETING"] == "first"
        s.starter.leave()
        s.starter.changed()
        assert await s.start(attempt=2)
        assert s.environment()["GREETING"] == "made anew"


async def test_the_hosts_file_is_written_once_for_a_sandbox(tmp_path: Path) -> None:
    pod = web_pod(containers=[one("a"), one("b")])
    async with site(tmp_path, pod) as s:
        assert await s.start()
        assert s.files.hosts_path.read_text()
        s.files.hosts_path.write_text("as a container wants it")
        assert await s.start(1)
        assert s.files.hosts_path.read_text() == "as a container wants it"
        assert await s.starter.run_sandbox(s.pod, 1)
        assert await s.start()
        assert s.files.hosts_path.read_text() != "as a container wants it"


async def test_the_hosts_file_follows_the_pods_address(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        for address in ("10.0.0.1", "10.0.0.2"):
            observed = replace(await s.observed(), ips=(address,))
            action = StartContainer(s.pod["spec"]["containers"][0], 0)
            assert await s.starter.start(s.pod, observed, action)
            assert address in s.files.hosts_path.read_text()


async def test_running_containers_get_the_new_when_there_is_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, shown_pod()) as s:
        s.world.objects["default/configmap/web"] = greeting("old")
        assert await s.start()
        file = s.files.pod_dir / "volumes/kubernetes.io~configmap/v/greeting"
        s.world.objects["default/configmap/web"] = greeting("new")

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(volumewriter, "set_up", full)
            s.starter.changed()
            await s.starter.keep_volumes(s.pod)
        assert s.reasons()[-1] == "FailedMount"
        await s.starter.keep_volumes(s.pod)  # not yet
        assert file.read_text() == "old"
        s.clock.seconds += 60
        await s.starter.keep_volumes(s.pod)
        assert file.read_text() == "new"


async def test_a_token_that_is_due_does_not_hurry_what_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    pod = web_pod(volumes=[{"name": "t", "projected": {"sources": [source]}}])
    async with site(tmp_path, pod) as s:
        assert await s.start()
        s.clock.seconds += 3600
        assert 0.0 in s.starter.pauses_s(s.clock.monotonic())
        monkeypatch.setattr("edgecore.edged.volumes.podvolumes.TIMEOUT_S", 0.0)
        s.world.hold = lambda _: True
        began_s = s.clock.monotonic()
        await s.starter.keep_volumes(s.pod)
        assert min(s.starter.pauses_s(began_s)) > 0


async def test_a_request_can_be_let_go_more_than_once(tmp_path: Path) -> None:
    async with site(tmp_path, shown_pod()) as s:
        s.world.hold = lambda _: True
        starting = s.bus.tasks.create_task(s.start())
        await s.world.until(lambda: s.world.asked("query", "default/configmap/web"))
        while not starting.done():  # what is cancelled needs some turns of the loop
            s.starter.hurry()
            await asyncio.sleep(0)
        assert starting.result() is False


async def test_who_asks_for_a_pull_secret_can_be_hurried_too(tmp_path: Path) -> None:
    async with site(tmp_path, web_pod(imagePullSecrets=[{"name": "reg"}])) as s:
        s.world.hold = lambda request: "secret" in request.resource
        starting = s.bus.tasks.create_task(s.start())
        await s.world.until(lambda: s.world.asked("query", "default/secret/reg"))
        s.starter.hurry()
        assert await starting is False
        assert s.engine.made == []


async def test_who_leaves_needs_no_image_and_keeps_no_files(tmp_path: Path) -> None:
    async with site(tmp_path, shown_pod()) as s:
        s.world.objects["default/configmap/web"] = greeting("hi")
        s.images.here.clear()
        s.images.gate.clear()
        assert not await s.start()
        await s.images.until_pulls(1)
        s.starter.leave()
        await eventually(lambda: s.images.going_on == 0)
        await s.starter.tear_down()
        assert not s.files.pod_dir.exists()
