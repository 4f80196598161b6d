"""A file to hand on when help is needed: what is known, as texts, with secrets removed.

Each daemon's command collects its own; what could not be had is named in it rather than left out in
silence, because a bundle is asked for when things do not work.
"""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from common.errors import ConfigError, EdgeError
from common.files import PRIVATE_MODE
from common.output import to_json
from common.redaction import redact, redact_object

MAX_TEXT_BYTES: Final = 8 * 1024 * 1024
"""Of a text in a bundle its end is kept: of logs, that is what matters."""

_MISSING: Final = "MISSING.txt"
_ABOUT: Final = "README.txt"
_INTRODUCTION: Final = """\
What {name} knew at {moment}, to find out what is wrong with it.

Secrets, keys and tokens are left out or replaced by "(removed)". Names of nodes, addresses and the
words of logs are in it: look through it before you give it to others.
"""


class SupportBundle:
    """Texts by name, of which nothing is written before ``save``."""

    def __init__(self, name: str, moment: datetime) -> None:
        """Begin with a text that says what it is.

        Args:
            name: of the program.
            moment: the present.
        """
        self._folder = f"{name}-support"
        self._moment = moment
        self._texts: dict[str, bytes] = {}
        self._missing: list[str] = []
        self.add(_ABOUT, _INTRODUCTION.format(name=name, moment=moment.isoformat()))

    @property
    def missing(self) -> tuple[str, ...]:
        """What could not be had, and why, a line each."""
        return tuple(self._missing)

    def add(self, name: str, text: str) -> None:
        """Put ``text`` in, as ``name``, without what seems to be secret."""
        self._keep(name, redact(text))

    def add_object(self, name: str, shown: Any) -> None:
        """Put ``shown`` in as JSON, without what seems to be secret by its key or its form."""
        self._keep(name, to_json(redact_object(shown)))

    def lack(self, name: str, why: str) -> None:
        """Note that ``name`` cannot be had."""
        self._missing.append(redact(f"{name}: {why}"))

    def collect(self, name: str, make: Callable[[], Any]) -> None:
        """Put in what ``make`` returns, a text or an object; note it as missing where that fails.

        What is foreseen to fail is ``EdgeError`` and ``OSError``.
        """
        try:
            made = make()
        except (EdgeError, OSError) as error:
            self.lack(name, str(error) or type(error).__name__)
            return
        self.add(name, made) if isinstance(made, str) else self.add_object(name, made)

    def save(self, path: Path) -> None:
        """Write all of it to the new file ``path``, which only this user may read.

        Raises:
            ConfigError: there is such a file already, or it cannot be written; then there is none.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        except FileExistsError as error:
            raise ConfigError([f"{path}: is there already: choose another name"]) from error
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}"]) from error
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(self._packed())
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise ConfigError([f"{path}: {error.strerror}"]) from error
            raise

    def _keep(self, name: str, text: str) -> None:
        self._texts[name] = text.encode()[-MAX_TEXT_BYTES:]

    def _packed(self) -> bytes:
        texts = self._texts
        if self._missing:
            texts = {**texts, _MISSING: "".join(f"{one}\n" for one in self._missing).encode()}
        packed, moment = io.BytesIO(), int(self._moment.timestamp())
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, text in texts.items():
                entry = tarfile.TarInfo(f"{self._folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(text), PRIVATE_MODE, moment
                archive.addfile(entry, io.BytesIO(text))
        return gzip.compress(packed.getvalue(), mtime=moment)
