"""One program of the control plane: started on a tether, watched until ready, stopped for sure."""

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from deploy.devcluster.tether import tethered

_POLL_S: Final = 0.02
_LOG_TAIL_LINES: Final = 20
_LOG_TAIL_BYTES: Final = 64 * 1024
# All that these programs need from around them: a stray ETCD_* would change what they do.
_ENVIRONMENT: Final = ("HOME", "LANG", "PATH", "TMPDIR")


logger = logging.getLogger(__name__)


class ProgramError(Exception):
    """A program ended by itself or did not get ready; the message holds the end of its log."""


class Program:
    """A child process with a log file. It may be started again after it has stopped.

    The methods may be called from different event loops, one after the other. ``start`` belongs to
    a thread that lives as long as the program should: it dies with that thread (see ``tether``).
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        """Nothing runs yet. ``command[0]`` is a path; ``log`` is appended to at each start."""
        self.name = name
        self.log = log
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None where nothing runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is there, ready or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and return at once.

        Raises:
            ProgramError: if it runs already.
        """
        if self.running:
            message = f"{self.name} runs already"
            raise ProgramError(message)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tethered(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={key: os.environ[key] for key in _ENVIRONMENT if key in os.environ},
                # Ctrl-C reaches the parent only, which then stops the programs in their order.
                start_new_session=True,
            )

    async def wait_ready(self, is_ready: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Return when ``is_ready`` says so; it is asked again and again while the process lives.

        Raises:
            ProgramError: if the process ends first, or is not ready after ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while not await is_ready():
            if self._process is None or self._process.poll() is not None:
                how = "was stopped" if self._process is None else f"ended ({self._process.poll()})"
                raise ProgramError(self._told(f"{how} before it was ready"))
            if time.monotonic() > deadline:
                raise ProgramError(self._told(f"was not ready after {timeout_s:g} s"))
            await asyncio.sleep(_POLL_S)

    async def stop(self, grace_s: float) -> None:
        """Ask the process to end, kill it after ``grace_s`` seconds, return when it is gone.

        Cancellation: the process is killed at once, and is gone when the call returns.
        """
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, grace_s)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not end within %g s: killed", self.name, grace_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process without asking; it is gone when the call returns."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _told(self, what: str) -> str:
        if not self.log.exists():
            return f"{self.name} {what}"
        tail = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").splitlines()
        return "\n  ".join([f"{self.name} {what}; {self.log} ends:", *tail[-_LOG_TAIL_LINES:]])
