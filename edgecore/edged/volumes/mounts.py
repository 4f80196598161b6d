"""Mounts of this machine as edged sees and makes them.

Whether this process may mount is found out by the first mount: a capability that the kernel shows
says nothing of a seccomp filter or a security module in the way. ctypes is loaded with that mount,
as an edge whose pods need none does without it.

Source: mount(2), umount2(2), proc_pid_mountinfo(5).

All functions block: call them in a thread.
"""

import errno
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ctypes

logger = logging.getLogger(__name__)

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")

_MS_BIND: Final = 4096
_MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8


class Mounter:
    """Mounts where this process may, and says once where it may not."""

    def __init__(self, *, may_mount: bool = True) -> None:
        """Make the mounter.

        Args:
            may_mount: False for not even trying.
        """
        self._may_mount = may_mount
        self._swaps = False

    @property
    def may_mount(self) -> bool:
        """Whether nothing is known yet that speaks against a mount."""
        return self._may_mount

    def tmpfs(self, target: Path, options: str) -> bool:
        """Mount a tmpfs that is kept out of swap; return False where mounting is not allowed.

        Args:
            target: a directory.
            options: as ``mode=0755,size=1048576``; the size is in bytes.

        Raises:
            OSError: the kernel refused for another reason.
        """
        if not self._swaps:
            try:
                return self._mount("tmpfs", target, "tmpfs", 0, f"{options},noswap")
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._swaps = True  # the option came with Linux 6.4
        return self._mount("tmpfs", target, "tmpfs", 0, options)

    def bind(self, source: str, target: Path) -> bool:
        """Show ``source`` at ``target``; return False where mounting is not allowed.

        Raises:
            OSError: the kernel refused for another reason.
        """
        return self._mount(source, target, "", _MS_BIND, "")

    def _mount(self, source: str, target: Path, kind: str, flags: int, options: str) -> bool:
        if not self._may_mount:
            return False
        import ctypes  # noqa: PLC0415 - see the head of the module

        arguments = [os.fsencode(text) for text in (source, target, kind)]
        number = ctypes.c_ulong(flags)
        if _libc().mount(*arguments, number, os.fsencode(options)) == 0:
            return True
        failed = ctypes.get_errno()
        if failed not in {errno.EPERM, errno.EACCES}:
            raise OSError(failed, os.strerror(failed), str(target))
        self._may_mount = False
        logger.warning(
            "no right to mount: Secrets, tokens and memory volumes are kept on disk without their "
            "size limit, and sub-paths are guarded by a check only",
            extra={"why": os.strerror(failed)},
        )
        return False


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at ``path`` itself."""
    real = os.path.realpath(path)
    return any(point == real for point in _mount_points())


def mounted_below(directory: Path) -> list[Path]:
    """Return where something is mounted below ``directory``, in the order for unmounting.

    A place where one mount covers another is named once for each of them.
    """
    prefix = os.path.realpath(directory) + "/"
    found = [Path(point) for point in _mount_points() if point.startswith(prefix)]
    found.reverse()
    found.sort(key=lambda point: -len(point.parts))
    return found


def unmount(path: Path) -> None:
    """Take away what is mounted at ``path``; who uses it still keeps it until done.

    Raises:
        OSError: nothing is mounted there, or the kernel refused.
    """
    import ctypes  # noqa: PLC0415 - see the head of the module

    libc, target = _libc(), os.fsencode(path)
    if libc.umount2(target, _UMOUNT_NOFOLLOW) == 0:
        return
    failed = ctypes.get_errno()
    if failed == errno.EBUSY:
        if libc.umount2(target, _UMOUNT_NOFOLLOW | _MNT_DETACH) == 0:
            return
        failed = ctypes.get_errno()
    raise OSError(failed, os.strerror(failed), str(path))


def unmount_below(directory: Path) -> None:
    """Take away all that is mounted below ``directory``, the deepest first.

    Raises:
        OSError: something is still mounted there; the rest is not.
    """
    faults: list[OSError] = []
    for point in mounted_below(directory):
        try:
            unmount(point)
        except OSError as error:
            faults.append(error)
    if faults and mounted_below(directory):
        raise faults[0]


def _mount_points() -> Iterator[str]:
    """Yield where something is mounted, in the order in which it was."""
    for line in _MOUNTINFO.read_bytes().splitlines():
        escaped = line.split(b" ", 5)[4]
        yield os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), escaped))


def _libc() -> "ctypes.CDLL":
    import ctypes  # noqa: PLC0415 - see the head of the module

    return ctypes.CDLL(None, use_errno=True)
