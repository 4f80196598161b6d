"""Directory trees on a real disk, with real mounts in them."""

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from edgecore.edged.volumes import trees
from edgecore.edged.volumes.mounts import Mounter, unmount_below
from edgecore.edged.volumes.trees import disk_usage, entries_below, remove_tree

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    yield
    unmount_below(tmp_path)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def nest(directory: Path, depth: int) -> None:
    """Make directories so deep that no path leads to the last of them."""
    handle = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=handle)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def test_a_tree_is_removed_with_all_kinds_of_things_in_it(top: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").touch(mode=0)
    (top / "a/link").symlink_to(kept)
    (top / "dangling").symlink_to("nothing")
    os.mkfifo(top / "fifo")
    remove_tree(top)
    assert not top.exists()
    assert (kept / "file").exists()


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "none")


def test_a_tree_deeper_than_recursion_and_paths_go_is_removed(top: Path) -> None:
    nest(top, 3000)
    assert sum(1 for _ in entries_below(top)) == 200
    remove_tree(top)
    assert not top.exists()


def test_a_directory_with_many_entries_is_removed_a_part_at_a_time(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "_BATCH", 3)
    for number in range(10):
        (top / f"d{number}" / "inner").mkdir(parents=True)
        (top / f"f{number}").touch()
    remove_tree(top)
    assert not top.exists()


@pytest.mark.parametrize("where", ["mounted", "deep/er/mounted"])
def test_what_is_mounted_in_a_tree_is_neither_removed_nor_entered(
    top: Path, tmp_path: Path, where: str
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    target = top / where
    target.mkdir(parents=True)
    Mounter().bind(str(kept), target)
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
        remove_tree(top)
    assert (kept / "file").exists()
    unmount_below(top)
    remove_tree(top)
    assert not top.exists()


def test_a_file_that_something_is_mounted_on_stays(top: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (top / "file").touch()
    Mounter().bind(str(tmp_path / "kept"), top / "file")
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
        remove_tree(top)
    assert (tmp_path / "kept").read_text() == "kept"


def test_what_was_interrupted_is_completed_the_next_time(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "a/b/c").mkdir(parents=True)
    removals = count()

    def fail_once(name: str, *, dir_fd: int) -> None:
        if next(removals) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        real_rmdir(name, dir_fd=dir_fd)

    real_rmdir = os.rmdir
    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", fail_once)
        with pytest.raises(OSError, match="Input/output"):
            remove_tree(top)
    remove_tree(top)
    assert not top.exists()


def test_who_stops_looking_leaves_nothing_open(top: Path) -> None:
    (top / "a/b").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    found = entries_below(top)
    assert [next(found).name, next(found).name] == ["a", "b"]
    assert len(os.listdir("/proc/self/fd")) > before
    del found
    assert len(os.listdir("/proc/self/fd")) == before


def test_usage_counts_blocks_once_for_each_file(top: Path) -> None:
    empty = disk_usage(top)
    (top / "file").write_bytes(bytes(MIB))
    once = disk_usage(top)
    assert MIB <= once - empty < 2 * MIB
    os.link(top / "file", top / "again")
    (top / "link").symlink_to("/usr")
    with (top / "hole").open("w") as hole:
        hole.truncate(100 * MIB)
    assert disk_usage(top) < once + MIB


def test_usage_leaves_other_file_systems_out(top: Path) -> None:
    before = disk_usage(top)
    (top / "other").mkdir()
    Mounter().tmpfs(top / "other", "mode=0755")
    (top / "other/file").write_bytes(bytes(MIB))
    assert disk_usage(top) < before + MIB
    assert [entry.name for entry in entries_below(top)] == ["other"]


def test_what_cannot_be_read_is_left_out(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top / "gone").mkdir()
    (top / "here").touch()

    class Broken:
        def __iter__(self) -> "Broken":
            return self

        def __next__(self) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def close(self) -> None:
            pass

    real = os.scandir

    def scandir(path: str) -> object:
        return Broken() if str(path).endswith("gone") else real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert sorted(entry.name for entry in entries_below(top)) == ["gone", "here"]
