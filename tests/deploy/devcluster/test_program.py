"""Programs that start, stop, fail and hang; real processes, which run small Python scripts."""

import asyncio
import sys
from pathlib import Path

import pytest

from deploy.devcluster.program import Program, ProgramError

pytestmark = pytest.mark.both_loops

READY_S = 20.0
GRACE_S = 20.0
NO_GRACE_S = 0.05

RUNS_UNTIL_ASKED = "print('ready', flush=True)\nimport signal\nsignal.pause()"
IGNORES_BEING_ASKED = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('ready', flush=True)\nwhile True: signal.pause()"
)
FAILS = "import sys\nprint('the disk is full')\nsys.exit(3)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "program.log"


def script(source: str, log: Path) -> Program:
    return Program("script", [sys.executable, "-c", source], log)


async def run_until_ready(program: Program) -> None:
    async def is_ready() -> bool:
        return b"ready" in program.log.read_bytes()

    program.start()
    await program.wait_ready(is_ready, READY_S)


async def never() -> bool:
    return False


async def test_a_program_is_gone_after_stop_and_can_be_started_again(log: Path) -> None:
    program = script(RUNS_UNTIL_ASKED, log)
    for _ in range(2):
        await run_until_ready(program)
        assert program.running
        assert program.pid is not None
        await program.stop(GRACE_S)
        assert not program.running
        assert program.pid is None
        log.write_bytes(b"")


async def test_a_program_that_does_not_end_when_asked_is_killed(log: Path) -> None:
    program = script(IGNORES_BEING_ASKED, log)
    await run_until_ready(program)
    await program.stop(NO_GRACE_S)
    assert not program.running


async def test_a_cancelled_stop_leaves_nothing_running(log: Path) -> None:
    program = script(IGNORES_BEING_ASKED, log)
    await run_until_ready(program)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(NO_GRACE_S):
            await program.stop(GRACE_S)
    assert not program.running


async def test_a_killed_program_is_gone_when_kill_returns(log: Path) -> None:
    program = script(IGNORES_BEING_ASKED, log)
    await run_until_ready(program)
    program.kill()
    assert not program.running
    program.kill()


async def test_a_program_that_ends_early_is_reported_with_the_end_of_its_log(log: Path) -> None:
    program = script(FAILS, log)
    program.start()
    with pytest.raises(ProgramError, match=r"(?s)ended \(3\) before it was ready.*disk is full"):
        await program.wait_ready(never, READY_S)


async def test_a_program_that_never_gets_ready_is_reported(log: Path) -> None:
    program = script(RUNS_UNTIL_ASKED, log)
    program.start()
    with pytest.raises(ProgramError, match=r"was not ready after 0\.05 s"):
        await program.wait_ready(never, NO_GRACE_S)
    await program.stop(GRACE_S)


async def test_waiting_for_a_program_that_was_stopped_is_reported(log: Path) -> None:
    with pytest.raises(ProgramError, match="was stopped before it was ready"):
        await script(RUNS_UNTIL_ASKED, log).wait_ready(never, READY_S)


async def test_a_second_start_is_refused_and_the_first_goes_on(log: Path) -> None:
    program = script(RUNS_UNTIL_ASKED, log)
    await run_until_ready(program)
    with pytest.raises(ProgramError, match="runs already"):
        program.start()
    assert program.running
    await program.stop(GRACE_S)


async def test_only_harmless_variables_reach_the_program(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_NAME", "surprise")
    # It stays until it is asked: one that had ended would not count as ready.
    program = script(f"import os\nprint(sorted(os.environ))\n{RUNS_UNTIL_ASKED}", log)
    await run_until_ready(program)
    await program.stop(GRACE_S)
    assert "PATH" in log.read_text()
    assert "ETCD_NAME" not in log.read_text()
