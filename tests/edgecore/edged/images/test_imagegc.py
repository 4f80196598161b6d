"""Removing images: a real event loop; runtime, images, disk and clock are made up."""

from collections.abc import Collection
from typing import Any

import pytest

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.images.imagegc import ImageGC
from edgecore.edged.node.facts import Amount
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.images import Image
from tests.edgecore.edged.bus import HandClock
from tests.edgecore.edged.fakeimages import FakeImages

FULL = Amount(100, 1000)  # 100 bytes have to go


class Containers(HollowRuntime):
    """A runtime that shows the containers that a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.using: list[str] = []

    async def list_pods(self) -> list[PodObservation]:
        containers = tuple(
            ContainerStatus(image, "c", 0, ContainerState.EXITED, "s", image=image)
            for image in self.using
        )
        return [
            PodObservation(UID("u"), "default", "p", "s", sandbox_ready=True, containers=containers)
        ]


class Site:
    """The collector, and what it is made with."""

    def __init__(self) -> None:
        self.runtime, self.images, self.clock = Containers(), FakeImages(), HandClock()
        self.pods: Collection[dict[str, Any]] | None = []
        self.events: list[tuple[str, str, str]] = []
        self.gc = ImageGC(
            self.runtime,
            self.images,
            self.clock,
            GCPolicy(keep=("r.example/kept:1",)),
            pods=lambda: self.pods,
            event=lambda *event: self.events.append(event),
        )

    def add(self, name: str, size_bytes: int = 60, *, pinned: bool = False) -> Image:
        return self.images.add(f"r.example/{name}:1", size_bytes, pinned=pinned)

    async def age(self) -> None:
        """Have all images that are here be old enough."""
        await self.gc.look()
        self.clock.seconds += 120

    def here(self) -> set[str]:
        return {name.removeprefix("r.example/").removesuffix(":1") for name in self.images.here}


def pod(*images: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"image": image} for image in images]}}


async def test_nothing_goes_while_there_is_room() -> None:
    s = Site()
    s.add("a")
    await s.age()
    assert await s.gc.collect(Amount(160, 1000)) == 0
    assert s.here() == {"a"}


async def test_as_much_goes_as_is_needed_and_not_more() -> None:
    s = Site()
    for name in "abc":
        s.add(name)
    await s.age()
    assert await s.gc.collect(FULL) == 120
    assert s.here() == {"c"}
    assert s.events == []


async def test_what_was_used_lately_goes_last() -> None:
    s = Site()
    for name in "abc":
        s.add(name)
    s.runtime.using = ["r.example/a:1"]
    await s.age()
    s.runtime.using = []
    await s.gc.collect(FULL)
    assert s.here() == {"a"}


async def test_what_is_used_needed_or_pinned_never_goes_and_that_it_was_not_enough_is_said() -> (
    None
):
    s = Site()
    s.add("used")
    s.add("needed")
    s.add("kept")
    s.add("pinned", pinned=True)
    s.runtime.using = ["r.example/used:1"]
    s.pods = [pod("r.example/needed:1", "r.example/elsewhere:1", "A b")]
    await s.age()
    assert await s.gc.collect(FULL) == 0
    assert await s.gc.remove_unused() == 0
    assert s.here() == {"used", "needed", "kept", "pinned"}
    ((kind, reason, message),) = s.events
    assert (kind, reason) == ("Warning", "FreeDiskSpaceFailed")
    assert "(90% of 1000 B used)" in message


async def test_an_image_that_only_the_runtime_knows_by_the_pods_name_stays() -> None:
    s = Site()
    image = s.images.add("mirror.example/app:1")
    s.images.here["app:1"] = image
    s.pods = [pod("app:1")]
    await s.age()
    await s.gc.remove_unused()
    assert image in s.images.here.values()


async def test_while_the_pods_are_not_known_nothing_goes() -> None:
    s = Site()
    s.add("a")
    await s.age()
    s.pods = None
    assert await s.gc.remove_unused() == 0
    assert s.here() == {"a"}


async def test_a_pod_that_comes_meanwhile_keeps_its_image() -> None:
    s = Site()
    s.add("a")
    s.add("b")
    await s.age()
    remove = s.images.remove_image

    async def remove_and_assign(image_id: str) -> None:
        await remove(image_id)
        s.pods = [pod("r.example/b:1")]

    s.images.remove_image = remove_and_assign  # type: ignore[method-assign]
    await s.gc.remove_unused()
    assert s.here() == {"b"}


async def test_under_pressure_all_goes_that_may() -> None:
    s = Site()
    for name in "abc":
        s.add(name)
    s.pods = [pod("r.example/b:1")]
    await s.age()
    assert await s.gc.remove_unused() == 120
    assert s.here() == {"b"}


async def test_a_young_image_stays() -> None:
    s = Site()
    s.add("a")
    assert await s.gc.remove_unused() == 0
    assert s.here() == {"a"}


async def test_an_image_that_cannot_be_removed_is_said_and_the_others_go() -> None:
    s = Site()
    stuck = s.add("a")
    s.add("b")
    s.images.irremovable = {stuck.id}
    await s.age()
    assert await s.gc.collect(FULL) == 60
    assert s.here() == {"a"}
    ((_, reason, message),) = s.events
    assert reason == "ImageGCFailed"
    assert message == (
        "wanted to free 100 bytes, but freed 60 bytes space with errors in image deletion: "
        f"cannot remove {stuck.id}"
    )


async def test_a_runtime_that_is_away_is_said() -> None:
    s = Site()
    s.images.fault = RuntimeServiceError("Down", "connection refused")
    assert await s.gc.remove_unused() == 0
    ((_, reason, message),) = s.events
    assert reason == "ImageGCFailed"
    assert message.endswith("connection refused")
    with pytest.raises(RuntimeServiceError):
        await s.gc.look()
