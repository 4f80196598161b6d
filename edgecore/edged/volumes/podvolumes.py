"""The objects that one pod names, and its volumes, which show them: had when they are needed.

Objects are fetched for a piece of work and forgotten after it: they hold Secrets, and will be out
of date the next time. Immutable ones stay what they were while the pod is here.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from edgecore.edged.dependencies import Dependencies
from edgecore.edged.objects import Objects, Ref
from edgecore.edged.patience import Patience
from edgecore.edged.podservices import PodServices
from edgecore.edged.podview import Object
from edgecore.edged.requests import TIMEOUT_S
from edgecore.edged.volumes import volumewriter
from edgecore.edged.volumes.immutables import immutable_of, with_immutable
from edgecore.edged.volumes.podfiles import PodFiles
from edgecore.edged.volumes.volumes import volumes_of


class PodVolumes:
    """What one pod names, and where its volumes are."""

    __slots__ = (  # there is one for each pod
        "_dependencies",
        "_files",
        "_immutable",
        "_is_outdated",
        "_patience",
        "_services",
        "objects",
        "paths",
    )

    def __init__(
        self,
        services: PodServices,
        files: PodFiles,
        dependencies: Dependencies,
        patience: Patience,
    ) -> None:
        """Make it; nothing is fetched before ``prepare``.

        Args:
            services: what it works with.
            files: where the pod's files are.
            dependencies: gets what the pod names.
            patience: with those that are asked for it.
        """
        self._services, self._files = services, files
        self._dependencies, self._patience = dependencies, patience
        self.objects: Objects | None = None
        """What the pod names; None while it is not fetched."""
        self.paths: Mapping[str, Path] = {}
        """Where the volumes are, by name."""
        self._immutable: dict[Ref, Object] = {}
        self._is_outdated = True

    @property
    def are_ready(self) -> bool:
        """Whether all is fetched and shown as the edge-store has it."""
        return self.objects is not None and not self._is_outdated

    @property
    def are_due(self) -> bool:
        """Whether the volumes may be older than the edge-store, or a token in them too old."""
        due_s = self._dependencies.refresh_in_s()
        return self._is_outdated or (due_s is not None and due_s <= 0)

    def outdated(self) -> None:
        """Take note that what stands in the volumes may have changed."""
        self._is_outdated = True

    def rest(self) -> None:
        """Forget what was fetched."""
        self.objects = None

    def leave(self) -> None:
        """Keep nothing of the Secrets that were needed."""
        self.rest()
        self._immutable.clear()

    async def prepare(self, pod: Object) -> None:
        """Fetch the objects that the pod names and let its volumes have them.

        Raises:
            VolumeError, OSError: a volume cannot be set up.
        """
        self._is_outdated = False
        try:
            async with self._patience.lasting(TIMEOUT_S):
                objects = await self._dependencies.fetch(pod)
        except TimeoutError:
            objects = Objects(pod["metadata"]["namespace"])
        objects = with_immutable(objects, self._immutable)
        volumes = volumes_of(pod, objects, self._services.setup().view)
        if volumes and self._services.runtime.wants_files:
            self.paths = await asyncio.to_thread(
                volumewriter.set_up, self._files, volumes, self._services.mounter
            )
        self._immutable |= immutable_of(objects)
        self.objects = objects

    async def tear_down(self) -> None:
        """Remove the pod's volumes.

        Raises:
            OSError: something is still in use; call again later.
        """
        await asyncio.to_thread(volumewriter.tear_down, self._files.pod_dir)
