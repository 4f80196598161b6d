"""Parts of volumes on a real disk, bound by real mounts; who may not mount is played."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecore.edged.volumes import subpaths
from edgecore.edged.volumes.mounts import Mounter, is_mounted, mounted_below, unmount_below
from edgecore.edged.volumes.payloads import write_payload
from edgecore.edged.volumes.subpaths import prepare_subpath
from edgecore.edged.volumes.volumes import File


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    yield
    unmount_below(tmp_path)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


def prepare(volume: Path, inner: str, mounter: Mounter | None = None) -> Path:
    target = volume.parent / "volume-subpaths/v/c/0"
    return prepare_subpath(volume, inner, target, mounter or Mounter())


@pytest.fixture(params=[True, False], ids=["bound", "by path"])
def mounter(request: pytest.FixtureRequest) -> Mounter:
    return Mounter(may_mount=request.param)


def test_a_directory_and_a_file_are_shown_and_can_be_written(
    volume: Path, mounter: Mounter
) -> None:
    (volume / "dir").mkdir()
    (volume / "file").write_text("old")
    shown = prepare(volume, "dir", mounter)
    (shown / "new").touch()
    assert (volume / "dir/new").exists()
    shown = prepare(volume, "./file", mounter)
    assert is_mounted(shown) is mounter.may_mount
    shown.write_text("new")
    assert (volume / "file").read_text() == "new"


def test_missing_directories_are_made_as_open_as_the_volume(volume: Path, mounter: Mounter) -> None:
    volume.chmod(0o2777)
    os.chown(volume, -1, 1234)
    shown = prepare(volume, "a/b", mounter)
    for path in (shown, volume / "a", volume / "a/b"):
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o2777, 1234)


@pytest.mark.parametrize("link", ["/etc", "..", "../other", "chain"])
@pytest.mark.parametrize("inner", ["link", "link/passwd", "link/new"])
def test_a_link_out_of_the_volume_is_refused(
    volume: Path, link: str, inner: str, mounter: Mounter
) -> None:
    (volume.parent / "other").mkdir()
    (volume / "chain").symlink_to("/etc")
    (volume / "link").symlink_to(link)
    with pytest.raises(OSError, match="leads out of the volume"):
        prepare(volume, inner, mounter)
    assert list((volume.parent / "other").iterdir()) == []
    assert not mounted_below(volume.parent)


def test_a_link_inside_the_volume_is_followed(volume: Path, mounter: Mounter) -> None:
    (volume / "real").mkdir()
    (volume / "real/file").write_text("x")
    (volume / "link").symlink_to(volume / "real")
    assert (prepare(volume, "link", mounter) / "file").read_text() == "x"
    assert (prepare(volume, "link/new", mounter)).is_dir()
    assert (volume / "real/new").is_dir()


@pytest.mark.parametrize("count", [1, 41, 1500])
def test_links_that_lead_nowhere_are_refused(volume: Path, count: int, mounter: Mounter) -> None:
    for number in range(count):
        (volume / f"l{number}").symlink_to(f"l{number + 1}")
    with pytest.raises(OSError, match=r"File exists|Too many levels"):
        prepare(volume, "l0", mounter)


@pytest.mark.parametrize("place", ["dir", "dir/inner"])
def test_a_link_put_there_after_the_check_is_refused(
    volume: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume / "dir/inner").mkdir(parents=True)
    really = subpaths._parts_inside

    def swap(base: str, inner: str) -> list[str]:
        parts = really(base, inner)
        (volume / place).rename(volume / "moved")
        (volume / place).symlink_to("/etc")
        return parts

    monkeypatch.setattr(subpaths, "_parts_inside", swap)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        prepare(volume, "dir/inner")


def test_what_is_bound_stays_bound_whatever_the_container_does(volume: Path) -> None:
    (volume / "dir").mkdir()
    (volume / "dir/mine").touch()
    shown = prepare(volume, "dir")
    (volume / "dir").rename(volume / "moved")
    (volume / "dir").symlink_to("/etc")
    assert [path.name for path in shown.iterdir()] == ["mine"]


def test_the_next_start_of_a_container_gets_what_is_there_then(volume: Path) -> None:
    (volume / "x").mkdir()
    shown = prepare(volume, "x")
    assert prepare(volume, "x") == shown
    assert mounted_below(volume.parent) == [shown]
    (volume / "x").rename(volume / "old")
    (volume / "x").write_text("a file now")
    assert prepare(volume, "x").read_text() == "a file now"
    (volume / "x").unlink()
    (volume / "old").rename(volume / "x")
    assert prepare(volume, "x").is_dir()
    assert mounted_below(volume.parent) == [shown]


def test_a_file_of_a_configmap_stays_as_it_was_when_the_container_started(volume: Path) -> None:
    write_payload(volume, {"key": File(b"old", 0o644)})
    shown = prepare(volume, "key")
    write_payload(volume, {"key": File(b"new", 0o644)})
    assert shown.read_bytes() == b"old"
    assert prepare(volume, "key").read_bytes() == b"new"


def test_without_a_mount_a_file_of_a_configmap_does_not_vanish(volume: Path) -> None:
    write_payload(volume, {"key": File(b"old", 0o644)})
    shown = prepare(volume, "key", Mounter(may_mount=False))
    write_payload(volume, {"key": File(b"new", 0o644)})
    assert shown.read_bytes() == b"new"


def test_a_part_of_a_volume_that_is_a_file_is_refused(tmp_path: Path, mounter: Mounter) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        prepare(tmp_path / "file", "x", mounter)


def test_a_volume_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        prepare(tmp_path / "none", "x")


def test_the_whole_volume_may_be_reached_by_a_link_and_named_by_a_dot(volume: Path) -> None:
    link = volume.parent / "link"
    link.symlink_to(volume)
    (volume / "file").touch()
    assert prepare(link, ".", Mounter(may_mount=False)) == volume
    assert [path.name for path in prepare(link, ".").iterdir()] == ["file"]


def test_no_handle_is_left_open(volume: Path) -> None:
    (volume / "link").symlink_to("/etc")
    before = len(os.listdir("/proc/self/fd"))
    prepare(volume, "a/b/c")
    with pytest.raises(OSError, match="leads out"):
        prepare(volume, "link")
    assert len(os.listdir("/proc/self/fd")) == before
