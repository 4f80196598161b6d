"""Volumes on a real disk and on real tmpfs; who may not mount is played by ``Mounter``."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecore.edged.volumes import volumewriter
from edgecore.edged.volumes.mounts import Mounter, is_mounted, mounted_below, unmount, unmount_below
from edgecore.edged.volumes.podfiles import Plugin, PodFiles
from edgecore.edged.volumes.volumes import (
    EmptyDir,
    File,
    FilesVolume,
    HostPath,
    Volume,
    VolumeError,
)
from edgecore.edged.volumes.volumewriter import pods_on_disk, set_up, tear_down

ONE = {"a": File(b"1", 0o644)}
TWO = {"a": File(b"2", 0o644)}
SECRET = FilesVolume("s", Plugin.SECRET, ONE)
MEMORY = EmptyDir("m", in_memory=True, size_bytes=65536)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[PodFiles]:
    yield PodFiles(tmp_path / "pods/u1", tmp_path / "logs")
    unmount_below(tmp_path)


@pytest.fixture(params=[True, False], ids=["tmpfs", "disk"])
def mounter(request: pytest.FixtureRequest) -> Mounter:
    return Mounter(may_mount=request.param)


def modes(paths: dict[str, Path]) -> dict[str, int]:
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}


def test_only_configmaps_and_empty_dirs_reach_the_disk(files: PodFiles) -> None:
    volumes = [FilesVolume(str(p), p, ONE) for p in Plugin if p is not Plugin.EMPTY_DIR]
    paths = set_up(files, [*volumes, EmptyDir("disk"), MEMORY], Mounter())
    assert paths["secret"] == files.volume_dir(Plugin.SECRET, "secret")
    assert {name for name, path in paths.items() if is_mounted(path)} == {
        "secret",
        "projected",
        "downward-api",
        "m",
    }
    assert all((paths[v.name] / "a").read_bytes() == b"1" for v in volumes)


def test_modes_let_containers_in_and_keep_others_out(files: PodFiles, mounter: Mounter) -> None:
    config = FilesVolume("c", Plugin.CONFIGMAP, ONE)
    paths = set_up(files, [SECRET, config, EmptyDir("e"), MEMORY], mounter)
    memory = 0o1777 if mounter.may_mount else 0o777
    assert modes(paths) == {"s": 0o755, "c": 0o755, "e": 0o777, "m": memory}
    assert stat.S_IMODE(files.pod_dir.stat().st_mode) == 0o700


def test_the_pods_group_gets_its_volumes(files: PodFiles, mounter: Mounter) -> None:
    secret = FilesVolume("s", Plugin.SECRET, {"a": File(b"1", 0o640)}, 2000)
    memory = EmptyDir("m", in_memory=True, group=2000)
    paths = set_up(files, [secret, EmptyDir("e", group=2000), memory], mounter)
    sticky = 0o1000 if mounter.may_mount else 0
    assert modes(paths) == {"s": 0o2755, "e": 0o2777, "m": 0o2777 | sticky}
    assert {path.stat().st_gid for path in (*paths.values(), paths["s"] / "a")} == {2000}


def test_a_restart_finds_everything_as_it_was(files: PodFiles, mounter: Mounter) -> None:
    volumes: list[Volume] = [SECRET, EmptyDir("e"), MEMORY]
    paths = set_up(files, volumes, mounter)
    for name in ("e", "m"):
        (paths[name] / "kept").touch()
        paths[name].chmod(0o700)  # as a database does with its data directory
    mounted, link = mounted_below(files.pod_dir), os.readlink(paths["s"] / "..data")
    assert set_up(files, volumes, mounter) == paths
    assert all((paths[name] / "kept").exists() for name in ("e", "m"))
    assert modes(paths) == {"s": 0o755, "e": 0o700, "m": 0o700}
    assert mounted_below(files.pod_dir) == mounted
    assert os.readlink(paths["s"] / "..data") == link


def test_a_reboot_empties_memory_and_it_is_filled_again(files: PodFiles) -> None:
    volumes: list[Volume] = [SECRET, EmptyDir("e"), MEMORY]
    paths = set_up(files, volumes, Mounter())
    (paths["e"] / "kept").touch()
    (paths["m"] / "lost").touch()
    unmount_below(files.pod_dir)
    assert list(paths["s"].iterdir()) == []
    assert set_up(files, volumes, Mounter()) == paths
    assert (paths["s"] / "a").read_bytes() == b"1"
    assert (paths["e"] / "kept").exists()
    assert list(paths["m"].iterdir()) == []
    assert modes(paths)["m"] == 0o1777


def test_a_volume_made_without_the_right_to_mount_stays_where_it_is(files: PodFiles) -> None:
    paths = set_up(files, [SECRET, MEMORY], Mounter(may_mount=False))
    (paths["m"] / "kept").touch()
    set_up(files, [FilesVolume("s", Plugin.SECRET, TWO), MEMORY], Mounter())
    assert not mounted_below(files.pod_dir)
    assert (paths["s"] / "a").read_bytes() == b"2"
    assert (paths["m"] / "kept").exists()


def test_an_empty_dir_in_memory_is_as_large_as_it_says(files: PodFiles) -> None:
    paths = set_up(files, [MEMORY, EmptyDir("any", in_memory=True)], Mounter())
    with pytest.raises(OSError, match="No space left"):
        (paths["m"] / "large").write_bytes(bytes(70_000))
    (paths["any"] / "large").write_bytes(bytes(70_000))


def test_places_for_other_mounts_are_made_in_a_volume(files: PodFiles) -> None:
    volume = FilesVolume("c", Plugin.CONFIGMAP, ONE, nested=("in/side", "a"))
    paths = set_up(files, [volume], Mounter())
    assert (paths["c"] / "in/side").is_dir()
    assert (paths["c"] / "a").is_dir()


def test_a_volume_that_fails_does_not_keep_others_from_being_refreshed(files: PodFiles) -> None:
    broken = HostPath("h", "/none", "Directory")
    full = FilesVolume("f", Plugin.SECRET, ONE)
    set_up(files, [full], Mounter())
    unmount_below(files.pod_dir)
    Mounter().tmpfs(files.volume_dir(Plugin.SECRET, "f"), "mode=0755,size=4096,nr_inodes=2")
    with pytest.raises(VolumeError, match='volume "h" : hostPath type check failed'):
        set_up(files, [broken, full, SECRET], Mounter())
    assert (files.volume_dir(Plugin.SECRET, "s") / "a").read_bytes() == b"1"
    with pytest.raises(VolumeError, match=r'volume "f" : .*No space left on device'):
        set_up(files, [full, SECRET, broken], Mounter())
    unmount_below(files.pod_dir)
    assert set_up(files, [full, SECRET], Mounter()).keys() == {"f", "s"}


def test_everything_of_a_pod_is_removed_and_nothing_else(tmp_path: Path, files: PodFiles) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()
    paths = set_up(
        files, [SECRET, EmptyDir("e"), MEMORY, HostPath("h", str(foreign), "")], Mounter()
    )
    for target in (paths["e"] / "bound", paths["m"] / "bound"):
        target.mkdir()
        Mounter().bind(str(foreign), target)
    (paths["e"] / "link").symlink_to(foreign)
    with (paths["s"] / "a").open():
        tear_down(files.pod_dir)
    assert not files.pod_dir.exists()
    assert not mounted_below(tmp_path)
    assert (foreign / "file").exists()
    tear_down(files.pod_dir)


def test_what_cannot_be_unmounted_is_reported_and_not_deleted(
    tmp_path: Path, files: PodFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()
    paths = set_up(files, [EmptyDir("e")], Mounter())
    (paths["e"] / "bound").mkdir()
    Mounter().bind(str(foreign), paths["e"] / "bound")

    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patched:
        patched.setattr("edgecore.edged.volumes.mounts.unmount", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            tear_down(files.pod_dir)
        # A mount that came after the look at what is mounted.
        patched.setattr(volumewriter, "unmount_below", lambda _: None)
        with pytest.raises(OSError, match="Device or resource busy"):
            tear_down(files.pod_dir)
    assert (foreign / "file").exists()
    tear_down(files.pod_dir)
    assert not files.pod_dir.exists()
    assert (foreign / "file").exists()


def test_a_host_path_is_checked_and_made_where_it_says_so(tmp_path: Path, files: PodFiles) -> None:
    new_dir, new_file, any_dir = tmp_path / "d/d", tmp_path / "f", tmp_path / "any"
    volumes = [
        HostPath("d", str(new_dir), "DirectoryOrCreate"),
        HostPath("f", str(new_file), "FileOrCreate"),
        HostPath("any", str(any_dir), ""),
        HostPath("null", "/dev/null", "CharDevice"),
        HostPath("unchecked", "/dev/null", ""),
    ]
    paths = set_up(files, volumes, Mounter())
    assert set_up(files, volumes, Mounter()) == paths
    assert paths["d"] == new_dir
    assert new_dir.is_dir()
    assert new_file.is_file()
    assert any_dir.is_dir()
    tear_down(files.pod_dir)
    assert new_file.exists()


def test_what_is_made_for_pods_is_open_to_them_at_any_umask(
    tmp_path: Path, files: PodFiles
) -> None:
    volumes: list[Volume] = [
        HostPath("d", str(tmp_path / "d/d"), "DirectoryOrCreate"),
        HostPath("f", str(tmp_path / "f"), "FileOrCreate"),
        HostPath("any", str(tmp_path / "any"), ""),
        FilesVolume("c", Plugin.CONFIGMAP, ONE, nested=("in/side",)),
    ]
    old = os.umask(0o077)
    try:
        paths = set_up(files, volumes, Mounter())
    finally:
        os.umask(old)
    paths |= {"above": tmp_path / "d", "in": paths["c"] / "in", "side": paths["c"] / "in/side"}
    assert modes(paths) == {name: 0o644 if name == "f" else 0o755 for name in paths}


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("none", "Directory", "none is not a directory"),
        ("file", "Directory", "file is not a directory"),
        ("file", "DirectoryOrCreate", "file is not a directory"),
        (".", "File", "is not a file"),
        (".", "FileOrCreate", "is not a file"),
        ("file", "Socket", "is not a socket file"),
        ("file", "CharDevice", "is not a character device"),
        ("file", "BlockDevice", "is not a block device"),
        ("file", "SocketOrCreate", "SocketOrCreate is an invalid volume type"),
        ("none/file", "FileOrCreate", "No such file or directory"),
    ],
)
def test_a_host_path_of_another_type_is_refused(
    tmp_path: Path, files: PodFiles, path: str, kind: str, words: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VolumeError, match=words):
        set_up(files, [HostPath("v", str(tmp_path / path), kind)], Mounter())


def test_pods_that_left_files_are_found(tmp_path: Path, files: PodFiles) -> None:
    assert pods_on_disk(tmp_path) == frozenset()
    set_up(files, [EmptyDir("e")], Mounter())
    assert pods_on_disk(tmp_path) == {"u1"}


def test_a_mount_that_went_away_while_edgecore_runs_comes_back(files: PodFiles) -> None:
    paths = set_up(files, [SECRET], Mounter())
    unmount(paths["s"])
    set_up(files, [SECRET], Mounter())
    assert (paths["s"] / "a").read_bytes() == b"1"
