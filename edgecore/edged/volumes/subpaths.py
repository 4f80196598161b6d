"""A part of a volume for one container, such that the container cannot make it another one.

The path is followed inside the volume link by link, and what it leads to is held open and bound to
a place of the pod's directory that no container can reach. What the container changes in the volume
after the check changes nothing.

Source: Kubernetes pkg/volume/util/subpath/subpath_linux.go, for the layout and the rules.

All functions block: call them in a thread.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from edgecore.edged.volumes.mounts import Mounter, is_mounted, unmount

_HANDLE: Final = os.O_PATH | os.O_NOFOLLOW
_NEW_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def prepare_subpath(volume: Path, inner: str, target: Path, mounter: Mounter) -> Path:
    """Return what to mount into a container for ``inner`` of a volume.

    Links are followed as they are now: a container keeps the file that it started with when a
    ConfigMap changes. Directories that are missing are made, with the mode of the volume.

    Args:
        volume: where the volume is.
        inner: relative, without ``..``.
        target: place in the pod's directory to bind it to; no container may reach its parents.
        mounter: where it may not mount, a path inside the volume is returned. It is checked, but
            a container that can write there may still replace it.

    Raises:
        OSError: the path leads out of the volume, or cannot be made.
    """
    base = _real(str(volume))
    parts = _parts_inside(base, inner)
    handle = _open_inside(base, parts)
    try:
        if mounter.may_mount and _bind(handle, target, mounter):
            return target
    finally:
        os.close(handle)
    if parts and parts[0].startswith(".."):
        return Path(base, inner)  # only edged writes there, and removes the older versions
    return Path(base, *parts)


def _parts_inside(base: str, inner: str) -> list[str]:
    """Return the way from ``base`` to ``inner`` without links; what is missing stands at its end.

    Raises:
        OSError: it leads out of the volume.
    """
    names = [name for name in inner.split("/") if name not in {"", "."}]
    missing: list[str] = []
    found = ""
    while not found:
        try:
            found = _real("/".join((base, *names)))
        except FileNotFoundError:
            if not names:
                raise
            missing.insert(0, names.pop())
    if os.path.commonpath((base, found)) != base:
        raise OSError(errno.EXDEV, "leads out of the volume", found)
    return [part for part in found[len(base) :].split("/") if part] + missing


def _real(path: str) -> str:
    """Return ``path`` without links, of which the kernel follows but a few."""
    handle = os.open(path, os.O_PATH)
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _open_inside(base: str, parts: list[str]) -> int:
    """Return a handle of what ``parts`` lead to, none of which may have become a link."""
    handle = os.open(base, _HANDLE)
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    for part in parts:
        try:
            inner = _open_or_make(handle, part, mode)
        finally:
            os.close(handle)
        handle = inner
    return handle


def _open_or_make(parent: int, name: str, mode: int) -> int:
    try:
        handle = os.open(name, _HANDLE, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, mode, dir_fd=parent)
        handle = os.open(name, _NEW_DIRECTORY, dir_fd=parent)
        os.fchmod(handle, mode)  # the umask has taken its part
        return handle
    if stat.S_ISLNK(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return handle


def _bind(handle: int, target: Path, mounter: Mounter) -> bool:
    wanted = os.fstat(handle)
    while is_mounted(target):
        if os.path.samestat(wanted, target.lstat()):
            return True
        unmount(target)
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if stat.S_ISDIR(wanted.st_mode):
        if target.is_file():
            target.unlink()
        target.mkdir(mode=0o750, exist_ok=True)
    else:
        if target.is_dir():
            target.rmdir()
        target.touch(mode=0o640)
    return mounter.bind(f"/proc/self/fd/{handle}", target)
