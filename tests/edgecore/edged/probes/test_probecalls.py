"""Probes that are run: against real servers in the test process; commands end as the test says."""

from typing import Any

import pytest

from common.names import UID
from edgecore.edged.probes.probecalls import Target, address_of, run_probe
from edgecore.edged.probes.probes import Answer, Outcome
from edgecore.edged.probes.probespec import Probe, ProbeKind
from edgecore.edged.runtime.base import PodObservation
from tests.edgecore.edged.probes.test_grpchealth import Health, grpc_server
from tests.edgecore.edged.scripted import ILL, ScriptedRuntime, refused
from tests.edgecore.edged.servers import HOST, answer, free_port, serving
from tests.edgecore.edged.world import container

SUCCESS, FAILURE, UNKNOWN = Outcome.SUCCESS, Outcome.FAILURE, Outcome.UNKNOWN


async def run(
    handler: dict[str, Any],
    runtime: ScriptedRuntime | None = None,
    timeout_s: float = 30,
    **fields: Any,
) -> Answer:
    probe = Probe(ProbeKind.READINESS, handler, timeout_s, 10, 0, 1, 3, None)
    target = Target(container("c", **fields), "id1", HOST)
    return await run_probe(probe, target, runtime or ScriptedRuntime())


def test_a_pod_answers_at_its_own_address_or_at_the_one_of_its_node() -> None:
    observed = PodObservation(UID("u"), "default", "web", "s", sandbox_ready=True)
    assert address_of(observed, "192.0.2.7") == "192.0.2.7"
    with_ips = PodObservation(
        UID("u"), "default", "web", "s", sandbox_ready=True, ips=("10.1.0.2", "fd00::2")
    )
    assert address_of(with_ips, "192.0.2.7") == "10.1.0.2"


async def test_a_command_says_by_its_exit_code_how_a_container_is() -> None:
    runtime = ScriptedRuntime()
    handler = {"exec": {"command": ["cat", "$(FILE)", "$(SECRET)", "$(X)", "$$(FILE)"]}}
    env = [{"name": "FILE", "value": "/tmp/x"}, {"name": "SECRET", "valueFrom": {}}]
    assert await run(handler, runtime, 2, env=env) == Answer(SUCCESS, "fine")
    assert runtime.calls == [("id1", ("cat", "/tmp/x", "", "$(X)", "$(FILE)"), 2)]
    runtime.result = ILL
    assert await run(handler, runtime) == Answer(FAILURE, "ill")


async def test_a_command_that_takes_too_long_is_a_failure() -> None:
    handler = {"exec": {"command": ["sleep", "9"]}}
    words = 'command timed out: "sleep 9" timed out after 30s'
    assert await run(handler, ScriptedRuntime(TimeoutError())) == Answer(FAILURE, words)


async def test_what_the_runtime_refuses_is_tried_again_and_says_nothing_of_the_container() -> None:
    runtime = ScriptedRuntime(refused())
    answered = await run({"exec": {"command": ["true"]}}, runtime)
    assert answered == Answer(UNKNOWN, "container is not running")
    assert len(runtime.calls) == 3


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        ({}, "missing probe handler for c"),
        ({"httpGet": {"port": "web"}}, "port web not found"),
        ({"tcpSocket": {"port": 0}}, "invalid port number: 0"),
        ({"grpc": {"port": 0}}, "invalid port number: 0"),
    ],
)
async def test_a_probe_that_makes_no_sense_says_nothing_of_the_container(
    handler: dict[str, Any], words: str
) -> None:
    assert await run(handler) == Answer(UNKNOWN, words)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer(200, "ok"), Answer(SUCCESS, "ok")),
        (answer(399), Answer(Outcome.WARNING, "Probe terminated redirects, Response body: ")),
        (
            answer(302, "go", "Location: http://elsewhere.example/"),
            Answer(Outcome.WARNING, "Probe terminated redirects, Response body: go"),
        ),
        (answer(400, "secret"), Answer(FAILURE, "HTTP probe failed with statuscode: 400")),
        (answer(503, "secret"), Answer(FAILURE, "HTTP probe failed with statuscode: 503")),
    ],
)
async def test_an_http_status_says_how_a_container_is(said: bytes, expected: Answer) -> None:
    async with serving(said) as server:
        ports = [{"name": "web", "containerPort": server.port}]
        assert await run({"httpGet": {"port": "web", "path": "/"}}, ports=ports) == expected
        assert "User-Agent: kube-probe/1.36" in server.requests[0]


async def test_an_http_answer_that_does_not_come_is_a_failure() -> None:
    async with serving(b"") as server:
        answered = await run({"httpGet": {"port": server.port}}, timeout_s=0.05)
    why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert answered == Answer(FAILURE, f'Get "http://{HOST}:{server.port}/": {why}')


async def test_nobody_is_there() -> None:
    port = free_port()
    refusal = f"dial tcp {HOST}:{port}: connect: connection refused"
    assert await run({"tcpSocket": {"port": port}}) == Answer(FAILURE, refusal)
    words = f'Get "http://{HOST}:{port}/": {refusal}'
    assert await run({"httpGet": {"port": port}}) == Answer(FAILURE, words)


async def test_who_takes_a_connection_is_there() -> None:
    async with serving(b"") as server:
        assert await run({"tcpSocket": {"port": server.port}}) == Answer(SUCCESS)
        assert await run({"tcpSocket": {"port": server.port, "host": HOST}}) == Answer(SUCCESS)


async def test_a_connection_that_takes_too_long_is_a_failure() -> None:
    words = f"dial tcp {HOST}:9: i/o timeout"
    assert await run({"tcpSocket": {"port": 9}}, timeout_s=0) == Answer(FAILURE, words)


async def test_a_grpc_server_says_how_it_is() -> None:
    async with grpc_server(Health()) as port:
        assert await run({"grpc": {"port": port}}) == Answer(SUCCESS, "service healthy")
        answered = await run({"grpc": {"port": port, "service": "ill"}})
        words = 'service unhealthy (responded with "NOT_SERVING")'
        assert answered == Answer(FAILURE, words)
