"""Removes images when the disk that they are on fills up, and never one that a pod needs."""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Final

from common.clock import Clock
from common.errors import RuntimeServiceError
from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.images.imageplan import (
    Sights,
    bytes_to_free,
    meant_by,
    not_enough,
    observe,
    references_of,
    removable,
)
from edgecore.edged.images.imagerefs import InvalidImageNameError, with_tag
from edgecore.edged.node.facts import Amount
from edgecore.edged.podview import Object
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.runtime.images import Image, Images

logger = logging.getLogger(__name__)

_EVERYTHING: Final = 1 << 62


class ImageGC:
    """The images of one node, as far as they may go. One call at a time."""

    def __init__(
        self,
        runtime: Runtime,
        images: Images,
        clock: Clock,
        policy: GCPolicy,
        *,
        pods: Callable[[], Collection[Object] | None],
        event: Callable[[str, str, str], None],
    ) -> None:
        """Make it; nothing happens by itself.

        Args:
            runtime: whose containers use images.
            images: of that runtime.
            clock: for durations.
            policy: when to remove.
            pods: all that are assigned to this node; None while that is not known for certain, and
                then nothing is removed.
            event: takes a kind, a reason and a message of an Event about the Node.
        """
        self._runtime, self._images, self._clock, self._policy = runtime, images, clock, policy
        self._pods, self._event = pods, event
        self._sights: Sights = {}

    async def look(self) -> None:
        """Note which images are here and in use: every five minutes, so that age means something.

        Raises:
            RuntimeServiceError: the runtime is away.
        """
        images = await self._images.list_images()
        await self._look_at(images)

    async def collect(self, disk: Amount) -> int:
        """Remove what the policy says, and return how many bytes that gave.

        Args:
            disk: bytes of the file system that images are on, as just read.
        """
        wanted = bytes_to_free(self._policy, disk)
        if not wanted:
            return 0
        freed, has_failed = await self._free(wanted)
        if freed < wanted and not has_failed:
            self._event("Warning", "FreeDiskSpaceFailed", not_enough(disk, freed))
        return freed

    async def remove_unused(self) -> int:
        """Remove whatever may go, for a node under pressure; return how many bytes that gave."""
        freed, _ = await self._free(_EVERYTHING)
        return freed

    async def _free(self, wanted: int) -> tuple[int, bool]:
        """Free ``wanted`` bytes if possible; return how many it were, and whether that failed.

        A failure was said; it is none that there was no more to remove.
        """
        faults: list[str] = []
        freed = 0
        try:
            for image in await self._candidates():
                if freed >= wanted:
                    break
                if self._is_needed(image):
                    continue  # by a pod that has come meanwhile
                try:
                    await self._images.remove_image(image.id)
                except RuntimeServiceError as error:
                    faults.append(str(error))
                    continue
                freed += image.size_bytes
                logger.info("image removed", extra={"image": image.id, "bytes": image.size_bytes})
        except RuntimeServiceError as error:
            faults.append(str(error))
        if not faults:
            return freed, False
        message = f"freed {freed} bytes space with errors in image deletion: {'; '.join(faults)}"
        if wanted != _EVERYTHING:
            message = f"wanted to free {wanted} bytes, but {message}"
        self._event("Warning", "ImageGCFailed", message)
        return freed, True

    async def _candidates(self) -> tuple[Image, ...]:
        pods = self._pods()
        if pods is None:
            logger.info("images are left alone: it is not known which pods there are")
            return ()
        images = await self._images.list_images()
        used = await self._look_at(images)
        needed = await self._needed(images, references_of(pods).union(self._policy.keep))
        return removable(images, self._sights, used | needed, self._policy, self._clock.monotonic())

    async def _look_at(self, images: list[Image]) -> frozenset[str]:
        """Take note of ``images`` and return the ids of those that containers use."""
        references: set[str] = set()
        for pod in await self._runtime.list_pods():
            for container in pod.containers:
                references |= {container.image_id, container.image} - {""}
        used = meant_by(images, references)
        self._sights = observe(self._sights, images, used, self._clock.monotonic())
        return used

    async def _needed(self, images: list[Image], references: Iterable[str]) -> frozenset[str]:
        """Return the ids of what ``references`` mean, by our reading and by the runtime's own."""
        needed = set(meant_by(images, references))
        for reference in references:
            try:
                name = with_tag(reference)
            except InvalidImageNameError:
                continue  # nothing can be had by such a name
            if (image := await self._images.image(name)) is not None:
                needed.add(image.id)
        return frozenset(needed)

    def _is_needed(self, image: Image) -> bool:
        pods = self._pods()
        return pods is None or bool(meant_by([image], references_of(pods)))
