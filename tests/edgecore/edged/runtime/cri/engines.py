"""What the tests of the CRI runtime share: a runtime on an engine, and pods of one container."""

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.names import UID
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from edgecore.edged.runtime.cri.runtime import CriRuntime
from edgecore.edged.runtime.spec import ContainerConfig, Mount, SandboxConfig
from tests.edgecore.edged.runtime.cri.fakecri import BUSYBOX, TERMINATION_LOG

FOREVER = ("sleep", "1000000")


@dataclass(slots=True)
class Pod:
    """A pod of its own, with its folder."""

    folder: Path
    uid: UID = field(default_factory=lambda: UID(str(uuid.uuid4())))

    @property
    def log_dir(self) -> Path:
        return self.folder / f"logs-{self.uid}"

    @property
    def message(self) -> Path:
        return self.folder / f"message-{self.uid}"

    def sandbox(self, attempt: int = 0, **more: Any) -> SandboxConfig:
        return SandboxConfig(self.uid, "default", "web", attempt, self.log_dir, **more)

    def container(self, *command: str, attempt: int = 0, **more: Any) -> ContainerConfig:
        self.message.write_text("")
        return ContainerConfig(
            "c",
            attempt,
            "busybox",
            f"hash-{attempt}",
            self.log_dir / "c" / f"{attempt}.log",
            command,
            image_id=BUSYBOX,
            mounts=(Mount("", self.message, TERMINATION_LOG),),
            termination_message=self.message,
            **more,
        )

    async def run(self, runtime: CriRuntime, *command: str, **more: Any) -> str:
        """Run the pod with its container; return the container's id."""
        await runtime.run_sandbox(self.sandbox())
        return await self.start(runtime, *command, **more)

    async def start(self, runtime: CriRuntime, *command: str, **more: Any) -> str:
        container_id = await runtime.create_container(self.uid, self.container(*command, **more))
        await runtime.start_container(container_id)
        return container_id

    async def seen(self, runtime: CriRuntime) -> PodObservation:
        observed = await runtime.pod(self.uid)
        assert observed is not None
        return observed

    async def status(self, runtime: CriRuntime) -> ContainerStatus:
        [container] = (await self.seen(runtime)).containers
        return container

    async def ended(self, runtime: CriRuntime) -> ContainerStatus:
        """Return the container's status once it has ended."""
        async with aclosing(runtime.events()) as events:  # type: ignore[type-var] # a generator, of which the protocol says less
            async for uid in events:
                if uid == self.uid:
                    status = await self.status(runtime)
                    if status.state is ContainerState.EXITED:
                        return status
        raise AssertionError("events have no end")


@asynccontextmanager
async def runtime_on(endpoint: str, **options: Any) -> AsyncIterator[CriRuntime]:
    """A runtime that is open; what it started goes on running when it is closed."""
    runtime = CriRuntime(endpoint, **options)
    await runtime.open()
    try:
        yield runtime
    finally:
        await runtime.close()


async def remove_all(runtime: CriRuntime) -> None:
    """Leave the engine as it was before."""
    for pod in await runtime.list_pods():
        await runtime.stop_sandbox(pod.uid)
        await runtime.remove_sandbox(pod.uid)
