"""Volumes on disk: each change of a volume becomes visible as a whole, or not at all.

The layout is Kubernetes': the files are in a directory with a time in its name, ``..data`` is a
symbolic link to it, and what a container opens are links through ``..data``. A new content is
written beside the old one, and one rename of ``..data`` changes all files together.

Source: Kubernetes pkg/volume/util/atomic_writer.go, for the layout only.

All functions block: call them in a thread.
"""

import os
import shutil
import stat
import time
from pathlib import Path
from typing import Final

from edgecore.edged.volumes import (
    EmptyDir,
    File,
    FilesVolume,
    HostPath,
    Payload,
    Volume,
    VolumeError,
)

DATA_LINK: Final = "..data"
_NEW_LINK: Final = "..data_tmp"

_HOST_CHECKS: Final = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def volume_path(pod_dir: Path, name: str) -> Path:
    """Return where the volume ``name`` of the pod in ``pod_dir`` stands."""
    return pod_dir / "volumes" / name


def set_up(pod_dir: Path, volumes: list[Volume]) -> dict[str, Path]:
    """Make or refresh the volumes of a pod; return where each is on this machine.

    What is as it should be is not touched. Interrupted at any moment, each volume has either its
    old or its new content.

    Raises:
        VolumeError: a ``hostPath`` is not what its type says.
        OSError: the disk is full, or not writable.
    """
    pod_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for volume in volumes:
        match volume:
            case HostPath():
                paths[volume.name] = _host_path(volume)
            case EmptyDir():
                paths[volume.name] = _directory(volume_path(pod_dir, volume.name), 0o777)
            case FilesVolume():
                mode = 0o700 if volume.secret else 0o755
                paths[volume.name] = _directory(volume_path(pod_dir, volume.name), mode)
                write_payload(paths[volume.name], volume.payload)
    return paths


def tear_down(pod_dir: Path) -> None:
    """Remove all that ``set_up`` made for a pod; what is at a ``hostPath`` stays."""
    shutil.rmtree(pod_dir, ignore_errors=True)


def write_payload(directory: Path, payload: Payload) -> bool:
    """Let ``directory`` have the files of ``payload`` only; return whether it had to change."""
    current = _current(directory)
    changed = current is None or _read(current) != dict(payload)
    if changed:
        _switch(directory, payload)
    _link(directory, payload)
    _sweep(directory, payload)
    return changed


def _switch(directory: Path, payload: Payload) -> None:
    moment = time.time_ns()
    fresh = directory / f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{moment % 10**9:09}"
    _directory(fresh, 0o755)
    for path, file in payload.items():
        target = fresh / path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(file.mode & 0o777)
    new_link = directory / _NEW_LINK
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(fresh.name)
    new_link.rename(directory / DATA_LINK)


def _link(directory: Path, payload: Payload) -> None:
    for first in {path.split("/", 1)[0] for path in payload}:
        link = directory / first
        if not link.is_symlink():
            link.symlink_to(f"{DATA_LINK}/{first}")


def _sweep(directory: Path, payload: Payload) -> None:
    """Remove links to files that went, and contents that were replaced or never became visible."""
    wanted = {path.split("/", 1)[0] for path in payload}
    current = _current(directory)
    for entry in directory.iterdir():
        if entry.name.startswith(".."):
            if entry.is_dir() and not entry.is_symlink() and entry != current:
                shutil.rmtree(entry, ignore_errors=True)
        elif entry.is_symlink() and entry.name not in wanted:
            entry.unlink()


def _current(directory: Path) -> Path | None:
    try:
        return directory / os.readlink(directory / DATA_LINK)
    except OSError:
        return None


def _read(content: Path) -> dict[str, File]:
    return {
        str(path.relative_to(content)): File(path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in content.rglob("*")
        if path.is_file()
    }


def _directory(path: Path, mode: int) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)  # not in mkdir, where the umask would take its part
    return path


def _host_path(volume: HostPath) -> Path:
    path = Path(volume.path)
    if volume.kind == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif volume.kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    wanted = _HOST_CHECKS.get(volume.kind.removesuffix("OrCreate"))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise VolumeError(
            volume.name, f"hostPath {volume.path} cannot be used: {error.strerror}"
        ) from error
    if wanted is not None and not wanted(mode):
        raise VolumeError(volume.name, f"hostPath type check failed: {path} is not a {volume.kind}")
    return path
