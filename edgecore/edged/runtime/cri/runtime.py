"""The CRI runtime: pods in real containers, run by containerd or CRI-O.

The engine is the memory: it keeps every label and annotation that is needed to find a pod again, by
kubelet's names, so that a new edgecore goes on where any other kubelet was killed. A call that was
cut off may have been carried out; whatever it made is found by the next look, or by its name, which
the engine refuses to give twice.

Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from grpclib.const import Status

from common.errors import RuntimeServiceError
from common.files import make_folders
from common.names import UID
from edgecore.edged.runtime.base import ExecResult, PodObservation, PodStats, RuntimeVersion
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods, observe
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.convert import container_config, sandbox_config
from edgecore.edged.runtime.cri.events import PodEvents
from edgecore.edged.runtime.cri.images import CriImages
from edgecore.edged.runtime.cri.looks import Looks
from edgecore.edged.runtime.cri.methods import Method, Request, Response
from edgecore.edged.runtime.cri.refusals import EngineError
from edgecore.edged.runtime.cri.reserved import with_name
from edgecore.edged.runtime.cri.together import both, each
from edgecore.edged.runtime.images import Images
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig

_NEEDED: Final = ("RuntimeReady", "NetworkReady")
_EXEC_MARGIN_S: Final = 10.0
_OUTPUT_BYTES: Final = 16 * 1024


class CriRuntime:
    """Containers of a container engine."""

    scheme = "containerd"  # until the engine has said who it is
    wants_files = True
    answers_probes = True

    def __init__(self, endpoint: str, *, stop_margin_s: float = 120.0) -> None:
        """Make the runtime; nothing happens before the first call.

        Args:
            endpoint: ``unix:///<path>`` of the engine's socket.
            stop_margin_s: what an engine may take beyond the grace to stop a container.

        Raises:
            ConfigError: ``endpoint`` is no such address.
        """
        self._client = CriClient(endpoint)
        self._stop_margin_s = stop_margin_s
        self._looks = Looks(self._client)
        self.images: Images | None = CriImages(self._client)

    async def open(self) -> None:
        """Do nothing: the first call connects."""

    async def close(self) -> None:
        """End the connection."""
        self._client.close()

    async def version(self) -> RuntimeVersion:
        """Return who the engine is.

        Raises:
            RuntimeServiceError: it is away, or says why it cannot run containers: then the reason
                and the message are its own (``NetworkPluginNotReady``).
        """
        version, status = await both(
            self._client.call(methods.VERSION, cri.VersionRequest()),
            self._client.call(methods.STATUS, cri.StatusRequest()),
        )
        self.scheme = version.runtime_name
        for condition in status.status.conditions:
            if condition.type in _NEEDED and not condition.status:
                raise RuntimeServiceError(
                    condition.reason or f"{condition.type}False",
                    condition.message or f"{condition.type} is false",
                )
        return RuntimeVersion(version.runtime_name, version.runtime_version)

    async def list_pods(self) -> list[PodObservation]:
        """Return all pods that edgecore or another kubelet made."""
        return await self._looks.pods()

    async def pod(self, uid: UID) -> PodObservation | None:
        """Return the pod with ``uid``."""
        return await self._looks.pod(uid)

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make the pod's sandbox, and stop those that it had before, which gives back addresses.

        An older sandbox stays as long as containers of it do: they tell how often they were
        restarted. One that has the new one's name, or has no containers, is removed.
        """
        made = sandbox_config(config)
        await _make_directory(config.log_dir, methods.RUN_SANDBOX.reason)
        if not self._looks.was_absent(config.uid):
            await self._clear(config.uid, config.attempt)
        request = cri.RunPodSandboxRequest(config=made)
        answer = await with_name(self._client, methods.RUN_SANDBOX, request, self._remove_sandbox)
        self._looks.made(config.uid, answer.pod_sandbox_id, made)
        return answer.pod_sandbox_id

    async def stop_sandbox(self, uid: UID) -> None:
        """End the pod's sandboxes, with what runs in them."""
        listing = await self._looks.listing(uid)
        await each([self._stop_sandbox(sandbox.id) for sandbox in listing.sandboxes])

    async def remove_sandbox(self, uid: UID) -> None:
        """Remove all that the engine has of the pod."""
        listing = await self._looks.listing(uid)
        await each([self._remove_sandbox(sandbox.id) for sandbox in listing.sandboxes])
        sandboxes = {sandbox.id for sandbox in listing.sandboxes}
        lone = [c.id for c in listing.containers if c.pod_sandbox_id not in sandboxes]
        await each([self.remove_container(container_id) for container_id in lone])
        self._looks.forget(uid)

    async def create_container(self, uid: UID, config: ContainerConfig) -> str:
        """Make a container in the pod's sandbox."""
        await _make_directory(config.log_path.parent, methods.CREATE_CONTAINER.reason)
        sandbox_id, sandbox = await self._looks.sandbox(uid)
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=container_config(sandbox, config),
            sandbox_config=sandbox,
        )
        try:
            answer = await with_name(
                self._client, methods.CREATE_CONTAINER, request, self._remove_unless_running
            )
        except EngineError:
            self._looks.forget(uid)  # what is known of the sandbox may be wrong
            raise
        return answer.container_id

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        request = cri.StartContainerRequest(container_id=container_id)
        await self._client.call(methods.START_CONTAINER, request)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """Have a container end within whole seconds; 0 kills at once."""
        timeout = math.ceil(grace_s)
        request = cri.StopContainerRequest(container_id=container_id, timeout=timeout)
        await self._unless_gone(methods.STOP_CONTAINER, request, timeout + self._stop_margin_s)

    async def remove_container(self, container_id: str) -> None:
        """Remove a container; its log stays."""
        request = cri.RemoveContainerRequest(container_id=container_id)
        await self._unless_gone(methods.REMOVE_CONTAINER, request)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_s: float
    ) -> ExecResult:
        """Run ``command`` in a container, for whole seconds at most."""
        timeout = math.ceil(timeout_s)
        request = cri.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout)
        try:
            # The engine is to end it: when edgecore hangs up, the command may go on.
            answer = await self._client.call(methods.EXEC_SYNC, request, timeout + _EXEC_MARGIN_S)
        except EngineError as error:
            if error.status is Status.DEADLINE_EXCEEDED:
                raise TimeoutError(f"the command did not end within {timeout} s") from error
            raise
        return ExecResult(answer.exit_code, (answer.stdout + answer.stderr)[:_OUTPUT_BYTES])

    async def reopen_log(self, container_id: str) -> None:
        """Have the engine open the container's log anew."""
        request = cri.ReopenContainerLogRequest(container_id=container_id)
        await self._client.call(methods.REOPEN_LOG, request)

    async def stats(self) -> list[PodStats]:
        """Return what the running pods take at the moment."""
        answer = await self._client.call(methods.LIST_STATS, cri.ListContainerStatsRequest())
        return observe.stats_of(answer.stats)

    def events(self) -> AsyncIterator[UID]:
        """Yield pods of which something ended, also while the engine was away."""
        return PodEvents(self._client, self._looks).pods()

    async def _clear(self, uid: UID, attempt: int) -> None:
        """Make room for a new sandbox."""
        listing = await self._looks.listing(uid)
        in_use = {container.pod_sandbox_id for container in listing.containers}
        await each(
            [
                self._remove_sandbox(sandbox.id)
                if sandbox.metadata.attempt == attempt or sandbox.id not in in_use
                else self._stop_sandbox(sandbox.id)
                for sandbox in listing.sandboxes
            ]
        )

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        request = cri.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._unless_gone(methods.STOP_SANDBOX, request)

    async def _remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox with its containers, after giving back what it has of the network."""
        await self._stop_sandbox(sandbox_id)
        request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._unless_gone(methods.REMOVE_SANDBOX, request)

    async def _remove_unless_running(self, container_id: str) -> None:
        request = cri.ContainerStatusRequest(container_id=container_id)
        try:
            answer = await self._client.call(methods.CONTAINER_STATUS, request)
        except EngineError as error:
            if error.status is not Status.NOT_FOUND:
                raise
            return
        if answer.status.state == cri.CONTAINER_RUNNING:
            reason = methods.CREATE_CONTAINER.reason
            message = f"container {container_id} has that name and is running"
            raise EngineError(reason, message, Status.ALREADY_EXISTS)
        await self.remove_container(container_id)

    async def _unless_gone(
        self, method: Method[Request, Response], request: Request, timeout_s: float | None = None
    ) -> None:
        """Make a call whose aim is reached already where there is nothing of that id."""
        try:
            await self._client.call(method, request, timeout_s)
        except EngineError as error:
            if error.status is not Status.NOT_FOUND:
                raise


async def _make_directory(path: Path, reason: str) -> None:
    """Make a directory for logs, as kubelet has them."""
    try:
        await asyncio.to_thread(make_folders, path, 0o755)
    except OSError as error:
        raise RuntimeServiceError(reason, str(error)) from error
