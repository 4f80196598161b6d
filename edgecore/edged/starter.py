"""Starting the containers of one pod: get what it names, set up its volumes, get the image, start.

What fails is said in the container's status, as an Event, and is tried again after a while, or as
soon as something that the pod names has changed.

Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (startContainer), for the order
and the words.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RuntimeServiceError
from edgecore.edged.containerstatus import Waiting
from edgecore.edged.dependencies import Dependencies
from edgecore.edged.images.imagewants import Failed, Outcome, Present, Pulling
from edgecore.edged.local.logfiles import starts_logged
from edgecore.edged.objects import MissingError, UnavailableError
from edgecore.edged.patience import Patience
from edgecore.edged.podservices import PodServices
from edgecore.edged.podview import Object, uid_of
from edgecore.edged.reconcile import StartContainer
from edgecore.edged.runtime.base import PodObservation
from edgecore.edged.runtime.images import Image
from edgecore.edged.spec.containerspec import Made, container_config, environment_of, sandbox_config
from edgecore.edged.spec.fields import FieldError
from edgecore.edged.spec.hosts import hosts_file
from edgecore.edged.spec.refusals import Notice, SpecError
from edgecore.edged.spec.resources import pod_cgroup_limits
from edgecore.edged.volumes.containermounts import Sources, container_mounts, write_etc_hosts
from edgecore.edged.volumes.podfiles import PodFiles
from edgecore.edged.volumes.podvolumes import PodVolumes
from edgecore.edged.volumes.volumes import VolumeError

if TYPE_CHECKING:
    from edgecore.edged.images.imagepuller import ImagePuller
    from edgecore.edged.images.podimages import PodImages

logger = logging.getLogger(__name__)

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=60.0)
_VOLUMES: Final = ""
"""Stands for the volumes where others have the name of a container."""

_HOSTS_FILE: Final = Path("/etc/hosts")


class Starter:
    """What one pod needs before a container of it can run."""

    def __init__(
        self,
        services: PodServices,
        files: PodFiles,
        wake: Callable[[], None],
        event: Callable[[str, str, str, str], None],
    ) -> None:
        """Make it.

        Args:
            services: what it works with.
            files: where the pod's files are.
            wake: called when something that was waited for may be there.
            event: records an Event: kind, reason, message, name of the container.
        """
        self._services, self._files, self._event = services, files, event
        self._dependencies = Dependencies(services.requests, services.clock)
        self._patience = Patience()
        self._volumes = PodVolumes(services, files, self._dependencies, self._patience)
        self._images: PodImages | None = None
        if services.images is not None:
            self._images = _pod_images(services.images, self._dependencies, wake, event)
        self.waiting: dict[str, Waiting] = {}
        """Why containers do not start, by name."""
        self.sandbox_problem = ""
        """Why there is no sandbox, in the runtime's words."""
        self.started: set[str] = set()
        """Ids of containers that were started, for whoever runs their hooks."""
        self._hosts: tuple[str, ...] | None = None
        self._retry = Backoff(_RETRY)
        # What failed, and when it may be tried again: containers by name, and the volumes.
        self._held: dict[str, float] = {}

    # --- what happens around it ------------------------------------------------------------------

    def outdated(self) -> None:
        """Take note that what stands in the volumes may have changed."""
        self._volumes.outdated()

    def changed(self) -> None:
        """Take note that something that the pod names has changed: what failed may work now."""
        self._volumes.outdated()
        self.retry()
        self._retry.reset()

    def retry(self) -> None:
        """Try again at once what failed."""
        self._held.clear()

    def hurry(self) -> None:
        """Let go of a request that the work waits for: there is something more urgent."""
        self._patience.hurry()

    def rest(self) -> None:
        """Forget what was fetched: it holds Secrets, and will be out of date when it is needed."""
        self._volumes.rest()

    def leave(self) -> None:
        """Need nothing any more, and keep nothing of the Secrets that were needed."""
        self._volumes.leave()
        if self._images is not None:
            self._images.leave()

    def pauses_s(self, since_s: float) -> Iterable[float]:
        """Yield after how many seconds there is something to try again, or to renew.

        Args:
            since_s: when the work began, on the monotonic clock: what was held then, and is not
                any more, was not tried, and is due now.
        """
        now_s = self._services.clock.monotonic()
        refresh_s = self._dependencies.refresh_in_s()
        if refresh_s is not None:
            yield max(refresh_s, self._held.get(_VOLUMES, 0.0) - now_s)
        yield from (until_s - now_s for until_s in self._held.values() if until_s > since_s)

    # --- sandbox ---------------------------------------------------------------------------------

    async def run_sandbox(self, pod: Object, attempt: int) -> bool:
        """Make the pod's sandbox; return whether it is there.

        Raises:
            RuntimeServiceError: the runtime is away.
        """
        if self._is_held(_VOLUMES):
            return False
        services, setup = self._services, self._services.setup()
        self._hosts = None
        try:
            config, notices = sandbox_config(pod, attempt, setup, self._files.log_dir)
            if services.cgroups is not None:
                services.cgroups.ensure(config.cgroup_parent, pod_cgroup_limits(pod))
            await services.runtime.run_sandbox(config)
        except (SpecError, RuntimeServiceError) as error:
            if isinstance(error, RuntimeServiceError) and error.is_unavailable:
                raise
            self.sandbox_problem = str(error)
            message = f"Failed to create pod sandbox: {error}"
            self._event("Warning", "FailedCreatePodSandBox", message, "")
            self._hold(_VOLUMES)
            return False
        self.sandbox_problem = ""
        self._notify(notices, "")
        return True

    # --- containers ------------------------------------------------------------------------------

    async def start(self, pod: Object, observed: PodObservation, action: StartContainer) -> bool:
        """Start a container if all that it needs is there; return whether the runtime shows more.

        Raises:
            RuntimeServiceError: the runtime is away.
        """
        name = action.container["name"]
        if self._is_held(name) or self._is_held(_VOLUMES):
            return False
        if not await self._prepare_for(pod, name):
            return False
        image: Image | None = None
        # Last of all: with the policy Always, each look that finds the image was a pull.
        match await self._look_for_image(pod, action.container):
            case Present(found):
                image = found
            case Failed(reason, message, retry_at_s):
                self.waiting[name] = Waiting(reason, message)
                self._held[name] = retry_at_s
                return False
            case Pulling():
                return False
        return await self._create_and_start(pod, observed, action, image)

    async def _look_for_image(self, pod: Object, container: Object) -> Outcome | None:
        """Return what there is of the image; None where the runtime has no images."""
        if self._images is None:
            return None
        try:
            async with self._patience.lasting(None):
                return await self._images.look(pod, container)
        except TimeoutError:  # of somebody in a hurry: no container is to be started any more
            return Pulling()

    async def _create_and_start(
        self,
        pod: Object,
        observed: PodObservation,
        action: StartContainer,
        image: Image | None,
    ) -> bool:
        name, runtime = action.container["name"], self._services.runtime
        if runtime.wants_files and all(c.name != name for c in observed.containers):
            logged = await asyncio.to_thread(self._starts_logged, name)
            action = replace(action, attempt=max(action.attempt, logged))
        try:
            container_id = await self._create(pod, observed, action, image)
        except (MissingError, UnavailableError, FieldError) as error:
            self._volumes.rest()
            self._failed(name, "CreateContainerConfigError", str(error))
            return False
        except OSError as error:
            self._failed(name, "CreateContainerConfigError", str(error), event="FailedMount")
            return False
        except RuntimeServiceError as error:
            self._refused(name, error)
            return False
        self._event("Normal", "Created", "Container created", name)
        try:
            await runtime.start_container(container_id)
        except RuntimeServiceError as error:
            self._refused(name, error)
            return True  # the end of it is to be seen
        self.started.add(container_id)
        self.waiting.pop(name, None)
        self._retry.reset()
        self._event("Normal", "Started", "Container started", name)
        return True

    def _starts_logged(self, name: str) -> int:
        """Return how often a container was started, of which the runtime knows nothing."""
        try:
            return starts_logged(os.listdir(self._files.log_dir / name))
        except FileNotFoundError:
            return 0

    async def _create(
        self,
        pod: Object,
        observed: PodObservation,
        action: StartContainer,
        image: Image | None,
    ) -> str:
        """Create the container and return its id; raises whatever keeps it from being made."""
        assert self._volumes.objects is not None
        container, files = action.container, self._files
        made = Made(self._volumes.objects, self._services.setup(), image=image, ips=observed.ips)
        if self._services.runtime.wants_files:
            await self._write_hosts(pod, observed)
            mounts = await asyncio.to_thread(
                container_mounts,
                pod,
                container,
                action.attempt,
                environment_of(pod, container, made).variables,
                Sources(files, self._volumes.paths, self._services.mounter),
            )
            # The last one is the file for its last words.
            made = replace(made, mounts=mounts, termination_message=mounts[-1].host_path)
        log = files.log_path(container["name"], action.attempt)
        config, notices = container_config(pod, container, action.attempt, made, log)
        self._notify(notices, container["name"])
        return await self._services.runtime.create_container(uid_of(pod), config)

    async def _write_hosts(self, pod: Object, observed: PodObservation) -> None:
        """Write the pod's hosts file, once for each sandbox."""
        key = (observed.sandbox_id, *observed.ips)
        if self._hosts == key:
            return
        domain = self._services.setup().cluster_domain
        node_hosts = await asyncio.to_thread(_HOSTS_FILE.read_text)
        data = hosts_file(pod, observed.ips, domain, node_hosts)
        await asyncio.to_thread(write_etc_hosts, self._files, data)
        self._hosts = key

    # --- volumes ---------------------------------------------------------------------------------

    async def keep_volumes(self, pod: Object) -> None:
        """Let running containers see what changed of the objects that their volumes show."""
        if not self._volumes.are_due or self._is_held(_VOLUMES):
            return
        try:
            await self._volumes.prepare(pod)
        except (VolumeError, OSError) as error:
            # The containers keep what they have, and get the new when there is room for it.
            self._event("Warning", "FailedMount", str(error), "")
            self._volumes.outdated()
            self._hold(_VOLUMES)

    async def tear_down(self) -> None:
        """Remove the pod's volumes.

        Raises:
            OSError: something is still in use; call again later.
        """
        await self._volumes.tear_down()

    async def _prepare_for(self, pod: Object, container: str) -> bool:
        """Have the volumes ready; return whether they are."""
        if self._volumes.are_ready:
            return True
        try:
            await self._volumes.prepare(pod)
        except (VolumeError, OSError) as error:
            self._failed(container, "ContainerCreating", str(error), event="FailedMount")
            self._held[_VOLUMES] = self._held[container]
            return False
        return True

    # --- what fails ------------------------------------------------------------------------------

    def _refused(self, name: str, error: RuntimeServiceError) -> None:
        if error.is_unavailable:
            raise error
        self._failed(name, error.reason, str(error))

    def _failed(self, name: str, reason: str, message: str, *, event: str = "Failed") -> None:
        """Keep a container from being tried again for a while, and say why."""
        extra = {"container": name, "reason": reason, "why": message[:256]}
        logger.info("container cannot be started", extra=extra)
        self.waiting[name] = Waiting(reason, message)
        self._event("Warning", event, message, name)
        self._hold(name)

    def _hold(self, what: str) -> None:
        self._held[what] = self._services.clock.monotonic() + self._retry.next_s()

    def _is_held(self, what: str) -> bool:
        return self._services.clock.monotonic() < self._held.get(what, 0.0)

    def _notify(self, notices: Iterable[Notice], container: str) -> None:
        for notice in notices:
            self._event("Warning", notice.reason, notice.message, container)


def _pod_images(
    puller: "ImagePuller",
    dependencies: Dependencies,
    wake: Callable[[], None],
    event: Callable[[str, str, str, str], None],
) -> "PodImages":
    # Not at the top: an edge without a container engine does without.
    from edgecore.edged.images import podimages  # noqa: PLC0415

    return podimages.PodImages(puller, dependencies, wake, event)
