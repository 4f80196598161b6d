"""A whole bundle: real wheels, real pip and a real edgecore, installed where there is no network.

The wheels come from the package index that pip is set up for; without one there is no bundle.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy import bundle
from deploy.wheel import project_version
from edgecore.install import installer
from tests.e2e.servicemanager import Service

_NO_NETWORK = ["unshare", "--net", "--map-root-user"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return bundle.make(tmp_path_factory.mktemp("bundle"))
    except subprocess.CalledProcessError as error:
        if "download" not in error.cmd:
            raise
        pytest.skip("the package index cannot be reached, from which the wheels come")


def without_network() -> list[str]:
    """Return what stands in front of a command that is to have no network."""
    able = shutil.which("unshare") is not None
    if able and subprocess.run([*_NO_NETWORK, "true"], check=False).returncode == 0:
        return _NO_NETWORK
    return []  # then pip alone is told to ask nobody


@pytest.mark.timeout(600)
def test_a_bundle_is_all_that_an_edge_needs(packed: Path, tmp_path: Path) -> None:
    folder = installer.unpack(packed, tmp_path)
    manifest = installer.check(folder)
    assert manifest.version == project_version()
    home = tmp_path / "home"
    environ = {"PATH": os.environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/none"}
    installed = subprocess.run(
        [*without_network(), sys.executable, "-I", str(folder / "install.pyz"), str(home)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    program = str(home / "edgecore")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"edgecore {manifest.version}\n"
    helped = subprocess.run([program, "join", "--help"], capture_output=True, text=True, check=True)
    assert "--token-file" in helped.stdout
    # What join writes and what the edge-store is made by have come along.
    packages = next((home / "slots" / manifest.version / "lib").glob("python*/site-packages"))
    assert (packages / "edgecore" / "install" / "edgecore.service").exists()
    assert (packages / "edgecore" / "edgestore" / "schema.sql").exists()
    assert not (packages / "kubernetes").exists()
    told = ["--cloud=127.0.0.1", "--token=a.b.c.d", "--node-name=n1", "--monitor-address="]
    own = ["--runtime=process", f"--data-dir={tmp_path / 'data'}"]
    service = Service([program, "run", *told, *own], tmp_path)
    service.start()  # which waits until it is ready
    service.stop()


@pytest.mark.timeout(600)
def test_a_bundle_belongs_to_nobody_and_leaves_nothing_beside_it(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        members = archive.getmembers()
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in members} == {
        (0, 0, "", bundle._EPOCH_S)
    }
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]
    assert sum(one.size for one in members) < 60 * 1024 * 1024


def test_the_installer_needs_nothing_but_python(tmp_path: Path) -> None:
    bundle.make_installer(tmp_path / "install.pyz", tmp_path / "staged")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "install.pyz"), str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "SHA256SUMS cannot be read" in done.stderr
