"""Lifecycle hooks: what a container wants done right after its start and right before its end.

Source: Kubernetes pkg/kubelet/lifecycle/handlers.go, and
https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
"""

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from common.errors import RuntimeServiceError
from edgecore.edged.podview import Object, container_of
from edgecore.edged.probes.httprequest import PortError, Request, request_of
from edgecore.edged.probes.probewords import excerpt
from edgecore.edged.runtime.base import ContainerStatus, Runtime

logger = logging.getLogger(__name__)


class HookError(Exception):
    """A hook failed; the text says why, and may hold what the container said.

    So it belongs into the pod's status at most, never into an event: there kubelet says no more
    than ``PostStartHook failed`` (reason ``FailedPostStartHook``) and ``PreStopHook failed``
    (``FailedPreStopHook``).
    """


async def run_hook(
    handler: Object,
    pod: Object,
    container: ContainerStatus,
    runtime: Runtime,
    ip: str,
    timeout_s: float,
) -> None:
    """Run one hook of a running container and return when it is through.

    Args:
        handler: ``postStart`` or ``preStop`` of the container's ``lifecycle``.
        pod: whose container it is.
        container: in which a command is run.
        runtime: that runs the container.
        ip: the pod's address, or the node's where the pod has none of its own.
        timeout_s: after which nobody waits for it any more.

    Raises:
        HookError: it failed. An HTTP answer of whatever status is no failure, as with kubelet.
        TimeoutError: it did not end within ``timeout_s``; kubelet has no event for that.

    Cancellation: a command that was begun in the container may go on.
    """
    about = f'for Container "{container.name}" in Pod "{_description(pod)}" failed'
    async with asyncio.timeout(timeout_s):
        match handler:
            case {"exec": {"command": command}}:
                await _exec(command, container.id, runtime, timeout_s, about)
            case {"httpGet": action}:
                await _http_get(action, container_of(pod, container.name), ip, about)
            case {"sleep": {"seconds": seconds}}:
                await asyncio.sleep(seconds)
            case _:
                # tcpSocket passes the API server, and no kubelet of today runs it.
                raise HookError(f"Cannot run handler: invalid handler: {', '.join(handler)}")


async def _exec(
    command: Sequence[str], container_id: str, runtime: Runtime, timeout_s: float, about: str
) -> None:
    what = f"Exec lifecycle hook ([{' '.join(command)}]) {about}"
    try:
        result = await runtime.exec_sync(container_id, command, timeout_s)
    except RuntimeServiceError as error:
        raise HookError(f"{what} - error: {error}") from error
    if result.exit_code:
        why = f"command '{' '.join(command)}' exited with {result.exit_code}"
        raise HookError(f'{what} - error: {why}, message: "{excerpt(result.output)}"')


async def _http_get(action: Object, container: Object, ip: str, about: str) -> None:
    # Not at the top: few pods need it.
    from edgecore.edged.probes.httpget import (  # noqa: PLC0415
        HttpGetError,
        PlainTextError,
        get,
    )

    try:
        request = request_of(action, container, ip, "lifecycle")
        try:
            await get(request)
        except PlainTextError:
            await get(_plain(request))
            logger.warning("HTTPS hook was answered in HTTP", extra={"to": request.url.address})
    except (HttpGetError, PortError) as error:
        what = f"HTTP lifecycle hook ({action.get('path', '')}) {about}"
        raise HookError(f"{what} - error: {error}") from error


def _plain(request: Request) -> Request:
    """Return ``request`` without TLS, and without what nobody but its receiver may see."""
    headers = tuple(h for h in request.headers if h[0].lower() != "authorization")
    return replace(request, url=replace(request.url, scheme="http"), headers=headers)


def _description(pod: Object) -> str:
    metadata = pod.get("metadata", {})
    return f"{metadata.get('name')}_{metadata.get('namespace')}({metadata.get('uid')})"
