"""The wheel: built from what is checked in, and run without the checkout.

Real: the build, the installation and the programs. Libraries are those of the development
environment; nothing is fetched.
"""

import os
import re
import subprocess
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from deploy.wheel import PIP, build

pytestmark = pytest.mark.timeout(300)  # it is built and installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--target", str(folder))
    subprocess.run([*PIP, "install", *options, str(wheel)], check=True)
    return folder


def output(installed: Path, *command: str) -> str:
    """Return what a program of the wheel prints; the checkout is not on its way."""
    environ = {name: value for name, value in os.environ.items() if "CORE_" not in name}
    ended = subprocess.run(
        [str(installed / "bin" / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=installed,
        env=environ | {"PYTHONPATH": str(installed)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_programs_say_their_version(wheel: Path, installed: Path) -> None:
    version = wheel.name.split("-")[1]
    assert output(installed, "cloudcore", "--version") == f"cloudcore {version}\n"
    assert output(installed, "edgecore", "--version") == f"edgecore {version}\n"


def test_what_is_to_be_applied_to_a_cluster_is_in_it(installed: Path) -> None:
    told = output(
        installed, "cloudcore", "init", "--dry-run", "--advertise-address", "cloud.example"
    )
    assert "kind: Deployment" in told
    assert "kind: ClusterRole" in told


def test_what_is_no_python_is_in_it_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("edgecore/edgestore/schema.sql", "edgecore/install/edgecore.service"):
        assert wanted in names
    assert any(re.fullmatch(r"cloudcore/manifests/base/.*\.yaml", name) for name in names)
    folders = {name.partition("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == {
        "common",
        "cloudcore",
        "edgecore",
        "edgesite",
    }


def test_an_edge_is_installed_without_what_only_the_cloud_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (path,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(opened.read(path).decode()).get_all("Requires-Dist") or []
    of_cloud = {line for line in told if "extra == 'cloud'" in line or 'extra == "cloud"' in line}
    of_dev = {line for line in told if "extra == 'dev'" in line or 'extra == "dev"' in line}
    names = {re.split(r"[^\w-]", line)[0].lower() for line in set(told) - of_cloud - of_dev}
    assert {"websockets", "msgspec", "grpclib"} <= names
    assert names & {"kubernetes", "aiohttp", "pyjwt", "pydantic"} == set()
