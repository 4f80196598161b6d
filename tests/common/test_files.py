"""Private files. Real: the file system."""

import os
import stat
from pathlib import Path

import pytest

from common.files import make_folders, write_private


def test_a_private_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "made" / "server.key"
    write_private(path, b"first")
    write_private(path, b"second")
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.key"
    write_private(path, b"first")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_get_their_mode_at_any_umask_and_those_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    old = os.umask(0o077)
    try:
        make_folders(tmp_path / "there" / "a" / "b", 0o755)
        make_folders(tmp_path / "there", 0o755)
    finally:
        os.umask(old)
    modes = [
        stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "there/a", "there/a/b")
    ]
    assert modes == [0o700, 0o755, 0o755]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folders(tmp_path / "file", 0o755)
