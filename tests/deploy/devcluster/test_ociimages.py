"""Image archives, made from a script that lists applets as busybox does; see test_containerd.py for
what a real engine makes of them.
"""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.devcluster.ociimages import BUSYBOX, GUEST, IMAGES, NAMED, PAUSE, write_archive


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    path = tmp_path / "busybox"
    path.write_text("#!/bin/sh\necho sh\necho busybox\necho cat\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def archive(tmp_path: Path, busybox: Path) -> Path:
    write_archive(tmp_path / "images.tar", busybox)
    return tmp_path / "images.tar"


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        files = ((member.name, opened.extractfile(member)) for member in opened)
        return {name: file.read() for name, file in files if file is not None}


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    content = files[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]
    assert len(content) == descriptor["size"]
    return content


def configs(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """By the name of the image."""
    found = {}
    for descriptor in json.loads(files["index.json"])["manifests"]:
        manifest = json.loads(blob(files, descriptor))
        name = descriptor["annotations"]["io.containerd.image.name"]
        found[name] = json.loads(blob(files, manifest["config"]))
    return found


def test_every_blob_is_called_by_its_hash(archive: Path) -> None:
    blobs = {
        name.rpartition("/")[2]: content
        for name, content in contents(archive).items()
        if name.startswith("blobs/")
    }
    # A layer for all, a configuration and a manifest for each.
    assert len(blobs) == 1 + 2 * len(IMAGES)
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())


def test_the_layer_has_busybox_under_all_its_names(archive: Path, tmp_path: Path) -> None:
    files = contents(archive)
    layer = tmp_path / "layer.tar"
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    layer.write_bytes(blob(files, manifest["layers"][0]))
    with tarfile.open(layer) as opened:
        members = {member.name: member for member in opened}
    assert members["bin/busybox"].mode == 0o755
    assert {members[f"bin/{name}"].linkname for name in ("sh", "cat")} == {"busybox"}
    assert members["tmp"].mode == 0o1777


def test_the_images_differ_in_what_they_run_and_as_whom(archive: Path) -> None:
    found = {name: config["config"] for name, config in configs(contents(archive)).items()}
    assert set(found) == {BUSYBOX, PAUSE, GUEST, NAMED}
    assert "User" not in found[BUSYBOX]
    assert "Entrypoint" not in found[BUSYBOX]
    assert found[GUEST]["User"] == "1000"
    assert found[GUEST]["Cmd"] == ["welcome"]
    assert found[NAMED]["User"] == "nobody"
    assert found[PAUSE]["Entrypoint"][0] == "/bin/sleep"


def test_the_same_busybox_gives_the_same_bytes(
    archive: Path, busybox: Path, tmp_path: Path
) -> None:
    write_archive(tmp_path / "again.tar", busybox)
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_a_busybox_that_fails_is_an_error(tmp_path: Path, busybox: Path) -> None:
    busybox.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(subprocess.CalledProcessError):
        write_archive(tmp_path / "images.tar", busybox)
