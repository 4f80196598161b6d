"""Image archives. Real: files on the disk; no engine, which tests/e2e/test_images.py has."""

import gzip
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from deploy.images.archive import write


def _read(file: Path, name: str) -> bytes:
    with tarfile.open(file) as archive:
        stream = archive.extractfile(name)
        assert stream is not None
        return stream.read()


def _blob(file: Path, digest: str) -> bytes:
    content = _read(file, f"blobs/{digest.replace(':', '/')}")
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return content


def _manifest(file: Path) -> dict[str, Any]:
    (found,) = json.loads(_read(file, "index.json"))["manifests"]
    manifest: dict[str, Any] = json.loads(_blob(file, found["digest"]))
    return manifest


def _roots(folder: Path) -> list[Path]:
    for number in range(2):
        root = folder / f"root-{number}"
        (root / "etc").mkdir(parents=True)
        (root / "etc" / f"file-{number}").write_text("text")
        (root / "link").symlink_to("etc")
    return sorted(folder.iterdir())


def test_the_layers_are_those_that_the_configuration_names(tmp_path: Path) -> None:
    roots, file = _roots(tmp_path / "roots"), tmp_path / "image.tar"
    write(file, "some/image:1", roots, {"User": "7:7"})
    manifest = _manifest(file)
    config = json.loads(_blob(file, manifest["config"]["digest"]))
    assert config["config"] == {"User": "7:7"}
    unpacked = [gzip.decompress(_blob(file, one["digest"])) for one in manifest["layers"]]
    digests = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in unpacked]
    assert config["rootfs"]["diff_ids"] == digests


def test_files_belong_to_root_whoever_has_made_them_and_links_stay_links(tmp_path: Path) -> None:
    roots, file = _roots(tmp_path / "roots"), tmp_path / "image.tar"
    write(file, "some/image:1", roots, {})
    layer = tmp_path / "layer.tar"
    layer.write_bytes(gzip.decompress(_blob(file, _manifest(file)["layers"][1]["digest"])))
    with tarfile.open(layer) as archive:
        found = {one.name: one for one in archive}
    assert sorted(found) == ["etc", "etc/file-1", "link"]
    assert {(one.uid, one.gid, one.mtime) for one in found.values()} == {(0, 0, 0)}
    assert found["link"].issym()


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tar", "some/image:1", _roots(tmp_path / name), {})
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
