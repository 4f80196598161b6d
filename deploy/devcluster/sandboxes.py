"""Ask a container engine, beside edgecore: can it run pods, which are there, take them away."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from common.errors import RuntimeServiceError
from deploy.devcluster.api import WaitError
from deploy.devcluster.machine import ContainerEngineError
from edgecore.edged.runtime.cri import cri_pb2
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.methods import (
    LIST_IMAGES,
    LIST_SANDBOXES,
    REMOVE_SANDBOX,
    STATUS,
    STOP_SANDBOX,
)

_POLL_S: Final = 0.05
_STATUS_S: Final = 2.0
# Words of every gRPC server in Go. Containerd goes on without its CRI plugin when that fails.
_NO_CRI: Final = "unknown service"
_IMAGE_PREFIX: Final = "docker.io/library/"


async def engine_fault(endpoint: str) -> str:
    """Return why the engine at ``endpoint`` cannot run pods now; "" where it can.

    Raises:
        ContainerEngineError: it never will: what listens there has no CRI.
    """
    async with _client(endpoint) as client:
        try:
            answer = await client.call(STATUS, cri_pb2.StatusRequest(), _STATUS_S)
        except RuntimeServiceError as error:
            if _NO_CRI in str(error):
                raise ContainerEngineError(f"no CRI at {endpoint}: {error}") from error
            return str(error)
    faults = [
        f"{condition.type} is false: {condition.reason}: {condition.message}"
        for condition in answer.status.conditions
        if condition.type in {"RuntimeReady", "NetworkReady"} and not condition.status
    ]
    return "; ".join(faults)


async def sandboxes(endpoint: str) -> dict[str, str]:
    """Return the sandboxes of an engine, ready or not: id to ``namespace/name`` of its pod.

    Raises:
        RuntimeServiceError: it does not answer.
    """
    async with _client(endpoint) as client:
        answer = await client.call(LIST_SANDBOXES, cri_pb2.ListPodSandboxRequest())
    return {item.id: f"{item.metadata.namespace}/{item.metadata.name}" for item in answer.items}


async def has_image(endpoint: str, name: str) -> bool:
    """Whether the engine has an image called ``name``, as a pod would name it (``busybox``).

    Raises:
        RuntimeServiceError: it does not answer.
    """
    async with _client(endpoint) as client:
        answer = await client.call(LIST_IMAGES, cri_pb2.ListImagesRequest())
    return any(f"{_IMAGE_PREFIX}{name}:latest" in image.repo_tags for image in answer.images)


async def why_not_usable(endpoint: str, image: str) -> str:
    """Return why an edge must not use the engine at ``endpoint``; "" where it may.

    An edge removes the pods that it does not know: those of others are a reason.

    Args:
        endpoint: of the engine.
        image: what has to be there already.
    """
    try:
        fault = await engine_fault(endpoint)
        if fault:
            return fault
        if others := await sandboxes(endpoint):
            return f"it runs pods of others, such as {min(others.values())}"
        return "" if await has_image(endpoint, image) else f"it has no image {image}"
    except (ContainerEngineError, RuntimeServiceError) as error:
        return str(error)


async def until_empty(endpoint: str, timeout_s: float) -> None:
    """Return as soon as the engine has no sandbox.

    Raises:
        RuntimeServiceError: it does not answer.
        WaitError: it still had some after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while found := await sandboxes(endpoint):
        if time.monotonic() > deadline:
            raise WaitError(f"not within {timeout_s:g} s: no {', '.join(found.values())}")
        await asyncio.sleep(_POLL_S)


async def remove_sandboxes(endpoint: str) -> None:
    """Remove all sandboxes of an engine with their containers, all at once.

    Raises:
        RuntimeServiceError: it does not answer, or cannot remove one.
    """
    found = await sandboxes(endpoint)
    try:
        async with _client(endpoint) as client, asyncio.TaskGroup() as group:
            for sandbox in found:
                group.create_task(_remove(client, sandbox), name=f"remove {sandbox}")
    except* RuntimeServiceError as errors:
        raise errors.exceptions[0] from errors


async def _remove(client: CriClient, sandbox: str) -> None:
    await client.call(STOP_SANDBOX, cri_pb2.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    await client.call(REMOVE_SANDBOX, cri_pb2.RemovePodSandboxRequest(pod_sandbox_id=sandbox))


@contextlib.asynccontextmanager
async def _client(endpoint: str) -> AsyncIterator[CriClient]:
    # One for each call: the caller may have another event loop each time.
    client = CriClient(endpoint)
    try:
        yield client
    finally:
        client.close()
