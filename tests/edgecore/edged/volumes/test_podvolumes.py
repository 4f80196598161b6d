"""What a pod names, and its volumes: real files and a real bus; the runtime is hollow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgecore.edged.availability import Availability
from edgecore.edged.dependencies import Dependencies
from edgecore.edged.patience import Patience
from edgecore.edged.podservices import PodServices
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.spec.containerspec import NodeSetup
from edgecore.edged.spec.fields import NodeView
from edgecore.edged.volumes.mounts import Mounter
from edgecore.edged.volumes.podfiles import pod_files
from edgecore.edged.volumes.podvolumes import PodVolumes
from edgecore.edged.volumes.volumes import VolumeError
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.world import IP, NODE, config_object, pod_object

STORED = "default/configmap/web"
TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}


class FileRuntime(HollowRuntime):
    """Has no containers, and wants files for them."""

    wants_files = True


def shown_pod(*more: dict[str, Any]) -> dict[str, Any]:
    return pod_object("web", volumes=[{"name": "v", "configMap": {"name": "web"}}, *more])


class Site:
    """A pod and its volumes."""

    def __init__(self, b: Bus, folder: Path, pod: dict[str, Any]) -> None:
        self.world, self.clock, self.tasks, self.pod = b.world, b.clock, b.tasks, pod
        runtime = FileRuntime()
        services = PodServices(
            b.tasks,
            runtime,
            b.requests,
            b.clock,
            b.link,
            None,  # type: ignore[arg-type] # there is nothing to tell of
            folder,
            folder / "logs",
            Availability(b.tasks, runtime, lambda: None),
            lambda: NodeSetup(NodeView(NODE, IP), 2**30),
            Mounter(),
        )
        self.files, self.patience = pod_files(folder, folder / "logs", pod), Patience()
        dependencies = Dependencies(b.requests, b.clock)
        self.volumes = PodVolumes(services, self.files, dependencies, self.patience)

    def store(self, text: str, **fields: Any) -> None:
        self.world.objects[STORED] = config_object("ConfigMap", "web", greeting=text) | fields

    def shown(self) -> str:
        return (self.volumes.paths["v"] / "greeting").read_text()


@asynccontextmanager
async def site(folder: Path, *more: dict[str, Any]) -> AsyncIterator[Site]:
    async with bus() as b:
        yield Site(b, folder, shown_pod(*more))


async def test_what_the_pod_names_is_fetched_and_shown_until_it_changes(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.store("old")
        assert (s.volumes.are_ready, s.volumes.are_due) == (False, True)
        await s.volumes.prepare(s.pod)
        assert (s.volumes.are_ready, s.volumes.are_due) == (True, False)
        assert s.shown() == "old"
        s.store("new")
        s.volumes.outdated()
        assert (s.volumes.are_ready, s.volumes.are_due) == (False, True)
        await s.volumes.prepare(s.pod)
        assert s.shown() == "new"


async def test_what_was_fetched_is_forgotten_and_the_volumes_stay(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.store("hi")
        await s.volumes.prepare(s.pod)
        s.volumes.rest()
        assert s.volumes.objects is None
        assert (s.volumes.are_ready, s.volumes.are_due) == (False, False)
        assert s.shown() == "hi"


async def test_volumes_with_a_token_are_due_again_before_it_expires(tmp_path: Path) -> None:
    async with site(tmp_path, {"name": "t", "projected": {"sources": [TOKEN]}}) as s:
        s.store("hi")
        await s.volumes.prepare(s.pod)
        assert not s.volumes.are_due
        s.clock.seconds += 3600
        assert s.volumes.are_due


async def test_an_immutable_object_stays_what_it_was_until_all_is_left(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.store("first", immutable=True)
        await s.volumes.prepare(s.pod)
        s.store("made anew", immutable=True)
        await s.volumes.prepare(s.pod)
        assert s.shown() == "first"
        s.volumes.leave()
        await s.volumes.prepare(s.pod)
        assert s.shown() == "made anew"


async def test_what_cannot_be_had_at_once_is_not_waited_for_in_a_hurry(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.world.hold = lambda _: True

        async def prepare() -> None:
            with pytest.raises(VolumeError):
                await s.volumes.prepare(s.pod)

        preparing = s.tasks.create_task(prepare())
        await s.world.until(lambda: s.world.asked("query", STORED))
        while not preparing.done():  # what is cancelled needs some turns of the loop
            s.patience.hurry()
            await asyncio.sleep(0)
        assert s.volumes.objects is None


async def test_the_end_leaves_no_files(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        s.store("hi")
        await s.volumes.prepare(s.pod)
        await s.volumes.tear_down()
        assert not s.files.pod_dir.exists()
