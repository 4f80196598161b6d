"""Volumes on a real disk."""

import os
import stat
from pathlib import Path

import pytest

from edgecore.edged.volumes import EmptyDir, File, FilesVolume, HostPath, Payload, VolumeError
from edgecore.edged.volumewriter import set_up, tear_down, volume_path, write_payload

ONE = {"a": File(b"1", 0o644), "sub/b": File(b"2", 0o600)}
TWO = {"a": File(b"one", 0o644), "c": File(b"3", 0o644)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    return tmp_path / "v"


def files(directory: Path) -> dict[str, bytes]:
    """What a container sees: everything whose name does not begin with two dots."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for entry in directory.iterdir()
        if not entry.name.startswith("..")
        for path in (entry, *entry.rglob("*"))
        if path.is_file()
    }


def contents(payload: Payload) -> dict[str, bytes]:
    return {path: file.data for path, file in payload.items()}


def test_files_are_links_into_a_directory_that_changes_as_a_whole(directory: Path) -> None:
    assert write_payload(directory, ONE)
    assert files(directory) == contents(ONE)
    assert os.readlink(directory / "a") == "..data/a"
    assert os.readlink(directory / "sub") == "..data/sub"
    assert (directory / "..data").is_symlink()
    assert stat.S_IMODE((directory / "sub/b").stat().st_mode) == 0o600


def test_an_update_replaces_everything_and_leaves_nothing_behind(directory: Path) -> None:
    write_payload(directory, ONE)
    before = os.readlink(directory / "..data")
    assert write_payload(directory, TWO)
    assert files(directory) == contents(TWO)
    assert not (directory / before).exists()
    assert sorted(p.name for p in directory.iterdir())[1:] == ["..data", "a", "c"]


def test_the_same_again_touches_nothing(directory: Path) -> None:
    write_payload(directory, ONE)
    before = os.readlink(directory / "..data")
    assert not write_payload(directory, dict(ONE))
    assert os.readlink(directory / "..data") == before


def test_another_mode_is_a_change(directory: Path) -> None:
    write_payload(directory, ONE)
    assert write_payload(directory, ONE | {"a": File(b"1", 0o600)})


def test_a_reader_that_follows_the_old_directory_reads_the_old_files(directory: Path) -> None:
    write_payload(directory, ONE)
    with (directory / "a").open("rb") as reader:
        write_payload(directory, TWO)
        assert reader.read() == b"1"


@pytest.mark.parametrize("step", ["before the switch", "before the links", "before the sweep"])
def test_what_was_interrupted_is_completed_the_next_time(directory: Path, step: str) -> None:
    write_payload(directory, ONE)
    (directory / "..2020_01_01_00_00_00.000000000").mkdir()
    if step == "before the switch":
        (directory / "..data_tmp").symlink_to("..2020_01_01_00_00_00.000000000")
    elif step == "before the links":
        (directory / "a").unlink()
    write_payload(directory, TWO)
    assert files(directory) == contents(TWO)
    assert sum(p.name.startswith("..2") for p in directory.iterdir()) == 1


def test_volumes_are_set_up_with_the_modes_that_keep_others_out(tmp_path: Path) -> None:
    pod_dir = tmp_path / "pod"
    paths = set_up(
        pod_dir,
        [FilesVolume("s", ONE, secret=True), FilesVolume("c", ONE, secret=False), EmptyDir("e")],
    )
    modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}
    assert modes == {"s": 0o700, "c": 0o755, "e": 0o777}
    assert paths["e"] == volume_path(pod_dir, "e")
    (paths["e"] / "kept").touch()
    set_up(pod_dir, [EmptyDir("e")])
    assert (paths["e"] / "kept").exists()
    tear_down(pod_dir)
    assert not pod_dir.exists()


def test_a_host_path_is_checked_and_made_where_it_says_so(tmp_path: Path) -> None:
    new_dir, new_file = tmp_path / "d", tmp_path / "f"
    paths = set_up(
        tmp_path / "pod",
        [
            HostPath("d", str(new_dir), "DirectoryOrCreate"),
            HostPath("f", str(new_file), "FileOrCreate"),
            HostPath("any", str(tmp_path), ""),
        ],
    )
    assert paths == {"d": new_dir, "f": new_file, "any": tmp_path}
    assert new_dir.is_dir()
    with pytest.raises(VolumeError, match="type check failed"):
        set_up(tmp_path / "pod", [HostPath("v", str(new_dir), "File")])
    with pytest.raises(VolumeError, match="cannot be used"):
        set_up(tmp_path / "pod", [HostPath("v", str(tmp_path / "no"), "")])
    tear_down(tmp_path / "pod")
    assert new_file.exists()
