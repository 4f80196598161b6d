"""As much of systemd as a unit of ours needs: notify, watchdog, restart, and ending one process."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LIMIT_S = 60.0
_TURN_S = 0.05

# systemd knows the number of the process before it runs; a shell knows its own.
_WITH_PID = ["/bin/sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"]


class Service:
    """A service of ``Type=notify``, ``Restart=always`` and ``KillMode=process``.

    ``said`` is what was notified, ``starts`` how often it was started, ``late`` how often the
    watchdog has ended it.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, watchdog_s: float = 30.0) -> None:
        self.said: list[str] = []
        self.starts = self.late = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "service.log"
        self._command, self._watchdog_s = list(command), watchdog_s
        self._address = str(folder / "notify")
        self._is_stopping, self._lock = False, threading.Lock()
        self._keeper = threading.Thread(target=self._keep)

    def start(self) -> None:
        self._keeper.start()
        self.wait(lambda: "READY=1" in self.said, "it is ready")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what}: {self.said}\n{self.log.read_text()}"
            time.sleep(0.02)

    def restart(self) -> None:
        """Have it end, and so start again."""
        with self._lock:
            if self.process is not None:
                self.process.terminate()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        with self._lock:
            self._is_stopping = True
        self.restart()
        if self._keeper.is_alive():
            self._keeper.join()

    def _keep(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(self._address)
            listener.settimeout(_TURN_S)
            while True:
                with self._lock:
                    if self._is_stopping:
                        return
                    self._spawn()
                self._watch(listener)

    def _spawn(self) -> None:
        environ = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        environ |= {
            "NOTIFY_SOCKET": self._address,
            "WATCHDOG_USEC": str(int(self._watchdog_s * 1_000_000)),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_WITH_PID, *self._command],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.starts += 1

    def _watch(self, listener: socket.socket) -> None:
        """Return when the process has ended, by itself or since it has not said that it lives."""
        assert self.process is not None
        # Counted in turns of our own: where the whole machine stands still nobody is late.
        silent_s, is_watched = 0.0, False
        while True:
            has_ended = self.process.poll() is not None
            try:
                word = listener.recv(4096).decode()
            except TimeoutError:
                if has_ended:
                    return  # and what it has said before is read
                silent_s += _TURN_S
                if is_watched and silent_s > self._watchdog_s:
                    self.late += 1
                    self.process.kill()  # SIGABRT first, but what is frozen takes only this
                    self.process.wait()
                continue
            self.said.append(word)
            silent_s, is_watched = 0.0, is_watched or word == "READY=1"
