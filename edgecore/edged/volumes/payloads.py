"""Files of a volume: each change of a volume becomes visible as a whole, or not at all.

The layout is Kubernetes': the files are in a directory with a time in its name, ``..data`` is a
symbolic link to it, and what a container opens are links through ``..data``. A new content is
written beside the old one, and one rename of ``..data`` changes all files together.

Source: Kubernetes pkg/volume/util/atomic_writer.go, for the layout only, and
pkg/volume/volume_linux.go for what a group gets.

All functions block: call them in a thread.
"""

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgecore.edged.volumes.trees import entries_below, remove_tree
from edgecore.edged.volumes.volumes import Payload

DATA_LINK: Final = "..data"
_NEW_LINK: Final = "..data_tmp"

_FOR_GROUP: Final = 0o2550
"""What a directory's group gets in a volume that only edged may write."""


def write_payload(directory: Path, payload: Payload, group: int | None = None) -> bool:
    """Let ``directory`` have the files of ``payload`` only; return whether it had to change.

    Args:
        directory: is there.
        payload: what shall be in it.
        group: numeric group that may read everything; None for edgecore's.

    Raises:
        OSError: the disk is full, or not writable. What containers see has not changed.
    """
    mode = _mode(group)
    make_directory(directory, mode, group)
    current = _current(directory)
    wanted = {path: (file.data, file.mode) for path, file in payload.items()}
    changed = current is None or _read(current) != wanted
    if changed:
        _switch(directory, payload, group)
    _link(directory, payload)
    _sweep(directory, payload)
    return changed


def make_directory(path: Path, mode: int, group: int | None = None) -> None:
    """Have a directory at ``path`` with exactly this mode and, if one is given, group."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    own(path, None, group)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)  # not in mkdir, where the umask would take its part


def own(path: Path, owner: int | None, group: int | None) -> None:
    """Give ``path`` to ``owner`` and ``group``; None leaves it as it is.

    Where edgecore runs as a plain user so do the containers, and need no other owner.
    """
    if owner is None and group is None:
        return
    try:
        os.chown(path, -1 if owner is None else owner, -1 if group is None else group)
    except PermissionError:
        if os.geteuid() == 0:
            raise


def _switch(directory: Path, payload: Payload, group: int | None) -> None:
    moment = time.time_ns()
    name = f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{moment % 10**9:09}"
    fresh, new_link = directory / name, directory / _NEW_LINK
    try:
        _fill(fresh, payload, group)
        new_link.unlink(missing_ok=True)
        new_link.symlink_to(name)
        new_link.rename(directory / DATA_LINK)
    except OSError:
        with suppress(OSError):  # the next sweep removes what stays
            remove_tree(fresh)
        raise


def _fill(fresh: Path, payload: Payload, group: int | None) -> None:
    made = {fresh}
    make_directory(fresh, _mode(group), group)
    for path, file in payload.items():
        target = fresh / path
        for parent in reversed(target.relative_to(fresh).parents):
            if fresh / parent not in made:
                make_directory(fresh / parent, _mode(group), group)
                made.add(fresh / parent)
        target.write_bytes(file.data)
        own(target, file.owner, group)
        target.chmod(file.mode)


def _mode(group: int | None) -> int:
    return 0o755 if group is None else 0o755 | _FOR_GROUP


def _link(directory: Path, payload: Payload) -> None:
    for first in {path.split("/", 1)[0] for path in payload}:
        link = directory / first
        if not os.path.lexists(link):
            link.symlink_to(f"{DATA_LINK}/{first}")


def _sweep(directory: Path, payload: Payload) -> None:
    """Remove links to files that went, and contents that were replaced or never became visible."""
    wanted = {path.split("/", 1)[0] for path in payload}
    current = _current(directory)
    for entry in directory.iterdir():
        if entry.name.startswith(".."):
            if entry.is_dir() and not entry.is_symlink() and entry != current:
                with suppress(OSError):  # the next sweep tries again
                    remove_tree(entry)
        elif entry.is_symlink() and entry.name not in wanted:
            entry.unlink()


def _current(directory: Path) -> Path | None:
    try:
        return directory / os.readlink(directory / DATA_LINK)
    except OSError:
        return None


def _read(content: Path) -> dict[str, tuple[bytes, int]] | None:
    """Return data and mode of all files; None if there is something else, or nothing readable."""
    found = {}
    try:
        for entry in entries_below(content):
            if entry.is_dir(follow_symlinks=False):
                continue
            if not entry.is_file(follow_symlinks=False):
                return None
            path = Path(entry.path)
            mode = stat.S_IMODE(path.stat().st_mode)
            found[str(path.relative_to(content))] = (path.read_bytes(), mode)
    except OSError:
        return None
    return found
