"""The folder of one edge: held by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from common.errors import ConfigError

SOCKET: Final = "edgecore.sock"
"""In the folder: where this user asks a running edgecore how it does."""


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold ``data_dir`` against another edgecore, which would run the same pods a second time.

    Raises:
        ConfigError: another one holds it, or it cannot be made.
    """
    path = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError([f"--data-dir: {data_dir}: {error.strerror}"]) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        fault = f"--data-dir: {data_dir} is in use by another edgecore"
        raise ConfigError([fault]) from error
    try:
        yield
    finally:
        os.close(lock)
