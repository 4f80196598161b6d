"""A container engine whose sandboxes and containers are records, on a real socket, in this process.

A script of its containers is understood as far as ``exit N``, ``echo WORDS`` (to the log) and
``echo WORDS > /dev/termination-log`` go; without an exit it runs until it is stopped. Faults can be
ordered for any call: a refusal, or a connection that is cut before or after the work was done.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from edgecore.edged.runtime.cri import changes, methods
from edgecore.edged.runtime.cri import containerd_pb2 as containerd
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri.methods import Method

AnyMethod = Method[Any, Any]
BUSYBOX = "docker.io/library/busybox:latest"
SOURCES: tuple[AnyMethod, ...] = (methods.CONTAINERD_EVENTS, methods.CONTAINER_EVENTS)
TERMINATION_LOG = "/dev/termination-log"


@dataclass(slots=True)
class Sandbox:
    id: str
    config: cri.PodSandboxConfig
    created_at: int
    is_ready: bool = True

    @property
    def name(self) -> str:
        of = self.config.metadata
        return f"{of.name}_{of.namespace}_{of.uid}_{of.attempt}"


@dataclass(slots=True)
class Container:
    id: str
    sandbox: Sandbox
    config: cri.ContainerConfig
    status: cri.ContainerStatus

    @property
    def name(self) -> str:
        of = self.config.metadata
        return f"{of.name}_{self.sandbox.name.rpartition('_')[0]}_{of.attempt}"


@dataclass(slots=True)
class Faults:
    """What goes wrong, once each."""

    refusals: dict[AnyMethod, tuple[Status, str]] = field(default_factory=dict)
    cuts_before: set[AnyMethod] = field(default_factory=set)
    cuts_after: set[AnyMethod] = field(default_factory=set)
    hangs: set[AnyMethod] = field(default_factory=set)


class FakeCri:
    """The engine; ``calls`` are those that it got, by name."""

    def __init__(self, path: Path, events: AnyMethod | None = methods.CONTAINERD_EVENTS) -> None:
        self.path, self.endpoint = path, f"unix://{path}"
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self.images: dict[str, cri.Image] = {
            BUSYBOX: cri.Image(id="sha256:0badcafe", repo_tags=[BUSYBOX], size=1000)
        }
        self.conditions = [
            cri.RuntimeCondition(type="RuntimeReady", status=True),
            cri.RuntimeCondition(type="NetworkReady", status=True),
        ]
        self.pulls: list[cri.PullImageRequest] = []
        self.faults = Faults()
        self.calls: list[str] = []
        self.is_announcing = True
        self.following = asyncio.Event()
        self._streams: list[tuple[AnyMethod, asyncio.Queue[Message | None]]] = []
        self._events = events
        self._server: Server | None = None
        self._transports: set[asyncio.Transport] = set()
        self._called = asyncio.Event()
        self._number = 0

    async def start(self) -> None:
        self._server = Server([self])
        await self._server.start(path=str(self.path))

    async def stop(self) -> None:
        """Go away without warning; records stay."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        self.cut()
        self.path.unlink()

    def cut(self) -> None:
        """Break all connections."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()
        self.following.clear()

    def __mapping__(self) -> dict[str, Handler]:
        return {
            **{m.path: self._handler(m, answer) for m, answer in self._answers().items()},
            **{m.path: self._stream_handler(m) for m in SOURCES},
        }

    def count(self, method: AnyMethod) -> int:
        return self.calls.count(method.path.rpartition("/")[2])

    async def called(self, method: AnyMethod, times: int) -> None:
        """Wait until ``method`` was called that often."""
        while self.count(method) < times:
            self._called.clear()
            await self._called.wait()

    def end(self, container_id: str, exit_code: int, reason: str = "") -> None:
        """Let a container exit by itself."""
        status = self.containers[container_id].status
        status.state = cri.CONTAINER_EXITED
        status.exit_code, status.finished_at = exit_code, time.time_ns()
        status.reason = reason or ("Error" if exit_code else "Completed")
        self.announce(container_id)

    def announce(self, container_id: str, topic: str = changes.EXIT, process: str = "") -> None:
        """Send an event, as the engine would of its own accord."""
        if not self.is_announcing:
            return
        event = containerd.TaskEvent(container_id=container_id, id=process or container_id)
        for method, queue in self._streams:
            queue.put_nowait(
                containerd.Envelope(
                    namespace=changes.NAMESPACE,
                    topic=topic,
                    event=containerd.Content(value=event.SerializeToString()),
                )
                if method is methods.CONTAINERD_EVENTS
                else cri.ContainerEventResponse(
                    container_id=container_id, container_event_type=cri.CONTAINER_STOPPED_EVENT
                )
            )

    def end_streams(self) -> None:
        """End event streams in good order."""
        for _, queue in self._streams:
            queue.put_nowait(None)

    def _answers(self) -> dict[AnyMethod, Callable[[Any], Message]]:
        return {
            methods.VERSION: lambda _: cri.VersionResponse(
                runtime_name="fakerd", runtime_version="1.2.3"
            ),
            methods.STATUS: lambda _: cri.StatusResponse(
                status=cri.RuntimeStatus(conditions=self.conditions)
            ),
            methods.RUN_SANDBOX: self._run_sandbox,
            methods.STOP_SANDBOX: self._stop_sandbox,
            methods.REMOVE_SANDBOX: self._remove_sandbox,
            methods.SANDBOX_STATUS: self._sandbox_status,
            methods.LIST_SANDBOXES: self._list_sandboxes,
            methods.CREATE_CONTAINER: self._create_container,
            methods.START_CONTAINER: self._start_container,
            methods.STOP_CONTAINER: self._stop_container,
            methods.REMOVE_CONTAINER: self._remove_container,
            methods.LIST_CONTAINERS: self._list_containers,
            methods.CONTAINER_STATUS: lambda r: cri.ContainerStatusResponse(
                status=self._find(r.container_id).status
            ),
            methods.EXEC_SYNC: self._exec_sync,
            methods.REOPEN_LOG: self._reopen_log,
            methods.LIST_STATS: self._list_stats,
            methods.LIST_IMAGES: lambda _: cri.ListImagesResponse(images=self.images.values()),
            methods.IMAGE_STATUS: lambda r: cri.ImageStatusResponse(image=self._image(r.image)),
            methods.PULL_IMAGE: self._pull_image,
            methods.REMOVE_IMAGE: self._remove_image,
            methods.IMAGE_FS_INFO: lambda _: cri.ImageFsInfoResponse(
                image_filesystems=[
                    cri.FilesystemUsage(
                        fs_id=cri.FilesystemIdentifier(mountpoint="/fake"),
                        used_bytes=cri.UInt64Value(value=1000),
                        inodes_used=cri.UInt64Value(value=7),
                    )
                ]
            ),
        }

    def _handler(self, method: AnyMethod, answer: Callable[[Any], Message]) -> Handler:
        async def handle(stream: Stream[Message, Message]) -> None:
            transport = self._note(method, stream)
            request = await stream.recv_message()
            faults = self.faults
            if method in faults.cuts_before:
                faults.cuts_before.remove(method)
                transport.abort()
                return
            if method in faults.hangs:
                await asyncio.Event().wait()
            if refusal := faults.refusals.pop(method, None):
                raise GRPCError(*refusal)
            response = answer(request)
            if method in faults.cuts_after:
                faults.cuts_after.remove(method)
                transport.abort()
                return
            await stream.send_message(response)

        return Handler(handle, Cardinality.UNARY_UNARY, method.request, method.response)

    def _stream_handler(self, method: AnyMethod) -> Handler:
        async def handle(stream: Stream[Message, Message]) -> None:
            self._note(method, stream)
            await stream.recv_message()
            if method is not self._events:
                raise GRPCError(Status.UNIMPLEMENTED, "unknown method")
            queue: asyncio.Queue[Message | None] = asyncio.Queue()
            self._streams.append((method, queue))
            self.following.set()
            try:
                while (message := await queue.get()) is not None:
                    await stream.send_message(message)
            finally:
                self._streams.remove((method, queue))

        return Handler(handle, Cardinality.UNARY_STREAM, method.request, method.response)

    def _note(self, method: AnyMethod, stream: Stream[Message, Message]) -> asyncio.Transport:
        self.calls.append(method.path.rpartition("/")[2])
        self._called.set()
        transport = stream._stream._transport
        self._transports.add(transport)
        return transport

    def _new_id(self) -> str:
        self._number += 1
        return f"{self._number:064x}"

    @staticmethod
    def _reserve(kind: str, name: str, taken: Iterable[Sandbox | Container]) -> None:
        for other in taken:
            if other.name == name:
                words = f'failed to reserve {kind} name "{name}": name "{name}" is reserved for'
                raise GRPCError(Status.UNKNOWN, f'{words} "{other.id}"')

    def _run_sandbox(self, request: cri.RunPodSandboxRequest) -> Message:
        sandbox = Sandbox(self._new_id(), request.config, time.time_ns())
        self._reserve("sandbox", sandbox.name, self.sandboxes.values())
        self.sandboxes[sandbox.id] = sandbox
        return cri.RunPodSandboxResponse(pod_sandbox_id=sandbox.id)

    def _stop_sandbox(self, request: cri.StopPodSandboxRequest) -> Message:
        if sandbox := self.sandboxes.get(request.pod_sandbox_id):
            sandbox.is_ready = False
            for container in self._within(sandbox):
                if container.status.state == cri.CONTAINER_RUNNING:
                    self.end(container.id, 137)
        return cri.StopPodSandboxResponse()

    def _remove_sandbox(self, request: cri.RemovePodSandboxRequest) -> Message:
        if sandbox := self.sandboxes.pop(request.pod_sandbox_id, None):
            for container in self._within(sandbox):
                del self.containers[container.id]
        return cri.RemovePodSandboxResponse()

    def _within(self, sandbox: Sandbox) -> list[Container]:
        return [c for c in self.containers.values() if c.sandbox is sandbox]

    def _sandbox_status(self, request: cri.PodSandboxStatusRequest) -> Message:
        sandbox = self.sandboxes.get(request.pod_sandbox_id)
        if sandbox is None:
            raise GRPCError(Status.NOT_FOUND, "no such sandbox")
        log_directory = sandbox.config.log_directory
        info = f'{{"pid": 1, "config": {{"log_directory": "{log_directory}"}}}}'
        return cri.PodSandboxStatusResponse(
            status=cri.PodSandboxStatus(
                id=sandbox.id,
                metadata=sandbox.config.metadata,
                network=cri.PodSandboxNetworkStatus(
                    ip="10.0.0.2", additional_ips=[cri.PodIP(ip="fd00::2")]
                ),
                labels=sandbox.config.labels,
                annotations=sandbox.config.annotations,
            ),
            info={"info": info} if request.verbose else None,
        )

    def _list_sandboxes(self, request: cri.ListPodSandboxRequest) -> Message:
        wanted = request.filter.label_selector.items()
        return cri.ListPodSandboxResponse(
            items=[
                cri.PodSandbox(
                    id=sandbox.id,
                    metadata=sandbox.config.metadata,
                    state=cri.SANDBOX_READY if sandbox.is_ready else cri.SANDBOX_NOTREADY,
                    created_at=sandbox.created_at,
                    labels=sandbox.config.labels,
                    annotations=sandbox.config.annotations,
                )
                for sandbox in self.sandboxes.values()
                if wanted <= sandbox.config.labels.items()
            ]
        )

    def _create_container(self, request: cri.CreateContainerRequest) -> Message:
        sandbox = self.sandboxes.get(request.pod_sandbox_id)
        if sandbox is None:
            raise GRPCError(Status.NOT_FOUND, "failed to find sandbox")
        config = request.config
        status = cri.ContainerStatus(
            id=self._new_id(),
            metadata=config.metadata,
            created_at=time.time_ns(),
            image=cri.ImageSpec(image=BUSYBOX),
            image_ref="sha256:0badcafe",
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=f"{sandbox.config.log_directory}/{config.log_path}",
        )
        container = Container(status.id, sandbox, config, status)
        self._reserve("container", container.name, self.containers.values())
        self.containers[container.id] = container
        return cri.CreateContainerResponse(container_id=container.id)

    def _start_container(self, request: cri.StartContainerRequest) -> Message:
        container = self._find(request.container_id)
        status, command = container.status, [*container.config.command, *container.config.args]
        if status.state != cri.CONTAINER_CREATED:
            state = cri.ContainerState.Name(status.state)
            raise GRPCError(Status.UNKNOWN, f"container is in {state} state")
        if command[:1] == ["no-such-thing"]:
            self.end(container.id, 128, "StartError")
            status.message = 'exec: "no-such-thing": executable file not found in $PATH'
            raise GRPCError(Status.UNKNOWN, status.message)
        status.state, status.started_at = cri.CONTAINER_RUNNING, time.time_ns()
        script = command[-1] if command else ""
        Path(status.log_path).touch()
        self._write(container, script)
        if found := re.search(r"exit (\d+)", script):
            self.end(container.id, int(found[1]))
        return cri.StartContainerResponse()

    @staticmethod
    def _write(container: Container, script: str) -> None:
        for words, target in re.findall(r"echo ([^;>]+?)(?: > (\S+?))?(?:;|$)", script):
            if target == "":
                with Path(container.status.log_path).open("a") as log:
                    log.write(f"2026-01-01T00:00:00.0Z stdout F {words}\n")
            for mount in container.config.mounts:
                if mount.container_path == target:
                    Path(mount.host_path).write_text(f"{words}\n")

    def _stop_container(self, request: cri.StopContainerRequest) -> Message:
        container = self._find(request.container_id)
        if container.status.state in {cri.CONTAINER_RUNNING, cri.CONTAINER_UNKNOWN}:
            self.end(container.id, 137)
        return cri.StopContainerResponse()

    def _remove_container(self, request: cri.RemoveContainerRequest) -> Message:
        self.containers.pop(request.container_id, None)
        return cri.RemoveContainerResponse()

    def _find(self, container_id: str) -> Container:
        try:
            return self.containers[container_id]
        except KeyError:
            raise GRPCError(Status.NOT_FOUND, f"no container {container_id}") from None

    def _list_containers(self, request: cri.ListContainersRequest) -> Message:
        wanted = request.filter.label_selector.items()
        return cri.ListContainersResponse(
            containers=[
                cri.Container(
                    id=c.id,
                    pod_sandbox_id=c.sandbox.id,
                    metadata=c.config.metadata,
                    image=c.config.image,
                    image_ref=c.status.image_ref,
                    state=c.status.state,
                    created_at=c.status.created_at,
                    labels=c.config.labels,
                    annotations=c.config.annotations,
                )
                for c in self.containers.values()
                if wanted <= c.config.labels.items()
            ]
        )

    def _exec_sync(self, request: cri.ExecSyncRequest) -> Message:
        container = self._find(request.container_id)
        if container.status.state != cri.CONTAINER_RUNNING:
            raise GRPCError(Status.UNKNOWN, "container is not running")
        if request.cmd[0] == "sleep":
            raise GRPCError(Status.DEADLINE_EXCEEDED, f"timeout {request.timeout}s exceeded")
        script = request.cmd[-1]
        found = re.search(r"exit (\d+)", script)
        output = "".join(f"{words}\n" for words in re.findall(r"echo ([^;>]+?)(?:;|$)", script))
        return cri.ExecSyncResponse(stdout=output.encode(), exit_code=int(found[1]) if found else 0)

    def _reopen_log(self, request: cri.ReopenContainerLogRequest) -> Message:
        Path(self._find(request.container_id).status.log_path).touch()
        return cri.ReopenContainerLogResponse()

    def _list_stats(self, _: cri.ListContainerStatsRequest) -> Message:
        answer = cri.ListContainerStatsResponse()
        for c in self.containers.values():
            one = answer.stats.add()
            one.attributes.id = c.id
            one.attributes.metadata.CopyFrom(c.config.metadata)
            one.attributes.labels.update(c.config.labels)
            if c.status.state == cri.CONTAINER_RUNNING:
                one.cpu.timestamp = time.time_ns()
                one.cpu.usage_core_nano_seconds.value = 5
                one.memory.working_set_bytes.value = 4096
        return answer

    def _image(self, spec: cri.ImageSpec) -> cri.Image | None:
        for tag, image in self.images.items():
            if spec.image in {tag, image.id}:
                return image
        return None

    def _pull_image(self, request: cri.PullImageRequest) -> Message:
        self.pulls.append(request)
        name = request.image.image
        image_id = f"sha256:{len(self.pulls):08x}"
        self.images[name] = cri.Image(id=image_id, repo_tags=[name])
        return cri.PullImageResponse(image_ref=image_id)

    def _remove_image(self, request: cri.RemoveImageRequest) -> Message:
        for tag, image in list(self.images.items()):
            if request.image.image in {tag, image.id}:
                del self.images[tag]
        return cri.RemoveImageResponse()


@asynccontextmanager
async def fake_cri(
    folder: Path, events: AnyMethod | None = methods.CONTAINERD_EVENTS
) -> AsyncIterator[FakeCri]:
    """An engine that answers at ``folder/cri.sock``."""
    engine = FakeCri(folder / "cri.sock", events)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
