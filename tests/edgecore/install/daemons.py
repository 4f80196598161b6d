"""Versions in slots whose edgecore is a script, and what stands for systemd: it starts again."""

import os
import subprocess
import threading
from pathlib import Path

from edgecore.install import installer, slots

_SCRIPT = """\
#!/usr/bin/env -S python3 -I
import http.server, os, signal, socketserver, sys
if sys.argv[1:] == ["--version"]:
    print("edgecore {version}")
    sys.exit(0)
with open({log!r}, "a") as log:
    log.write("{version}\\n")
if {crashes}:
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"edgehub": {{"connected": {connected}}}}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...

    def address_string(self):
        return "test"

class Server(socketserver.UnixStreamServer):
    def server_bind(self):
        os.chdir({data_dir!r})
        if os.path.exists("edgecore.sock"):
            os.unlink("edgecore.sock")
        self.server_address = "edgecore.sock"
        super().server_bind()

Server("edgecore.sock", Handler).serve_forever()
"""


class Versions:
    """A home with versions, and the log of what was started."""

    def __init__(self, folder: Path) -> None:
        self.home, self.data_dir, self.log = folder / "home", folder / "data", folder / "log"
        self.data_dir.mkdir()
        self.log.touch()
        installer.make_launcher(self.home)
        self.daemon: subprocess.Popen[bytes] | None = None
        self._is_stopping, self._lock = False, threading.Lock()

    def add(self, version: str, *, crashes: bool = False, connected: bool = True) -> None:
        program = slots.program_of(self.home, version)
        program.parent.mkdir(parents=True)
        program.write_text(
            _SCRIPT.format(
                version=version,
                log=str(self.log),
                crashes=crashes,
                connected="true" if connected else "false",
                data_dir=str(self.data_dir),
            )
        )
        program.chmod(0o700)

    def started(self) -> list[str]:
        return self.log.read_text().split()

    def start(self) -> "subprocess.Popen[bytes]":
        """Run the launcher, as the unit does."""
        self.daemon = subprocess.Popen(
            [slots.launcher_of(self.home), "run"], env={"PATH": os.environ["PATH"]}
        )
        return self.daemon

    def keep_running(self) -> None:
        """Start again whatever ends, as systemd does, until ``stop``."""
        while True:
            with self._lock:
                if self._is_stopping:
                    return
                daemon = self.start()
            daemon.wait()

    def stop(self) -> None:
        """Let nothing be started any more, and end what runs."""
        with self._lock:
            self._is_stopping = True
        self.end()

    def end(self) -> None:
        """End what runs."""
        with self._lock:
            if self.daemon is not None:
                self.daemon.terminate()
                self.daemon.wait()
