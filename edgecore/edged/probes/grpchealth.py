"""One health check by gRPC, for probes; without TLS, as Kubernetes has it.

Imported by who has such a probe only: the libraries take memory.

Source: Kubernetes pkg/probe/grpc/grpc.go and https://grpc.io/docs/guides/health-checking/
"""

import asyncio
from typing import Final

from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from edgecore.edged.probes.dialing import dial_words
from edgecore.edged.probes.probes import Answer, Outcome
from edgecore.edged.probes.probewords import MAX_CHARS, go_duration, join_host_port

_NO_HEALTH: Final = (
    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
)


async def check(host: str, port: int, service: str, timeout_s: float) -> Answer:
    """Ask whether ``service`` is healthy.

    Args:
        host: name or address.
        port: of the server.
        service: as the server knows it; empty for the server as a whole.
        timeout_s: for everything together.
    """
    address, is_connected = join_host_port(host, port), False
    channel = Channel(host, port)
    try:
        async with asyncio.timeout(timeout_s):
            await channel.__connect__()
            is_connected = True
            response = await HealthStub(channel).Check(HealthCheckRequest(service=service))
    except TimeoutError:
        return _failure(_timed_out(address, timeout_s, is_connected=is_connected))
    except GRPCError as error:
        return _failure(_refused(error))
    except (ProtocolError, StreamTerminatedError) as error:
        return _failure(f"error: health rpc probe failed: {error}")
    except (OSError, UnicodeError) as error:
        why = dial_words(error, host, port)
        return _failure(f'error: failed to connect service at "{address}": {why}')
    finally:
        channel.close()
    if response.status != HealthCheckResponse.SERVING:
        return _failure(f'service unhealthy (responded with "{_name(response.status)}")')
    return Answer(Outcome.SUCCESS, "service healthy")


def _failure(words: str) -> Answer:
    return Answer(Outcome.FAILURE, words[:MAX_CHARS])


def _name(status: int) -> str:
    """Return the word for a status; a newer server may have one that is not known here."""
    known = HealthCheckResponse.ServingStatus.items()
    return next((name for name, number in known if number == status), str(status))


def _timed_out(address: str, timeout_s: float, *, is_connected: bool) -> str:
    time = go_duration(timeout_s)
    if is_connected:
        return f"timeout: health rpc did not complete within {time}"
    why = "context deadline exceeded"
    return f'timeout: failed to connect service "{address}" within {time}: {why}'


def _refused(error: GRPCError) -> str:
    if error.status is Status.UNIMPLEMENTED:
        return f"{_NO_HEALTH}: {error.message or ''}"
    code = error.status.name.title().replace("_", "")
    return f"error: health rpc probe failed: rpc error: code = {code} desc = {error.message or ''}"
