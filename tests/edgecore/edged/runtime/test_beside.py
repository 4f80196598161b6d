"""Commands beside a process. Real: processes of this machine; no namespaces (see test_process)."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.runtime import beside
from edgecore.edged.runtime.beside import MAX_OUTPUT_BYTES, run_beside


@pytest.fixture
def pid() -> Iterator[int]:
    environment = {"PATH": "/usr/bin:/bin", "NAME": "value with = and space"}
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/cat"], stdin=pipe, stdout=pipe, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # The kernel shows the environment of a process a little after the program has begun.
        process.stdin.write(b"up\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"up\n"
        yield process.pid


async def run(pid: int, script: str, timeout_s: float = 30.0) -> tuple[int, bytes]:
    result = await run_beside(pid, ["/bin/sh", "-c", script], timeout_s, enter=False)
    return result.exit_code, result.output


async def test_a_command_has_the_environment_of_the_process(pid: int) -> None:
    assert await run(pid, 'echo "$NAME"; echo wrong >&2; exit 3') == (
        3,
        b"value with = and space\nwrong\n",
    )


async def test_a_process_that_becomes_another_program_just_now_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "environ"
    file.touch()

    async def pass_time(_: float) -> None:
        file.write_bytes(b"A=1\0")

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    assert await beside._shown(file) == b"A=1\0"


async def test_a_process_may_have_no_environment() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/cat"], stdin=pipe, env={}) as process:  # noqa: ASYNC220 - it only has to be there
        assert await run(process.pid, 'echo "$NAME"') == (0, b"\n")


async def test_a_command_that_is_killed_ends_as_a_shell_would_say(pid: int) -> None:
    assert await run(pid, "kill -9 $$") == (137, b"")


async def test_output_is_cut_and_the_command_is_not_held_up(pid: int) -> None:
    code, output = await run(pid, "head -c 1000000 /dev/zero; exit 5")
    assert (code, len(output)) == (5, MAX_OUTPUT_BYTES)


async def test_a_command_that_takes_too_long_is_killed_with_what_it_started(pid: int) -> None:
    with pytest.raises(TimeoutError):
        await run(pid, "sleep 1000 & sleep 1000", timeout_s=0.2)


async def test_what_cannot_be_run_is_said(pid: int) -> None:
    with pytest.raises(RuntimeServiceError, match="/no/such: No such file"):
        await run_beside(pid, ["/no/such"], 30, enter=False)
    with pytest.raises(RuntimeServiceError):
        await run_beside(2**30, ["/bin/true"], 30, enter=False)
