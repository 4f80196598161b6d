"""Volumes at their mount paths for one process, by a mount namespace of its own.

The machine's files stay where they are, but for the process they are joined by its volumes. Where a
mount path does not exist on the machine nothing is created there: the process gets a root
directory of its own that shows everything of the real one, with the missing directories added in
memory. In a directory that had to be extended so, what the machine adds later does not show, and
what the process adds is not kept.

Used by the keeper's child between fork and exec, so it imports little. Run as a program it tells by
its exit status whether this works here.
"""

import ctypes
import os
import sys

_CLONE_NEWNS = 0x20000
_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

_TMPFS_OPTIONS = "size=16m,mode=755"


def enter(libc: ctypes.CDLL, root: str, mounts: list) -> None:  # type: ignore[type-arg] # as in keeper.py
    """Give the calling process a mount namespace with ``mounts`` in it.

    Args:
        libc: with ``use_errno``.
        root: an empty directory, for a root of its own if the process needs one.
        mounts: ``[host path, mount path, read only]`` of each volume.

    Raises:
        OSError: the kernel refused; ``filename`` is what it was about.
    """
    _private(libc)
    wanted = sorted((os.path.realpath(path), source, ro) for source, path, ro in mounts)
    missing = [path for path, _, _ in wanted if not os.path.exists(path)]
    base = ""
    if missing:
        base = root
        _mount(libc, "tmpfs", root, "tmpfs", 0, _TMPFS_OPTIONS)
        _mirror(libc, "/", root, [path.strip("/").split("/") for path in missing])
    for path, source, read_only in wanted:
        _bind(libc, source, base + path, read_only=read_only)
    if base:
        os.chroot(base)


def _private(libc: ctypes.CDLL) -> None:
    if libc.unshare(_CLONE_NEWNS) != 0:
        _raise("mount namespace")
    _mount(libc, "none", "/", "", _MS_REC | _MS_PRIVATE, "")


def _mirror(
    libc: ctypes.CDLL,
    source: str,
    target: str,
    missing: list,  # type: ignore[type-arg] # as enter
) -> None:
    """Show in ``target`` all that is in ``source``, with room for the paths ``missing``."""
    inside: dict = {}  # type: ignore[type-arg] # as enter
    for parts in missing:
        inside.setdefault(parts[0], []).append(parts[1:])
    with os.scandir(source) as entries:
        for entry in entries:
            shown = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), shown)
            elif not entry.is_dir():
                os.close(os.open(shown, os.O_CREAT | os.O_WRONLY, 0o600))
                _mount(libc, entry.path, shown, "", _MS_BIND, "")
            elif entry.name in inside:
                status = entry.stat()
                os.mkdir(shown)
                os.chmod(shown, status.st_mode & 0o7777)
                os.chown(shown, status.st_uid, status.st_gid)
                _mirror(libc, entry.path, shown, inside[entry.name])
            else:
                os.mkdir(shown)
                _mount(libc, entry.path, shown, "", _MS_BIND | _MS_REC, "")


def _bind(libc: ctypes.CDLL, source: str, target: str, *, read_only: bool) -> None:
    if not os.path.exists(target):
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(libc, source, target, "", _MS_BIND | _MS_REC, "")
    if read_only:
        _mount(libc, "none", target, "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY, "")


def _mount(
    libc: ctypes.CDLL, source: str, target: str, kind: str, flags: int, options: str
) -> None:
    arguments = [os.fsencode(text) for text in (source, target, kind, options)]
    number = ctypes.c_ulong(flags)
    if libc.mount(arguments[0], arguments[1], arguments[2], number, arguments[3]) != 0:
        _raise(target)


def _raise(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what)


def works_here() -> bool:
    """Whether this process may have a mount namespace; it has one afterwards."""
    try:
        _private(ctypes.CDLL(None, use_errno=True))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(0 if works_here() else 1)
