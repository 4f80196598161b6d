"""What a node does for itself: real jobs on real files; runtime, images and workers are made up."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from common.names import UID
from edgecore.edged import nodeparts
from edgecore.edged.containerstatus import Rejection
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.node.facts import Amount, NodeFacts, Readings
from edgecore.edged.node.nodeagent import Machine
from edgecore.edged.nodeparts import NodeParts, Surroundings
from edgecore.edged.podtable import PodTable
from edgecore.edged.runtime.images import Images
from edgecore.edged.runtime.spec import SandboxConfig
from edgecore.edged.spec.cgroups import Cgroups
from edgecore.edged.volumes import volumewriter
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.fakeimages import FakeImages
from tests.edgecore.edged.faulty import AWAY, FaultyRuntime
from tests.edgecore.edged.world import IP, NODE, eventually, pod_object

FACTS = NodeFacts(2, 8 * 2**30, 100 * 2**30, "amd64", "6.1", "Debian", "m", "s", "b")
PLENTY = Amount(90, 100)


class Engine(FaultyRuntime):
    """A runtime with images, for pods with files."""

    wants_files = True

    def __init__(self, images: FakeImages | None) -> None:
        super().__init__()
        self.images: Images | None = images


@dataclass
class Worker:
    """A pod's worker, as far as it matters here."""

    uid: UID
    over_limit: str = ""
    has_ended: bool = False
    is_given_up: bool = False
    observed: None = None
    woken: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    @property
    def pod(self) -> dict[str, Any]:
        return pod_object(self.uid, self.uid)

    def volume_over_limit(self) -> str:
        return self.over_limit

    def reject(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)

    def wake(self) -> None:
        self.woken += 1


class Site:
    """A node with pods, of which nobody has begun anything yet."""

    def __init__(self, b: Bus, folder: Path, images: FakeImages | None) -> None:
        self.bus, self.folder, self.images = b, folder, images or FakeImages()
        self.runtime, self.pods = Engine(images), PodTable(is_loaded=True)
        self.disk = PLENTY
        self.cgroups = folder / "cgroup"
        config = EdgedConfig(
            NODE, IP, folder, folder / "logs", thresholds=(), images=GCPolicy(min_age_s=0)
        )
        near = Surroundings(b.tasks, b.requests, b.link, b.clock, self.runtime, b.metrics)
        self.parts = NodeParts(near, config, self.pods, Machine(FACTS, self._read))

    def _read(self) -> Readings:
        return Readings(PLENTY, PLENTY, PLENTY, PLENTY, self.disk, PLENTY)

    def add(self, uid: str, **fields: Any) -> Worker:
        worker = Worker(UID(uid), **fields)
        self.pods.workers[worker.uid] = worker  # type: ignore[assignment] # see the docstring
        return worker

    def leave_files(self, *uids: str) -> None:
        """Have files and cgroups of pods be there."""
        for uid in uids:
            (self.folder / "pods" / uid / "volumes").mkdir(parents=True)
            (self.cgroups / "cpu/kubepods/besteffort" / f"pod{uid}").mkdir(parents=True)

    def left(self) -> set[str]:
        """Of which pods there are files."""
        return {path.name for path in (self.folder / "pods").iterdir()}

    def grouped(self) -> set[str]:
        """Which pods have a cgroup."""
        groups = (self.cgroups / "cpu/kubepods/besteffort").glob("pod*")
        return {path.name.removeprefix("pod") for path in groups}


@asynccontextmanager
async def site(
    folder: Path, monkeypatch: pytest.MonkeyPatch, images: FakeImages | None = None
) -> AsyncIterator[Site]:
    # Never in the cgroups of this machine.
    monkeypatch.setattr(nodeparts, "Cgroups", lambda root: Cgroups(root, folder / "cgroup"))
    async with bus(connected=False) as b:
        made = Site(b, folder, images)
        yield made
        made.parts.close()


async def test_what_pods_left_behind_goes_and_what_is_in_use_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch, FakeImages()) as s:
        s.leave_files("left", "known", "running")
        s.add("known")
        config = SandboxConfig(UID("running"), "default", "web", 0, tmp_path / "logs")
        await s.runtime.run_sandbox(config)
        s.parts.begin()
        await eventually(lambda: s.left() == {"known", "running"})
        assert s.grouped() == {"known", "running"}


async def test_files_are_cleared_away_without_a_container_engine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as s:
        s.leave_files("left")
        s.parts.begin()
        await eventually(lambda: s.left() == set())
        assert s.grouped() == {"left"}  # nor are there cgroups of ours then


async def test_nothing_is_cleared_away_before_it_is_known_which_pods_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch, FakeImages()) as s:
        s.leave_files("left")
        s.pods.is_loaded = False
        await s.parts._clear_away()
        assert (s.left(), s.grouped()) == ({"left"}, {"left"})


async def test_files_that_are_in_use_keep_no_others_from_being_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tear_down = volumewriter.tear_down

    def busy(pod_dir: Path) -> None:
        if pod_dir.name == "b":
            raise OSError(errno.EBUSY, "Device or resource busy")
        tear_down(pod_dir)

    monkeypatch.setattr(volumewriter, "tear_down", busy)
    async with site(tmp_path, monkeypatch) as s:
        s.leave_files("a", "b", "c")
        s.parts.begin()
        await eventually(lambda: s.left() == {"b"})
        await eventually(lambda: "cannot be removed" in caplog.text)


async def test_a_pod_whose_volume_is_too_large_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as s:
        large, small = s.add("large", over_limit="too large"), s.add("small")
        ended = s.add("ended", over_limit="too large", has_ended=True)
        s.parts.begin()
        await eventually(lambda: large.rejections)
        assert large.rejections == [Rejection("Evicted", "too large", grace_s=1)]
        assert small.rejections == ended.rejections == []


async def test_images_go_when_their_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = FakeImages()
    image = images.add("old", size_bytes=50)
    async with site(tmp_path, monkeypatch, images) as s:
        s.disk = Amount(5, 100)
        s.parts.begin()
        await eventually(lambda: images.removed == [image.id])
        assert images.asked == 1


async def test_images_stay_where_there_is_room_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = FakeImages()
    images.add("old")
    async with site(tmp_path, monkeypatch, images) as s:
        s.parts.begin()
        await eventually(lambda: images.asked)
        collector = s.parts._jobs()[1]
        assert collector.name == "look at images"
        await collector.run()
        assert images.removed == []


async def test_everybody_looks_when_the_runtime_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, monkeypatch) as s:
        worker = s.add("web")
        s.runtime.fault = AWAY
        s.parts.services.availability.lost(AWAY)
        await asyncio.sleep(0)
        assert worker.woken == 0
        s.runtime.fault = None
        await eventually(lambda: worker.woken == 1)
