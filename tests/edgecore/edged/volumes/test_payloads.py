"""Files of volumes on a real disk; a full disk is a real tmpfs without room."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecore.edged.volumes import payloads
from edgecore.edged.volumes.mounts import Mounter, unmount_below
from edgecore.edged.volumes.payloads import make_directory, own, write_payload
from edgecore.edged.volumes.volumes import File, Payload

ONE = {"a": File(b"1", 0o644), "sub/b": File(b"2", 0o600)}
TWO = {"a": File(b"one", 0o644), "c": File(b"3", 0o644)}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "v").mkdir()
    yield tmp_path / "v"
    unmount_below(tmp_path)


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


@pytest.mark.parametrize("damage", ["gone", "a link", "a fifo", "truncated", "unreadable"])
def test_whatever_happened_to_the_files_they_are_there_again(
    directory: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_payload(directory, ONE)
    current = directory / os.readlink(directory / "..data")
    if damage == "gone":
        current.rename(directory.parent / "elsewhere")
    elif damage == "truncated":
        (current / "a").write_bytes(b"")
    elif damage == "unreadable":
        monkeypatch.setattr(payloads, "entries_below", lambda _: (_ for _ in ()).throw(OSError()))
    else:
        (current / "a").unlink()
        if damage == "a fifo":
            os.mkfifo(current / "a")
        else:
            (current / "a").symlink_to("/etc/hostname")
    assert write_payload(directory, ONE)
    assert files(directory) == contents(ONE)


def test_a_group_may_read_everything_and_owners_are_set(directory: Path) -> None:
    payload = {"sub/token": File(b"t", 0o640, 1000), "plain": File(b"p", 0o644)}
    assert write_payload(directory, payload, 2000)
    for path in (directory, directory / "..data", directory / "sub"):
        status = path.stat()
        assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (2000, 0o2755)
    token, plain = (directory / "sub/token").stat(), (directory / "plain").stat()
    assert (token.st_uid, token.st_gid, stat.S_IMODE(token.st_mode)) == (1000, 2000, 0o640)
    assert (plain.st_uid, plain.st_gid) == (0, 2000)
    assert not write_payload(directory, payload, 2000)


def test_a_directory_where_something_is_mounted_stays_beside_the_files(directory: Path) -> None:
    (directory / "nested").mkdir()
    (directory / "sub").mkdir()
    write_payload(directory, ONE)
    write_payload(directory, TWO)
    assert (directory / "nested").is_dir()
    assert (directory / "sub").is_dir()
    assert files(directory) == contents(TWO)


def test_a_full_disk_leaves_the_old_files_and_a_later_try_works(directory: Path) -> None:
    Mounter().tmpfs(directory, "mode=0755,size=262144")
    write_payload(directory, ONE)
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(150_000))
    large = {"a": File(bytes(100_000), 0o644), "z": File(b"z", 0o644)}
    with pytest.raises(OSError, match="No space left"):
        write_payload(directory, large)
    ballast_bytes = {"ballast": bytes(150_000)}
    assert files(directory) == contents(ONE) | ballast_bytes
    assert sum(p.name.startswith("..2") for p in directory.iterdir()) == 1
    ballast.unlink()
    assert write_payload(directory, large)
    assert files(directory) == contents(large)


def test_a_plain_users_files_stay_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(PermissionError):
        own(tmp_path, None, 2000)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    own(tmp_path, 1000, None)
    own(tmp_path, None, None)


def test_a_directory_has_exactly_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    make_directory(tmp_path / "a/b", 0o777, 1234)
    status = (tmp_path / "a/b").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o777, 1234)
