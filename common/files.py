"""Files that must be whole and private: keys, certificates and the like. Folders that need not."""

import os
import tempfile
from pathlib import Path
from typing import Final

PRIVATE_MODE: Final = 0o600


def write_private(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, readable by this user only; make the folder if it is missing.

    Whoever reads ``path``, also after a power cut at any moment, finds the old content or the new
    one, never a part: it is written beside, synced, and renamed.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file with PRIVATE_MODE, so no moment exists in which others may read it.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def make_folders(path: Path, mode: int) -> None:
    """Have a folder at ``path``; what is made, those above it too, gets ``mode`` at any umask.

    Raises:
        OSError: it cannot be made.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode, parents=True, exist_ok=True)
    for folder in made:
        folder.chmod(mode)


def _sync_folder(folder: Path) -> None:
    """Make the rename durable: it is an entry of the folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
