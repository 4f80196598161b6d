"""The command line, as processes of its own on the real control plane."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.devcluster import build
from deploy.devcluster.commands import Component
from deploy.devcluster.machine import missing_packages

UP = [sys.executable, "-m", "deploy.devcluster", "up", "--data-dir"]
ENGINE = [sys.executable, "-m", "deploy.devcluster", "engine"]
PACKAGES = [sys.executable, "-m", "deploy.devcluster", "packages"]
BUILD = [sys.executable, "-m", "deploy.devcluster", "build"]


@pytest.mark.e2e
@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_how_to_reach_it_and_ends_when_interrupted(
    tmp_path: Path, interruption: signal.Signals
) -> None:
    with subprocess.Popen(
        [*UP, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        assert up.stdout.readline() == f"export KUBECONFIG={tmp_path / 'admin.kubeconfig'}\n"
        up.send_signal(interruption)
        _, told = up.communicate()
    assert up.returncode == 0
    assert "Ctrl-C stops it" in told
    assert told.endswith("stopping\n")


@pytest.mark.usefixtures("containers_run")
@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_engine_prints_where_it_listens_and_ends_when_interrupted(
    interruption: signal.Signals,
) -> None:
    with subprocess.Popen(
        ENGINE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        export, _, endpoint = engine.stdout.readline().strip().partition("=")
        assert export == "export CLOUDEDGE_RUNTIME_ENDPOINT"
        assert Path(endpoint.removeprefix("unix://")).is_socket()
        engine.send_signal(interruption)
        _, told = engine.communicate()
    assert engine.returncode == 0
    assert told.endswith("stopping\n")
    assert not Path(endpoint.removeprefix("unix://")).parent.exists()


def test_missing_packages_are_printed_in_a_line() -> None:
    done = subprocess.run(PACKAGES, capture_output=True, text=True, check=True)
    assert done.stdout == f"{' '.join(missing_packages())}\n"


def test_build_says_where_the_programs_are(tmp_path: Path) -> None:
    for name in Component:
        (tmp_path / name).touch(mode=0o755)
    done = subprocess.run(
        BUILD,
        env=os.environ | {build.ASSETS_VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"control plane: {tmp_path}\n"


def test_what_is_missing_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        BUILD,
        env=os.environ | {build.ASSETS_VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {build.ASSETS_VARIABLE} is {tmp_path}, which has no")
    assert len(done.stderr.splitlines()) == 1
