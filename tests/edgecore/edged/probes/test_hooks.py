"""Lifecycle hooks: HTTP against real servers in the test process; commands end as the test says."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from edgecore.edged.probes.hooks import HookError, run_hook
from edgecore.edged.runtime.base import ContainerState, ContainerStatus
from tests.edgecore.edged.scripted import ILL, ScriptedRuntime, refused
from tests.edgecore.edged.servers import HOST, answer, free_port, listening, serving
from tests.edgecore.edged.world import container, pod_object

ABOUT = 'for Container "c" in Pod "web_default(uid-web)" failed'
COMMAND = {"exec": {"command": ["/bin/leave", "now"]}}


async def run(
    handler: dict[str, Any],
    runtime: ScriptedRuntime | None = None,
    timeout_s: float = 30,
    **fields: Any,
) -> None:
    pod = pod_object("web", containers=[container("c", **fields)])
    status = ContainerStatus("id1", "c", 0, ContainerState.RUNNING, "s")
    await run_hook(handler, pod, status, runtime or ScriptedRuntime(), HOST, timeout_s)


async def test_a_command_is_run_in_the_container() -> None:
    runtime = ScriptedRuntime()
    await run(COMMAND, runtime)
    assert runtime.calls == [("id1", ("/bin/leave", "now"), 30)]


async def test_a_command_that_fails_fails_the_hook() -> None:
    with pytest.raises(HookError) as failure:
        await run(COMMAND, ScriptedRuntime(ILL))
    why = "error: command '/bin/leave now' exited with 1, message: \"ill\""
    assert str(failure.value) == f"Exec lifecycle hook ([/bin/leave now]) {ABOUT} - {why}"
    with pytest.raises(HookError, match="error: container is not running"):
        await run(COMMAND, ScriptedRuntime(refused()))


async def test_what_does_not_end_in_time_is_told_apart() -> None:
    with pytest.raises(TimeoutError):
        await run(COMMAND, ScriptedRuntime(TimeoutError()))
    with pytest.raises(TimeoutError):
        await run({"sleep": {"seconds": 1000}}, timeout_s=0)
    async with serving(b"") as server:
        with pytest.raises(TimeoutError):
            await run({"httpGet": {"port": server.port}}, timeout_s=0.05)


async def test_a_pause_ends_by_itself() -> None:
    await run({"sleep": {"seconds": 0}})


async def test_an_http_answer_of_whatever_status_is_well() -> None:
    async with serving(answer(500)) as server:
        ports = [{"name": "web", "containerPort": server.port}]
        await run({"httpGet": {"port": "web", "path": "/bye"}}, ports=ports)
        assert server.requests[0].startswith("GET /bye HTTP/1.1")
        assert "User-Agent: kube-lifecycle/1.36" in server.requests[0]


@pytest.mark.parametrize("port", [None, "web"])
async def test_nobody_who_answers_fails_the_hook(port: str | None) -> None:
    with pytest.raises(HookError) as failure:
        await run({"httpGet": {"port": port or free_port(), "path": "/bye"}})
    assert str(failure.value).startswith(f"HTTP lifecycle hook (/bye) {ABOUT} - error: ")


async def test_who_answers_tls_in_plain_text_is_asked_again_without_and_told_no_secret() -> None:
    headers = [{"name": "Authorization", "value": "Bearer x"}, {"name": "X-Other", "value": "y"}]
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            heads.append(await reader.read(4096))
            writer.write(answer(200))
            await reader.read()
        writer.transport.abort()

    async with listening(serve) as port:
        await run({"httpGet": {"port": port, "scheme": "HTTPS", "httpHeaders": headers}})
    hello, head = heads
    assert hello[:2] == b"\x16\x03"
    assert b"X-Other: y" in head
    assert b"Authorization" not in head


@pytest.mark.parametrize("handler", [{"tcpSocket": {"port": 80}}, {}])
async def test_what_kubelet_does_not_run_fails(handler: dict[str, Any]) -> None:
    with pytest.raises(HookError, match="Cannot run handler: invalid handler"):
        await run(handler)
