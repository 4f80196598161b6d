"""Room for the companions of the edge-store's file, kept while it is closed.

SQLite deletes the log and the index of the log when the file is closed, and cannot even read
without the index. A disk that fills up meanwhile would keep edgecore from starting, and with it all
that edgecore does against full disks. So the room is taken when the file is closed, and given back
when it is opened.
"""

import logging
import os
from pathlib import Path
from typing import Final

from common.files import PRIVATE_MODE

logger = logging.getLogger(__name__)

ROOM_BYTES: Final = 64 * 1024
"""32 KiB for the index of the log, the rest for the first commits."""

_SUFFIX: Final = "-room"


def take_room(path: Path) -> None:
    """Take the room of the companions of ``path``, or as much as there is."""
    try:
        room = os.open(f"{path}{_SUFFIX}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            os.posix_fallocate(room, 0, ROOM_BYTES)
        finally:
            os.close(room)
    except OSError as error:
        logger.warning("no room is kept for the next start", extra={"error": error.strerror})


def give_room(path: Path) -> None:
    """Give the room back.

    Raises:
        OSError: the folder cannot be written.
    """
    Path(f"{path}{_SUFFIX}").unlink(missing_ok=True)
