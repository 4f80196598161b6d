"""The key of an edge-store: outside of the database, so that the database alone reveals no Secret.

A credential of systemd is taken before the file: it can be sealed to the machine's TPM. Whatever is
in either is hashed into the key, so any 32 bytes or more will do, in any spelling.

Source: https://systemd.io/CREDENTIALS/
"""

import errno
import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from common.errors import StoreError
from common.files import PRIVATE_MODE, write_private
from edgecore.edgestore.sealing import KEY_BYTES

logger = logging.getLogger(__name__)

FILE_NAME: Final = "edge-store.key"
CREDENTIAL: Final = "edge-store-key"
"""Name of the credential."""

_FOLDER: Final = "CREDENTIALS_DIRECTORY"
_OTHERS: Final = 0o077
_MAX_BYTES: Final = 64 * 1024


def credential(environ: Mapping[str, str]) -> Path | None:
    """Return the credential with the key, if systemd has given this service one."""
    folder = environ.get(_FOLDER)
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and path.exists() else None


class KeyFile:
    """The key of one edge-store: of a credential, or of a file that is made when it is needed."""

    def __init__(self, path: Path, given: Path | None = None) -> None:
        """Name the files; nothing is read yet.

        Args:
            path: the file of our own.
            given: the credential that takes its place, which is never written.
        """
        self._path, self._given = path, given

    def __str__(self) -> str:
        """Return where the key is, and nothing of it."""
        return str(self._given or self._path)

    def check(self) -> None:
        """Check the credential, if there is one: it is somebody's wish, and has to be mended there.

        Our own file, if it is there, is for this user only afterwards.

        Raises:
            StoreError: the credential cannot be read, or is too short.
        """
        if self._given is not None:
            _read(self._given)
            return
        with suppress(OSError):
            if self._path.stat().st_mode & _OTHERS:
                self._path.chmod(PRIVATE_MODE)

    def find(self) -> bytes | None:
        """Return the key; None where there is none that can be used."""
        try:
            return _read(self._given or self._path)
        except StoreError:
            return None

    def find_or_make(self) -> bytes:
        """Return the key; where there is none, make one, which is on the disk when this returns.

        A file that holds none is set aside.

        Raises:
            StoreError: it cannot be made, or the credential cannot be used.
        """
        if self._given is not None:
            return _read(self._given)
        try:
            if self._path.exists():
                return _read(self._path)
        except StoreError as error:
            logger.warning("the key is of no use: another one is made", extra={"error": str(error)})
        try:
            if self._path.exists():
                self._path.replace(_free_name(self._path))
            write_private(self._path, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
        except OSError as error:
            words = os.strerror(error.errno or errno.EIO)
            raise StoreError(f"{self._path}: cannot be made: {words}") from error
        logger.info("the edge-store has a key", extra={"file": str(self._path)})
        return _read(self._path)


def _read(path: Path) -> bytes:
    """Return the key that is in ``path``."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content.strip()) < KEY_BYTES:
        raise StoreError(f"{path}: {len(content)} bytes are no key: {KEY_BYTES} are needed")
    hashed = hashlib.blake2b(content.strip(), digest_size=KEY_BYTES, person=b"edge-store key")
    return hashed.digest()


def _free_name(path: Path) -> Path:
    number = 1
    while (name := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return name
