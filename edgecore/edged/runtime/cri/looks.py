"""Looking at pods: what an engine has of them, asked for with as few calls as possible.

Two lists per look; beside them only what is new since the last one. A container that runs has
nothing new to tell until it exits, one that exited never again, and a sandbox keeps its addresses.
"""

import asyncio
import logging
from typing import Final

from grpclib.const import Status
from msgspec import Struct, field

from common.errors import RuntimeServiceError
from common.names import UID
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods, observe
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.convert import containers_of, sandboxes_of
from edgecore.edged.runtime.cri.lastwords import last_words
from edgecore.edged.runtime.cri.refusals import EngineError
from edgecore.edged.runtime.cri.together import both, each

logger = logging.getLogger(__name__)

_MOST_ABSENT: Final = 1000
"""Pods that are remembered as not there: of those that come, a node has fewer at any time."""


class Listing(Struct, frozen=True):
    """What lists tell, of one pod or of all."""

    sandboxes: tuple[cri.PodSandbox, ...]
    containers: tuple[cri.Container, ...]


class _Pod(Struct):
    """What is known of a pod that cannot have changed."""

    sandbox_id: str = ""
    config: cri.PodSandboxConfig | None = None
    ips: tuple[str, ...] | None = None
    containers: dict[str, ContainerStatus] = field(default_factory=dict)


class Looks:
    """What the engine has of pods."""

    def __init__(self, client: CriClient) -> None:
        self._client = client
        self._pods: dict[UID, _Pod] = {}
        self._absent: dict[UID, None] = {}  # in the order in which it was found

    async def listing(self, uid: UID | None = None) -> Listing:
        """Return the sandboxes and containers of one pod, or of all pods of any kubelet."""
        sandboxes, containers = await both(
            self._client.call(
                methods.LIST_SANDBOXES,
                cri.ListPodSandboxRequest(filter=sandboxes_of(uid) if uid else None),
            ),
            self._client.call(
                methods.LIST_CONTAINERS,
                cri.ListContainersRequest(filter=containers_of(uid) if uid else None),
            ),
        )
        return Listing(
            tuple(s for s in sandboxes.items if observe.uid_of(s.labels)),
            tuple(c for c in containers.containers if observe.uid_of(c.labels)),
        )

    async def pod(self, uid: UID) -> PodObservation | None:
        """Return what the engine has of one pod."""
        return await self._observe(uid, await self.listing(uid))

    async def pods(self) -> list[PodObservation]:
        """Return what the engine has of all pods."""
        listing = await self.listing()
        parts: dict[UID, tuple[list[cri.PodSandbox], list[cri.Container]]] = {}
        for sandbox in listing.sandboxes:
            parts.setdefault(observe.uid_of(sandbox.labels), ([], []))[0].append(sandbox)
        for container in listing.containers:
            parts.setdefault(observe.uid_of(container.labels), ([], []))[1].append(container)
        observed = []
        for uid, (sandboxes, containers) in parts.items():
            pod = await self._observe(uid, Listing(tuple(sandboxes), tuple(containers)))
            if pod is not None:
                observed.append(pod)
        return observed

    async def sandbox(self, uid: UID) -> tuple[str, cri.PodSandboxConfig]:
        """Return the id of the sandbox that containers go to, and how it was made.

        Raises:
            RuntimeServiceError: the pod has none.
        """
        pod = self._pods.get(uid)
        if pod is None or not pod.sandbox_id:
            await self.pod(uid)
            pod = self._pods.get(uid)
        if pod is None or not pod.sandbox_id:
            raise RuntimeServiceError(methods.CREATE_CONTAINER.reason, f"pod {uid} has no sandbox")
        if pod.config is None:
            request = cri.PodSandboxStatusRequest(pod_sandbox_id=pod.sandbox_id, verbose=True)
            answer = await self._client.call(methods.SANDBOX_STATUS, request)
            pod.config = observe.config_of(answer)
        return pod.sandbox_id, pod.config

    def made(self, uid: UID, sandbox_id: str, config: cri.PodSandboxConfig) -> None:
        """Note how a sandbox was made, which the engine need not be asked then."""
        pod = self._pods.setdefault(uid, _Pod())
        pod.sandbox_id, pod.config, pod.ips = sandbox_id, config, None
        self._absent.pop(uid, None)

    def was_absent(self, uid: UID) -> bool:
        """Whether the last look has shown nothing of a pod, and nothing was made of it since.

        A call that was cut off before that look may still make something.
        """
        return uid in self._absent

    def forget(self, uid: UID) -> None:
        """Know nothing of a pod any more: the next look asks for everything."""
        self._pods.pop(uid, None)
        self._absent.pop(uid, None)

    def doubt(self, container_id: str) -> None:
        """Ask again for a container: the engine may have more to say of its end."""
        for pod in self._pods.values():
            pod.containers.pop(container_id, None)

    async def _observe(self, uid: UID, listing: Listing) -> PodObservation | None:
        if not listing.sandboxes and not listing.containers:
            self.forget(uid)
            self._absent[uid] = None
            if len(self._absent) > _MOST_ABSENT:
                del self._absent[next(iter(self._absent))]
            return None
        self._absent.pop(uid, None)
        pod = self._pods.setdefault(uid, _Pod())
        sandbox = observe.current(listing.sandboxes)
        sandbox_id = sandbox.id if sandbox else ""
        if pod.sandbox_id != sandbox_id:
            pod.sandbox_id, pod.config, pod.ips = sandbox_id, None, None
        ips, statuses = await both(
            self._ips(pod, sandbox),
            each([self._status(pod, container) for container in listing.containers]),
        )
        found = [status for status in statuses if status is not None]
        pod.containers = {s.id: s for s in found if s.state is not ContainerState.CREATED}
        labels = (listing.sandboxes or listing.containers)[0].labels
        return observe.observation(uid, listing.sandboxes, found, ips, labels)

    async def _ips(self, pod: _Pod, sandbox: cri.PodSandbox | None) -> tuple[str, ...]:
        if sandbox is None or sandbox.state != cri.SANDBOX_READY:
            return ()
        if pod.ips is None:
            request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox.id)
            try:
                answer = await self._client.call(methods.SANDBOX_STATUS, request)
            except EngineError as error:
                if error.status is not Status.NOT_FOUND:  # removed since the list was made
                    raise
                return ()
            pod.ips = observe.ips_of(answer.status)
        return pod.ips

    async def _status(self, pod: _Pod, entry: cri.Container) -> ContainerStatus | None:
        """Return all that is to say of a container; None if it was removed since it was listed."""
        brief = observe.listed(entry)
        if brief.state is ContainerState.CREATED:
            return brief
        known = pod.containers.get(entry.id)
        if known is not None and known.state is brief.state:
            return known
        try:
            if entry.state == cri.CONTAINER_UNKNOWN:
                await self._end(entry)
            request = cri.ContainerStatusRequest(container_id=entry.id)
            status = (await self._client.call(methods.CONTAINER_STATUS, request)).status
        except EngineError as error:
            if error.status is not Status.NOT_FOUND:
                raise
            return None
        message = ""
        if status.state == cri.CONTAINER_EXITED:
            message = await asyncio.to_thread(last_words, status)
        return observe.detailed(entry, status, message)

    async def _end(self, entry: cri.Container) -> None:
        """End a container that the engine lost sight of, after which it knows its state again.

        Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go (reasonUnknown).
        """
        logger.warning("container is in an unknown state and is ended", extra={"id": entry.id})
        request = cri.StopContainerRequest(container_id=entry.id, timeout=0)
        await self._client.call(methods.STOP_CONTAINER, request)
