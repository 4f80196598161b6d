"""What the local endpoint sees of edged."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from common.clock import Clock
from edgecore.edged.crashloop import latest
from edgecore.edged.local.localroutes import Target
from edgecore.edged.local.localservice import NotHereError
from edgecore.edged.local.logread import log_files
from edgecore.edged.local.nodeusage import read_node_stats
from edgecore.edged.local.stats import Sample, starts_of
from edgecore.edged.podtable import PodTable
from edgecore.edged.podview import Object
from edgecore.edged.podworker import PodWorker
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, ExecResult, Runtime


class EdgedView:
    """The pods of this node, for whoever asks on this machine."""

    def __init__(self, pods: PodTable, runtime: Runtime, clock: Clock, root_dir: Path) -> None:
        """Args: pods: of the node; root_dir: on the file system of volumes and logs."""
        self._pods, self._runtime, self._clock = pods, runtime, clock
        self._root_dir = root_dir

    async def pods(self) -> Sequence[Object]:
        """Return the pods as they are, with the statuses that the cloud gets to see."""
        return [
            {**worker.pod, "status": {**(worker.pod.get("status") or {}), **worker.status()}}
            for worker in self._pods.workers.values()
        ]

    async def sample(self) -> Sample:
        """Return what everything takes at the moment.

        Raises:
            RuntimeServiceError: the runtime cannot be asked.
        """
        stats = await self._runtime.stats()
        images = self._runtime.images
        usage = await images.filesystem() if images is not None else None
        node = await asyncio.to_thread(read_node_stats, self._root_dir, self._clock.now(), usage)
        seen = (worker.observed for worker in self._pods.workers.values())
        return Sample(node, tuple(stats), starts_of(one for one in seen if one is not None))

    async def log_files(self, target: Target, *, previous: bool) -> Sequence[Path]:
        """Return the files of a container's log, oldest first.

        Raises:
            NotHereError: there is no such container, or no previous one.
        """
        worker, newest = self._find(target)
        attempt = newest.attempt - 1 if previous else newest.attempt
        if attempt < 0:
            raise NotHereError(f"container {target.container} was started once only")
        files = await asyncio.to_thread(log_files, worker.files.log_path(newest.name, attempt))
        if previous and not files:
            raise NotHereError(f"the log before the last restart of {target.container} is gone")
        return files

    async def execute(self, target: Target, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Run ``command`` in a container and return how it ended.

        Raises:
            NotHereError: there is no such container, or it does not run.
            TimeoutError: it did not end in time.
            RuntimeServiceError: it could not be run.
        """
        _, newest = self._find(target)
        if newest.state is not ContainerState.RUNNING:
            raise NotHereError(f"container {target.container} does not run")
        return await self._runtime.exec_sync(newest.id, command, timeout_s)

    def _find(self, target: Target) -> tuple[PodWorker, ContainerStatus]:
        key = f"{target.namespace}/{target.pod}"
        for worker in self._pods.named(key):
            containers = worker.observed.containers if worker.observed else ()
            if newest := latest(containers).get(target.container):
                return worker, newest
        raise NotHereError(f"there is no container {target.container} of a pod {key}")
