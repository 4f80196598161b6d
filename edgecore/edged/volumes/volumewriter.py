"""Volumes on this machine: made, filled and removed.

Volumes with Secrets and tokens in them, and others that are to be in memory, are on a tmpfs of
their own where this process may mount; a plain directory stands in elsewhere. A restart of edgecore
finds what is mounted and leaves it; after one of the machine it is mounted and filled again.

Source: Kubernetes pkg/volume/{emptydir,hostpath,volume_linux.go}, for the modes and the words.

All functions block: call them in a thread.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.files import make_folders
from common.names import UID
from edgecore.edged.volumes.mounts import Mounter, mounted_below, unmount_below
from edgecore.edged.volumes.payloads import make_directory, write_payload
from edgecore.edged.volumes.podfiles import Plugin, PodFiles
from edgecore.edged.volumes.trees import remove_tree
from edgecore.edged.volumes.volumes import EmptyDir, FilesVolume, HostPath, Volume, VolumeError

_FOR_GROUP: Final = 0o2770
"""What a directory's group gets in an ``emptyDir``: everything, and all that is made there."""

_HOST_CHECKS: Final = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}
_MADE: Final = frozenset({"DirectoryOrCreate", "FileOrCreate"})


def set_up(files: PodFiles, volumes: Sequence[Volume], mounter: Mounter) -> dict[str, Path]:
    """Make or refresh the volumes of a pod; return where each is on this machine.

    What is as it should be is not touched. Interrupted at any moment, each volume has either its
    old or its new content. One that fails does not keep the others from being refreshed.

    Raises:
        VolumeError: one of them is not as it should be: a ``hostPath`` is not what its type says,
            or the disk is full. Call again later.
        OSError: there is no room for the pod at all.
    """
    # No one else gets in here, so what is inside may be as open as containers need it.
    make_directory(files.pod_dir, 0o700)
    mounted = frozenset(map(str, mounted_below(files.pod_dir)))
    paths: dict[str, Path] = {}
    fault: VolumeError | None = None
    for volume in volumes:
        try:
            paths[volume.name] = _set_up(files, volume, mounter, mounted)
        except VolumeError as error:
            fault = fault or error
        except OSError as error:
            fault = fault or VolumeError(volume.name, str(error))
    if fault is not None:
        raise fault
    return paths


def tear_down(pod_dir: Path) -> None:
    """Remove all that was made for a pod; what is at a ``hostPath`` stays, as all that was mounted.

    Raises:
        OSError: something is in use or cannot be removed; it is still there. Call again later.
    """
    if pod_dir.is_dir():
        unmount_below(pod_dir)
        remove_tree(pod_dir)


def pods_on_disk(root: Path) -> frozenset[UID]:
    """Return the pods that have files below ``root``, also those that nobody knows any more."""
    try:
        return frozenset(UID(entry.name) for entry in (root / "pods").iterdir())
    except FileNotFoundError:
        return frozenset()


def _set_up(files: PodFiles, volume: Volume, mounter: Mounter, mounted: frozenset[str]) -> Path:
    match volume:
        case HostPath():
            return _host_path(volume)
        case EmptyDir():
            return _empty_dir(files, volume, mounter, mounted)
        case FilesVolume():
            directory = files.volume_dir(volume.plugin, volume.name)
            directory.mkdir(parents=True, exist_ok=True)
            if volume.in_memory:
                _mount_tmpfs(directory, "mode=0755", mounter, mounted)
            for inner in volume.nested:
                make_folders(directory / inner, 0o755)  # whoever the container's user is
            write_payload(directory, volume.payload, volume.group)
            return directory


def _empty_dir(
    files: PodFiles, volume: EmptyDir, mounter: Mounter, mounted: frozenset[str]
) -> Path:
    """Make an ``emptyDir``; once it is the containers' own, what they did to it stays."""
    directory = files.volume_dir(Plugin.EMPTY_DIR, volume.name)
    ready = files.ready_path(volume.name)
    is_new = not (directory.is_dir() and ready.exists())
    directory.mkdir(parents=True, exist_ok=True)
    if volume.in_memory:
        options = f"mode=1777,size={volume.size_bytes}" if volume.size_bytes else "mode=1777"
        is_new |= _mount_tmpfs(directory, options, mounter, mounted)
    if is_new:
        mode = 0o777 | (0 if volume.group is None else _FOR_GROUP)
        mode |= directory.stat().st_mode & stat.S_ISVTX  # what a tmpfs comes with
        make_directory(directory, mode, volume.group)
        ready.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        ready.touch()
    return directory


def _mount_tmpfs(directory: Path, options: str, mounter: Mounter, mounted: frozenset[str]) -> bool:
    """Mount a tmpfs at ``directory`` unless there is one; return whether that was done.

    What has something in it was made where mounting was not allowed. Running containers have that
    directory, so it is kept.
    """
    if os.path.realpath(directory) in mounted or any(directory.iterdir()):
        return False
    return mounter.tmpfs(directory, options)


def _host_path(volume: HostPath) -> Path:
    path = Path(volume.path)
    if not volume.kind:
        if not os.path.lexists(path):
            make_folders(path, 0o755)  # as container engines do
        return path
    if volume.kind not in _HOST_CHECKS.keys() | _MADE:
        raise VolumeError(volume.name, f"{volume.kind} is an invalid volume type")
    if not path.exists():
        if volume.kind == "DirectoryOrCreate":
            make_folders(path, 0o755)
        elif volume.kind == "FileOrCreate":
            path.touch(mode=0o644)
            path.chmod(0o644)  # the umask has taken its part
    is_wanted, words = _HOST_CHECKS[volume.kind.removesuffix("OrCreate")]
    if not path.exists() or not is_wanted(path.stat().st_mode):
        raise VolumeError(volume.name, f"hostPath type check failed: {path} is not a {words}")
    return path
