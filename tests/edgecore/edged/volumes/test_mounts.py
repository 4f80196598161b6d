"""Mounts on the real kernel, by root; a process without the right is played by a syscall's answer.

``Mounter(may_mount=False)`` stands for what such a process knows after its first attempt.
"""

import ctypes
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecore.edged.volumes import mounts
from edgecore.edged.volumes.mounts import Mounter, is_mounted, mounted_below, unmount, unmount_below


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    yield
    unmount_below(tmp_path)


class RefusingLibc:
    """A kernel that answers each call with an error, or with none where it is 0."""

    def __init__(self, *errors: int) -> None:
        self.errors, self.options = list(errors), list[bytes]()

    def mount(self, *arguments: object) -> int:
        assert isinstance(arguments[-1], bytes)
        self.options.append(arguments[-1])
        return self._answer()

    def umount2(self, *_: object) -> int:
        return self._answer()

    def _answer(self) -> int:
        number = self.errors.pop(0)
        ctypes.set_errno(number)
        return -1 if number else 0


def test_a_tmpfs_has_the_mode_and_the_size_that_were_asked_for(tmp_path: Path) -> None:
    assert Mounter().tmpfs(tmp_path, "mode=0750,size=65536")
    assert is_mounted(tmp_path)
    assert tmp_path.stat().st_mode & 0o7777 == 0o750
    with pytest.raises(OSError, match="No space left"):
        (tmp_path / "large").write_bytes(bytes(70_000))
    unmount(tmp_path)
    assert not is_mounted(tmp_path)


def test_a_bind_mount_of_the_same_file_system_is_seen(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    assert Mounter().bind(str(tmp_path / "source"), tmp_path / "target")
    assert is_mounted(tmp_path / "target")
    assert not is_mounted(tmp_path / "source")


def test_paths_with_spaces_and_backslashes_are_found(tmp_path: Path) -> None:
    odd = tmp_path / "a b\\c\td"
    odd.mkdir()
    Mounter().tmpfs(odd, "mode=0755")
    assert is_mounted(odd)
    assert mounted_below(tmp_path) == [odd]


def test_the_deepest_and_the_latest_is_unmounted_first(tmp_path: Path) -> None:
    outer, beside = tmp_path / "outer", tmp_path / "beside"
    outer.mkdir()
    beside.mkdir()
    for target in (outer, beside, beside):
        Mounter().tmpfs(target, "mode=0755")
    (outer / "inner").mkdir()
    Mounter().tmpfs(outer / "inner", "mode=0755")
    assert mounted_below(tmp_path) == [outer / "inner", beside, beside, outer]
    unmount_below(tmp_path)
    assert mounted_below(tmp_path) == []


def test_only_what_is_below_counts(tmp_path: Path) -> None:
    for name in ("pod", "pod2"):
        (tmp_path / name).mkdir()
        Mounter().tmpfs(tmp_path / name, "mode=0755")
    assert mounted_below(tmp_path / "pod") == []


def test_a_mount_in_use_is_detached(tmp_path: Path) -> None:
    Mounter().tmpfs(tmp_path, "mode=0755")
    with (tmp_path / "open").open("w") as used:
        unmount(tmp_path)
        assert not is_mounted(tmp_path)
        used.write("still there")


def test_unmounting_what_is_not_mounted_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        unmount(tmp_path)


def test_a_mount_that_cannot_even_be_detached_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libc = RefusingLibc(errno.EBUSY, errno.EPERM)
    monkeypatch.setattr(mounts, "_libc", lambda: libc)
    with pytest.raises(PermissionError):
        unmount(tmp_path)


def test_a_link_is_not_followed_to_what_is_mounted_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Mounter().tmpfs(tmp_path / "real", "mode=0755")
    with pytest.raises(OSError, match="Invalid argument"):
        unmount(tmp_path / "link")
    assert is_mounted(tmp_path / "real")


def test_what_cannot_be_unmounted_is_reported_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Mounter().tmpfs(tmp_path / name, "mode=0755")
    really = mounts.unmount

    def refuse_a(path: Path) -> None:
        if path.name == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        really(path)

    with monkeypatch.context() as patched:
        patched.setattr(mounts, "unmount", refuse_a)
        with pytest.raises(OSError, match="Input/output"):
            unmount_below(tmp_path)
    assert mounted_below(tmp_path) == [tmp_path / "a"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_a_missing_right_is_said_once_and_not_tried_again(
    tmp_path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    libc = RefusingLibc(number)
    monkeypatch.setattr(mounts, "_libc", lambda: libc)
    mounter = Mounter()
    assert mounter.may_mount
    with caplog.at_level(logging.WARNING):
        assert not mounter.tmpfs(tmp_path, "mode=0755")
        assert not mounter.bind("/", tmp_path)
    assert not mounter.may_mount
    assert len(caplog.records) == len(libc.options) == 1


def test_a_kernel_that_cannot_keep_a_tmpfs_out_of_swap_makes_one_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libc = RefusingLibc(errno.EINVAL, 0, 0)
    monkeypatch.setattr(mounts, "_libc", lambda: libc)
    mounter = Mounter()
    assert mounter.tmpfs(tmp_path, "mode=0755")
    assert mounter.tmpfs(tmp_path, "mode=0755")
    assert libc.options == [b"mode=0755,noswap", b"mode=0755", b"mode=0755"]


def test_any_other_refusal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Mounter().tmpfs(tmp_path / "none", "mode=0755")
    with pytest.raises(FileNotFoundError):
        Mounter().bind(str(tmp_path / "none"), tmp_path)


def test_who_may_not_mount_does_not_try(tmp_path: Path) -> None:
    assert not Mounter(may_mount=False).tmpfs(tmp_path, "mode=0755")
    assert not is_mounted(tmp_path)
