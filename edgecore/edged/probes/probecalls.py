"""Run one probe of one container: a command, an HTTP GET, a connection or a gRPC health check.

The words of the answers are those that kubelet's events have. Probes go out from the node, to the
pod's own address.

Source: Kubernetes pkg/kubelet/prober/prober.go and pkg/probe.
"""

import asyncio
from typing import Final

from msgspec import Struct

from common.errors import RuntimeServiceError
from edgecore.edged.podview import Object
from edgecore.edged.probes.dialing import DialError, dial
from edgecore.edged.probes.httprequest import PortError, port_of, request_of
from edgecore.edged.probes.probes import Answer, Outcome
from edgecore.edged.probes.probespec import Probe
from edgecore.edged.probes.probewords import MAX_CHARS, excerpt, join_host_port, timed_out
from edgecore.edged.runtime.base import ExecResult, PodObservation, Runtime
from edgecore.edged.spec.env import expand

_TRIES: Final = 3


class Target(Struct, frozen=True):
    """Whom a probe or a hook is for."""

    container: Object
    """Its part of the pod's spec."""
    container_id: str
    ip: str
    """The pod's address, or the node's where the pod has none of its own."""


def address_of(observed: PodObservation, node_ip: str) -> str:
    """Return where a pod answers, as seen from the node."""
    return observed.ips[0] if observed.ips else node_ip


async def run_probe(probe: Probe, target: Target, runtime: Runtime) -> Answer:
    """Run ``probe`` once, and again at once if it could not be run.

    Takes no longer than the probe's timeout for each of the three tries.

    Cancellation: a command that was begun in the container may go on.
    """
    for _ in range(_TRIES - 1):
        answer = await _run(probe, target, runtime)
        if answer.outcome is not Outcome.UNKNOWN:
            return answer
    return await _run(probe, target, runtime)


async def _run(probe: Probe, target: Target, runtime: Runtime) -> Answer:
    try:
        match probe.handler:
            case {"exec": action}:
                return await _exec(probe, action, target, runtime)
            case {"httpGet": action}:
                return await _http_get(probe, action, target)
            case {"tcpSocket": action}:
                return await _tcp_socket(probe, action, target)
            case {"grpc": action}:
                return await _grpc(probe, action, target.ip)
            case _:
                name = target.container["name"]
                return Answer(Outcome.UNKNOWN, f"missing probe handler for {name}")
    except (PortError, RuntimeServiceError) as error:
        return Answer(Outcome.UNKNOWN, str(error)[:MAX_CHARS])


async def _exec(probe: Probe, action: Object, target: Target, runtime: Runtime) -> Answer:
    # Only what stands in the spec itself is expanded; there is no ConfigMap at hand here.
    variables = {e["name"]: e.get("value", "") for e in target.container.get("env") or ()}
    command = [expand(word, variables) for word in action.get("command") or ()]
    try:
        result: ExecResult = await runtime.exec_sync(target.container_id, command, probe.timeout_s)
    except TimeoutError:
        return Answer(Outcome.FAILURE, timed_out(command, probe.timeout_s))
    outcome = Outcome.FAILURE if result.exit_code else Outcome.SUCCESS
    return Answer(outcome, excerpt(result.output))


async def _http_get(probe: Probe, action: Object, target: Target) -> Answer:
    # Not at the top, as ``grpchealth``: few pods need it.
    from edgecore.edged.probes.httpget import HttpGetError, get  # noqa: PLC0415

    request = request_of(action, target.container, target.ip, "probe")
    try:
        async with asyncio.timeout(probe.timeout_s):
            response = await get(request)
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Answer(Outcome.FAILURE, f'Get "{request.url}": {why}')
    except HttpGetError as error:
        return Answer(Outcome.FAILURE, str(error)[:MAX_CHARS])
    if not 200 <= response.status < 400:
        # The body stays out of it: it may hold what is nobody's business.
        words = f"HTTP probe failed with statuscode: {response.status}"
        return Answer(Outcome.FAILURE, words)
    if response.status >= 300:
        words = f"Probe terminated redirects, Response body: {excerpt(response.body)}"
        return Answer(Outcome.WARNING, words)
    return Answer(Outcome.SUCCESS, excerpt(response.body))


async def _tcp_socket(probe: Probe, action: Object, target: Target) -> Answer:
    host, port = action.get("host") or target.ip, port_of(action.get("port"), target.container)
    try:
        async with asyncio.timeout(probe.timeout_s):
            _, writer = await dial(host, port)
    except TimeoutError:
        return Answer(Outcome.FAILURE, f"dial tcp {join_host_port(host, port)}: i/o timeout")
    except DialError as error:
        return Answer(Outcome.FAILURE, str(error))
    writer.transport.abort()
    return Answer(Outcome.SUCCESS)


async def _grpc(probe: Probe, action: Object, ip: str) -> Answer:
    # A few megabytes that few pods need.
    from edgecore.edged.probes import grpchealth  # noqa: PLC0415 - see above

    port, service = port_of(action.get("port"), {}), action.get("service") or ""
    return await grpchealth.check(ip, port, service, probe.timeout_s)
