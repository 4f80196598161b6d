"""Relief of a node: the hollow runtime, readings by hand, tenants that note what befalls them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.containerstatus import Rejection
from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.images.imagegc import ImageGC
from edgecore.edged.node.eviction import PodUsage
from edgecore.edged.node.facts import Amount, Readings
from edgecore.edged.node.pressure import Pressure, PressureWatch, parse_thresholds
from edgecore.edged.node.reclaim import Reclaimer
from edgecore.edged.runtime.base import ContainerState, ContainerStats, PodStats
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.fakeimages import FakeImages
from tests.edgecore.edged.world import pod_object

PLENTY = Amount(90, 100)
THRESHOLDS = parse_thresholds("memory.available<10%,nodefs.available<10%")


class Counting(HollowRuntime):
    """A runtime that knows what memory pods use."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[str, int] = {}
        self.refusal: RuntimeServiceError | None = None

    async def remove_container(self, container_id: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        await super().remove_container(container_id)

    async def stats(self) -> list[PodStats]:
        now = datetime(2026, 11, 24, tzinfo=UTC)
        return [
            PodStats(UID(uid), "default", uid, (ContainerStats("c", now, 0, used),))
            for uid, used in self.memory.items()
        ]


@dataclass
class Tenant:
    """A pod on the node."""

    uid: UID
    pod: Any
    volumes: int = 0
    is_given_up: bool = False
    has_ended: bool = False
    rejections: list[Rejection] = field(default_factory=list)

    def reject(self, rejection: Rejection) -> None:
        self.rejections.append(rejection)
        self.is_given_up = True

    def disk_usage(self) -> PodUsage:
        return PodUsage(volumes=self.volumes)


class Site:
    """A node that may be short of something."""

    def __init__(self) -> None:
        self.runtime, self.clock, self.images = Counting(), HandClock(), FakeImages()
        self.watch = PressureWatch(THRESHOLDS)
        self.tenants = [Tenant(UID(f"uid-{n}"), pod_object(n)) for n in ("a", "b")]
        self.memory, self.disk = PLENTY, PLENTY
        collector = ImageGC(
            self.runtime,
            self.images,
            self.clock,
            GCPolicy(min_age_s=0),
            pods=lambda: [tenant.pod for tenant in self.tenants],
            event=lambda _kind, _reason, _message: None,
        )
        self.reclaimer = Reclaimer(
            self.runtime, self.clock, self.watch, self.read, lambda: self.tenants, collector
        )

    def read(self) -> Readings:
        return Readings(self.memory, self.disk, PLENTY, PLENTY, self.disk, PLENTY)

    async def run_twice(self, uid: str) -> None:
        """Let the container of a pod end and be started again."""
        await self.runtime.run_sandbox(SandboxConfig(UID(uid), "default", uid, 0, Path("/log")))
        for attempt in range(2):
            config = ContainerConfig("c", attempt, "img", "h", Path("/log"))
            container_id = await self.runtime.create_container(UID(uid), config)
            await self.runtime.start_container(container_id)
            if attempt == 0:
                self.runtime.end(container_id, 1)


async def test_nothing_happens_where_there_is_plenty() -> None:
    site = Site()
    await site.run_twice("uid-a")
    site.images.add("old")
    await site.reclaimer.look()
    assert site.images.removed == []
    assert not any(tenant.rejections for tenant in site.tenants)


async def test_the_pod_that_uses_most_memory_goes_and_then_is_waited_for() -> None:
    site = Site()
    site.memory = Amount(5, 100)
    site.runtime.memory = {"uid-a": 10, "uid-b": 20}
    await site.reclaimer.look()
    await site.reclaimer.look()
    a, b = site.tenants
    [rejection] = b.rejections
    assert (rejection.reason, rejection.grace_s, rejection.disrupts) == ("Evicted", 1.0, True)
    assert rejection.message.startswith("The node was low on resource: memory.")
    assert a.rejections == []
    assert site.watch.strain.pressures == (Pressure.MEMORY,)
    b.has_ended = True
    await site.reclaimer.look()
    assert len(a.rejections) == 1


async def test_for_disk_dead_containers_and_unused_images_go_before_any_pod() -> None:
    site = Site()
    await site.run_twice("uid-a")
    image = site.images.add("old")
    site.disk = Amount(5, 100)
    for tenant, size in zip(site.tenants, (30, 20), strict=True):
        tenant.volumes = size
    await site.reclaimer.look()
    observed = await site.runtime.pod(UID("uid-a"))
    assert observed is not None
    assert [c.state for c in observed.containers] == [ContainerState.RUNNING]
    assert site.images.removed == [image.id]
    assert len(site.tenants[0].rejections) == 1  # it was not enough


async def test_a_container_that_cannot_be_removed_keeps_no_other_relief_from_the_node() -> None:
    site = Site()
    await site.run_twice("uid-a")
    site.runtime.refusal = RuntimeServiceError("RemoveContainerError", "device is busy")
    image = site.images.add("old")
    site.disk = Amount(5, 100)
    await site.reclaimer.look()
    assert site.images.removed == [image.id]
    site.runtime.refusal = RuntimeServiceError(RuntimeServiceError.UNAVAILABLE, "nobody there")
    for tenant in site.tenants:
        tenant.has_ended = True
    with pytest.raises(RuntimeServiceError, match="nobody"):
        await site.reclaimer.look()


async def test_no_pod_goes_when_removing_images_was_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    site.disk = Amount(5, 100)
    image = site.images.add("old")
    remove = site.images.remove_image

    async def relieve(image_id: str) -> None:
        await remove(image_id)
        site.disk = PLENTY

    monkeypatch.setattr(site.images, "remove_image", relieve)
    await site.reclaimer.look()
    assert site.images.removed == [image.id]
    assert not any(tenant.rejections for tenant in site.tenants)
