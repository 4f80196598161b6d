"""Unix sockets in a folder of ours, however long its name is: an address has 107 bytes, no more."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import PRIVATE_MODE


def listen(path: Path, backlog: int) -> socket.socket:
    """Listen at ``path``, for this user only. What listened there before is gone, or is cut off.

    Raises:
        OSError: the folder cannot be written, or something else than a socket is there.
    """
    with _address(path) as address:
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Who connects needs the right to write to it: nobody can until the mode is set,
            # since nobody listens.
            listener.bind(address)
            path.chmod(PRIVATE_MODE)
            listener.listen(backlog)
        except BaseException:
            listener.close()
            raise
    return listener


def connect(path: Path, timeout_s: float) -> socket.socket:
    """Connect to who listens at ``path``.

    Raises:
        OSError: nobody does, or it is another user's.
    """
    with _address(path) as address:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.settimeout(timeout_s)
            client.connect(address)
        except BaseException:
            client.close()
            raise
    return client


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield a short name of ``path``, by way of an open descriptor of its folder."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _clear(path: Path) -> None:
    """Take away the socket that a process has left which was killed."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_socket:
        path.unlink()
