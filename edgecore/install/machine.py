"""The machine that edgecore is installed on: its files and its systemd, below a root folder.

With another root than ``/`` an image or a test is furnished; nothing is started or stopped there.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from common.errors import EdgeError
from common.files import write_private
from edgecore.install.paperwork import UNIT, Deed, deed, digest

RECORD: Final = Path("/etc/cloudedge/.joined.json")
"""What was written last, so that a change by hand is noticed, and what the service began with."""

UNIT_FILE: Final = Path("/etc/systemd/system") / UNIT

_SYSTEMD_RUNS: Final = Path("/run/systemd/system")  # as sd_booted(3) finds out
_STARTED: Final = "started"
_LIMIT_S: Final = 400.0  # a start may take 300
_UNIT_MODE: Final = 0o644


class Machine:
    """A machine, or the folder that is to become one."""

    def __init__(self, root: Path = Path("/")) -> None:
        """Nothing is looked at yet."""
        self.root = root

    @property
    def is_here(self) -> bool:
        """Whether this is the machine that we run on."""
        return self.root == Path("/")

    @property
    def has_systemd(self) -> bool:
        """Whether services can be started: systemd runs, and this is the machine it runs on."""
        return self.is_here and _SYSTEMD_RUNS.is_dir()

    def path(self, path: Path) -> Path:
        """Return where ``path`` of the machine is for us."""
        return self.root / path.absolute().relative_to("/")

    def name_of(self, path: Path) -> Path:
        """Return what ``path``, as it is for us, is called on the machine."""
        return Path("/") / path.relative_to(self.root)

    def deed(self, path: Path, content: str) -> Deed:
        """Return what is to be done so that ``path`` has ``content``.

        Raises:
            EdgeError: the file cannot be read.
        """
        return deed(self.read(path), content.encode(), self._recorded().get(str(path)))

    def write(self, path: Path, content: str) -> str:
        """See that ``path`` has ``content``; return a line that says what was done.

        What somebody else wrote is kept as ``<name>.bak``, and the line says so.

        Raises:
            EdgeError: the file cannot be written.
        """
        done = self.deed(path, content)
        target, note = self.path(path), ""
        if done is Deed.UNCHANGED:
            return f"{done}: {path}"
        try:
            if done is Deed.REPLACED:
                backup = target.with_name(f"{target.name}.bak")
                shutil.copy2(target, backup)
                note = f" (it had been changed by hand; that is kept as {path.name}.bak)"
            write_private(target, content.encode())
            if path == UNIT_FILE:
                target.chmod(_UNIT_MODE)
            self._keep_record({**self._recorded(), str(path): digest(content.encode())})
        except OSError as error:
            raise EdgeError(f"{path}: cannot be written: {error.strerror}") from error
        return f"{done}: {path}{note}"

    def remove(self, path: Path) -> str | None:
        """Remove a file or folder; return a line that says so, None where it is not there.

        Raises:
            EdgeError: it cannot be removed.
        """
        target = self.path(path)
        try:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            elif target.exists() or target.is_symlink():
                target.unlink()
            else:
                return None
        except OSError as error:
            raise EdgeError(f"{path}: cannot be removed: {error.strerror}") from error
        return f"removed: {path}"

    def read(self, path: Path) -> bytes | None:
        """Return what ``path`` has; None where it is not there.

        Raises:
            EdgeError: it cannot be read.
        """
        try:
            return self.path(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EdgeError(f"{path}: cannot be read: {error.strerror}") from error

    def systemctl(self, *arguments: str) -> None:
        """Have systemd do something.

        Raises:
            EdgeError: it refuses, in its words.
        """
        try:
            done = subprocess.run(  # noqa: S603 - arguments of our own
                ["systemctl", *arguments],  # noqa: S607 - where it is differs
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgeError(f"systemctl {' '.join(arguments)}: {error}") from error
        if done.returncode != 0:
            words = done.stdout.decode(errors="replace").strip() or f"code {done.returncode}"
            raise EdgeError(
                f"systemctl {' '.join(arguments)}: {words}; `journalctl -u {UNIT}` may say more"
            )

    def is_started_with(self, papers: str) -> bool:
        """Whether ``note_start`` has noted this digest of its files last."""
        return self._recorded().get(_STARTED) == papers

    def note_start(self, papers: str) -> None:
        """Note that the service was started with files of this digest.

        Raises:
            EdgeError: it cannot be written.
        """
        try:
            self._keep_record({**self._recorded(), _STARTED: papers})
        except OSError as error:
            raise EdgeError(f"{RECORD}: cannot be written: {error.strerror}") from error

    def is_root(self) -> bool:
        """Whether we may change the machine: root on it, or anybody in another folder."""
        return not self.is_here or os.geteuid() == 0

    def _recorded(self) -> dict[str, str]:
        try:
            found = json.loads(self.read(RECORD) or b"{}")
        except ValueError:  # then everything counts as changed by hand, and is kept
            return {}
        return found if isinstance(found, dict) else {}

    def _keep_record(self, record: dict[str, str]) -> None:
        text = json.dumps(record, indent=1, sort_keys=True)
        write_private(self.path(RECORD), text.encode())
