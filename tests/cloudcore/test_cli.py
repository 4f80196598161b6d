"""The command line of cloudcore, as processes of their own; there is no API server."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.devcluster.ports import free_ports
from tests.cloudcore.nobody import NOBODY, kubeconfig_of_nobody


def cloudcore(*arguments: str) -> tuple[int, str, str]:
    environ = {name: value for name, value in os.environ.items() if "CLOUDCORE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", "from cloudcore.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env=environ,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def unreachable(tmp_path: Path) -> Path:
    """A kubeconfig that names an API server where nobody listens."""
    return kubeconfig_of_nobody(tmp_path)


def test_the_help_names_every_option_with_its_default_and_variable() -> None:
    code, output, _ = cloudcore("run", "--help")
    assert code == 0
    for words in ("--advertise-address", "--max-message-bytes", "10002", "CLOUDCORE_DATA_DIR"):
        assert words in output


def test_the_version_is_one_line() -> None:
    code, output, _ = cloudcore("--version")
    assert code == 0
    assert output.startswith("cloudcore ")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "cloudcore: --advertise-address: must be given"),
        (["run", "--advertise-address", "a", "--https-port", "0"], "cloudcore: --https-port"),
        (["run", "--config", "/nowhere.yaml"], "cloudcore: /nowhere.yaml: cannot be read"),
        (["token", "create", "--kubeconfig", "/nowhere"], "--kubeconfig: /nowhere"),
        (["token", "create", "--ttl-hours", "0"], "--ttl-hours"),
        (["explode"], "explode"),
    ],
)
def test_a_faulty_command_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], words: str
) -> None:
    code, output, errors = cloudcore(*arguments)
    assert code == 2
    assert words in errors
    assert output == ""
    assert "Traceback" not in errors


def test_an_api_server_that_is_away_is_one_clear_line(unreachable: Path) -> None:
    code, output, errors = cloudcore("token", "create", "--kubeconfig", str(unreachable))
    assert code == 1
    assert output == ""
    (line,) = errors.splitlines()
    assert line.startswith("cloudcore: 503 ")
    assert NOBODY.removeprefix("http://").partition(":")[0] in line


@pytest.mark.parametrize("option", ["--websocket-port", "--https-port", "--monitor-address"])
def test_a_port_in_use_is_one_clear_line(option: str, unreachable: Path, tmp_path: Path) -> None:
    first, second = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = {"--websocket-port": str(first), "--https-port": str(second)}
        chosen["--monitor-address"] = ""
        chosen[option] = f"127.0.0.1:{port}" if option == "--monitor-address" else str(port)
        code, _, errors = cloudcore(
            "run",
            f"--kubeconfig={unreachable}",
            "--advertise-address=127.0.0.1",
            f"--data-dir={tmp_path / 'data'}",
            *(f"{name}={value}" for name, value in chosen.items()),
        )
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith(f"cloudcore: {option}: ")
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line
