"""The images of a runtime, in memory: pulls wait until the test lets them go on."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.images import FilesystemUsage, Image, ImageAuth


class FakeImages:
    """What is here, what a registry has, and what it wants to see before it gives it."""

    def __init__(self) -> None:
        self.here: dict[str, Image] = {}
        """By the name that a pod has for it."""
        self.refusal: Callable[[str, ImageAuth | None], RuntimeServiceError | None] = (
            lambda _reference, _auth: None
        )
        self.fault: RuntimeServiceError | None = None
        """Raised by all calls but ``pull``."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.pulls: list[tuple[str, ImageAuth | None]] = []
        self._arrived = asyncio.Event()
        self.going_on = 0
        self.most_at_once = 0
        self.removed: list[str] = []
        self.irremovable: set[str] = set()
        self.usage = FilesystemUsage(Path("/images"), 0, 0)
        self.asked = 0
        """How many times where they lie was asked for."""

    def add(self, name: str, size_bytes: int = 10, *, pinned: bool = False) -> Image:
        image = Image(f"sha256:id-{name}", (name,), (), size_bytes, pinned=pinned)
        self.here[name] = image
        return image

    async def image(self, reference: str) -> Image | None:
        self._check()
        return self.here.get(reference)

    async def pull(self, reference: str, auth: ImageAuth | None) -> str:
        self.pulls.append((reference, auth))
        self._arrived.set()
        self.going_on += 1
        self.most_at_once = max(self.most_at_once, self.going_on)
        try:
            await self.gate.wait()
        finally:
            self.going_on -= 1
        if refusal := self.refusal(reference, auth):
            raise refusal
        return self.add(reference).id

    async def until_pulls(self, count: int) -> None:
        """Wait until so many pulls have come here."""
        while len(self.pulls) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def list_images(self) -> list[Image]:
        self._check()
        return list(self.here.values())

    async def remove_image(self, image_id: str) -> None:
        if image_id in self.irremovable:
            raise RuntimeServiceError("RemoveImageError", f"cannot remove {image_id}")
        self.removed.append(image_id)
        self.here = {name: image for name, image in self.here.items() if image.id != image_id}

    async def filesystem(self) -> FilesystemUsage:
        self._check()
        self.asked += 1
        return self.usage

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault
