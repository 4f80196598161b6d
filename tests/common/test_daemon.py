"""How a daemon ends: exit codes and words. Each run is a process of its own, with real signals."""

import signal
import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio
from common.settings import DaemonSettings
from common.daemon import run_daemon
from common.errors import ComponentExitedError, ConfigError, LinkError

def start(daemon):
    run_daemon("sample", daemon, DaemonSettings())
"""


def started(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(body: str) -> tuple[int, str]:
    with started(body) as process:
        _, errors = process.communicate(timeout=30)
        return process.returncode, errors


def waiting(body: str) -> subprocess.Popen[str]:
    """Return the process once it has said that it waits."""
    process = started(body)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    return process


def failing_with(error: str) -> str:
    return f"""
    async def daemon(settings, stop):
        raise {error}

    start(daemon)
    """


def test_a_daemon_that_ends_by_itself_ends_with_0_on_uvloop() -> None:
    code, errors = finished("""
        async def daemon(settings, stop):
            assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")

        start(daemon)
    """)
    assert (code, errors) == (0, "")


def test_what_is_to_say_of_the_configuration_is_logged_once() -> None:
    code, errors = finished("""
        async def daemon(settings, stop):
            pass

        settings = DaemonSettings(notes=("50 % of the file has no effect",))
        run_daemon("sample", daemon, settings)
    """)
    assert code == 0
    (line,) = errors.splitlines()
    assert "WARNING" in line
    assert "50 % of the file has no effect" in line


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        ("ConfigError(['--a: wrong', '--b: wrong'])", 2, ["--a: wrong", "--b: wrong"]),
        ("LinkError('nobody there')", 1, ["nobody there"]),
        (
            "ExceptionGroup('g', [LinkError('one'), ExceptionGroup('h', [LinkError('two')])])",
            1,
            ["one", "two"],
        ),
        ("ExceptionGroup('g', [LinkError('one'), ConfigError(['--a: wrong'])])", 2, ["one", "--a"]),
    ],
)
def test_what_is_foreseen_is_a_line_each_and_an_exit_code(
    error: str, code: int, lines: list[str]
) -> None:
    ended, errors = finished(failing_with(error))
    assert ended == code
    said = errors.splitlines()
    assert len(said) == len(lines)
    for line, words in zip(said, lines, strict=True):
        assert line.startswith("sample: ")
        assert words in line


@pytest.mark.parametrize(
    "error", ["ValueError('a bug')", "ExceptionGroup('g', [LinkError('x'), ValueError('a bug')])"]
)
def test_what_is_not_foreseen_keeps_its_traceback(error: str) -> None:
    code, errors = finished(failing_with(error))
    assert code == 1
    assert "Traceback" in errors
    assert "a bug" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_it_to_stop(number: signal.Signals) -> None:
    process = waiting("""
        async def daemon(settings, stop):
            print("waits", flush=True)
            await stop.wait()

        start(daemon)
    """)
    with process:
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_a_second_signal_stops_what_does_not_end() -> None:
    process = waiting("""
        async def daemon(settings, stop):
            print("waits", flush=True)
            await stop.wait()
            print("ends", flush=True)
            await asyncio.Event().wait()

        start(daemon)
    """)
    with process:
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.readline() == "ends\n"
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors == "sample: stopped at once, as asked for by a second signal\n"


def test_a_daemon_may_open_as_many_files_as_it_can() -> None:
    run = """
    import resource
    from common.daemon import raise_descriptor_limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    raise_descriptor_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    print(soft == hard)
    """
    process = started(run)
    assert process.communicate()[0] == "True\n"
