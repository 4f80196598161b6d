"""Health checks against a real gRPC server in the test process; nothing faked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthBase
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Server, Stream

from edgecore.edged.probes.grpchealth import check
from edgecore.edged.probes.probes import Answer, Outcome
from tests.edgecore.edged.servers import HOST, free_port, serving

HealthStream: TypeAlias = Stream[HealthCheckRequest, HealthCheckResponse]


class Health(HealthBase):
    """Serves the service ``web`` only; ``slow`` is never heard of."""

    def __init__(self) -> None:
        self.is_slow = asyncio.Event()
        """Set when somebody waits for ``slow``."""

    async def Check(self, stream: HealthStream) -> None:  # noqa: N802 - gRPC's name
        request = await stream.recv_message()
        assert request is not None
        match request.service:
            case "web" | "":
                status = HealthCheckResponse.SERVING
            case "ill":
                status = HealthCheckResponse.NOT_SERVING
            case "slow":
                self.is_slow.set()
                await asyncio.Event().wait()
                status = HealthCheckResponse.UNKNOWN
            case "none":
                raise GRPCError(Status.UNIMPLEMENTED, "unknown service grpc.health.v1.Health")
            case _:
                raise GRPCError(Status.NOT_FOUND, "unknown service")
        await stream.send_message(HealthCheckResponse(status=status))

    async def Watch(self, stream: HealthStream) -> None:  # noqa: N802 - gRPC's name
        raise NotImplementedError


@asynccontextmanager
async def grpc_server(*handlers: HealthBase) -> AsyncIterator[int]:
    """Run a gRPC server with these services, and yield its port."""
    port = free_port()
    server = Server(handlers)
    await server.start(HOST, port)
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("service", "outcome", "words"),
    [
        ("", Outcome.SUCCESS, "service healthy"),
        ("web", Outcome.SUCCESS, "service healthy"),
        ("ill", Outcome.FAILURE, 'service unhealthy (responded with "NOT_SERVING")'),
        (
            "other",
            Outcome.FAILURE,
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
    ],
)
@pytest.mark.both_loops
async def test_the_server_says_how_a_service_is(service: str, outcome: Outcome, words: str) -> None:
    async with grpc_server(Health()) as port:
        assert await check(HOST, port, service, 30) == Answer(outcome, words)


async def test_a_server_without_health_checks_is_told_apart() -> None:
    async with grpc_server(Health()) as port:
        answer = await check(HOST, port, "none", 30)
        assert answer.outcome is Outcome.FAILURE
        assert "does not implement the grpc health protocol (grpc.health.v1.Health)" in answer.words


async def test_an_answer_that_does_not_come_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[asyncio.Timeout] = []
    timeout, health = asyncio.timeout, Health()

    def long(_: float) -> asyncio.Timeout:
        timeouts.append(timeout(1000))
        return timeouts[-1]

    async with grpc_server(health) as port, asyncio.TaskGroup() as tasks:
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "timeout", long)
            asked = tasks.create_task(check(HOST, port, "slow", 0.05))
            await health.is_slow.wait()
        timeouts[0].reschedule(0)  # once it is connected, however long that has taken
    words = "timeout: health rpc did not complete within 0s"
    assert asked.result() == Answer(Outcome.FAILURE, words)


async def test_nobody_is_there() -> None:
    port = free_port()
    why = f"dial tcp {HOST}:{port}: connect: connection refused"
    words = f'error: failed to connect service at "{HOST}:{port}": {why}'
    assert await check(HOST, port, "", 30) == Answer(Outcome.FAILURE, words)


async def test_what_is_no_grpc_is_a_failure() -> None:
    async with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        answer = await check(HOST, server.port, "", 30)
        assert answer.outcome is Outcome.FAILURE
        assert answer.words.startswith("error: health rpc probe failed")


async def test_a_connection_that_is_never_made_is_told_from_an_answer_that_never_comes() -> None:
    answer = await check(HOST, free_port(), "", 0)
    assert answer.words.startswith("timeout: failed to connect service")
    assert answer.words.endswith("within 0s: context deadline exceeded")
