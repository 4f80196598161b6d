"""The command line of edgecore, as processes of their own; nobody is at the other end."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

OFFLINE = [
    *("--cloud", "127.0.0.1", "--websocket-port", "1", "--https-port", "1"),
    *("--node-ip", "::1", "--monitor-address", ""),
]


def edgecore(*arguments: str) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if "EDGECORE" not in name}
    return subprocess.Popen(
        [sys.executable, "-c", "from edgecore.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def finished(*arguments: str) -> tuple[int, str, str]:
    with edgecore(*arguments) as process:
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Return a running edgecore that has said that it is ready."""
    arguments = ["run", "--runtime", "hollow", "--node-name", "n1", "--data-dir", str(folder)]
    process = edgecore(*arguments, *OFFLINE, *more)
    assert process.stderr is not None
    for line in process.stderr:
        if "edgecore is ready" in line:
            return process
    raise AssertionError("it never was ready")


def test_the_help_names_every_option_with_its_default_and_variable() -> None:
    code, output, _ = finished("run", "--help")
    assert code == 0
    for words in ("--node-name", "--token-file", "10002", "EDGECORE_DATA_DIR"):
        assert words in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "--cloud: must be given"),
        (["run", "--cloud", "c", "--runtime-endpoint", "tcp://host"], "runtime endpoint"),
        (["run", "--cloud", "c", "--local-address", "0.0.0.0:1"], "no address of loopback"),
        (["run", "--cloud", "c", "--websocket-port", "0"], "--websocket-port"),
        (["hollow", "--cloud", "c", "--count", "0"], "--count"),
        (["hollow", "--cloud", "c", "--count", "1", "--node-name-prefix", "A"], "name a Node"),
    ],
)
def test_a_faulty_configuration_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], words: str
) -> None:
    code, _, errors = finished(*arguments)
    assert code == 2
    assert words in errors
    assert "Traceback" not in errors


def test_a_store_of_something_else_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "edge-store.db").mkdir()
    code, _, errors = finished(
        "run", "--runtime", "hollow", "--node-name", "n1", "--data-dir", str(tmp_path), *OFFLINE
    )
    assert code == 1
    assert "edge-store.db" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "goes on running" in errors


def test_a_second_edgecore_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        code, _, errors = finished(
            "run", "--runtime", "hollow", "--node-name", "n1", "--data-dir", str(tmp_path), *OFFLINE
        )
        assert code == 2
        assert "in use by another edgecore" in errors
        process.terminate()
        process.communicate(timeout=30)


def test_the_token_is_in_no_log_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    token = f"{'0' * 64}.SECRET.SECRET.SECRET"
    with started(tmp_path, "--token", token, "--log-level", "debug") as process:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        process.terminate()
        output, errors = process.communicate(timeout=30)
    assert "SECRET" not in output + errors
    assert re.search(r"aiohttp|kubernetes|cryptography", maps) is None


def test_a_token_in_the_environment_is_warned_of_and_one_on_standard_input_is_taken(
    tmp_path: Path,
) -> None:
    program = [sys.executable, "-c", "from edgecore.cli import main; main()", "run"]
    options = ["--runtime", "hollow", "--node-name", "n1", "--data-dir", str(tmp_path), *OFFLINE]
    environ = {**os.environ, "EDGECORE_TOKEN": "hunter2"}
    with subprocess.Popen(
        [*program, *options], stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stderr is not None
        said = ""
        while "the token is not one" not in said:
            said += process.stderr.readline()
        process.terminate()
    assert "the token was in the environment (EDGECORE_TOKEN): better give --token-file" in said
    assert "hunter2" not in said
    del environ["EDGECORE_TOKEN"]
    with subprocess.Popen(
        [*program, *options, "--token-file", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("also.not.one")
        process.stdin.close()
        said = ""
        while "the token is not one" not in said:
            said += process.stderr.readline()
        process.terminate()
