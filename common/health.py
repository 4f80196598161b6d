"""The monitor endpoint of a daemon: ``/healthz``, ``/readyz`` and ``/metrics`` over HTTP.

It runs in a thread of its own on the standard library's server, so that it also answers when the
event loop is stuck, which is when it matters; ``/healthz`` then says so.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

STUCK_AFTER_S: Final = 10.0
"""A loop that has not beaten for this long is taken to be stuck."""

REQUEST_TIMEOUT_S: Final = 5.0


class Health:
    """The daemon's state: written by the event loop, read by the monitor thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last_beat_s = monotonic()
        # condition -> why it is not met; empty when it is. Readiness is all of them met.
        self._conditions: dict[str, str] = {}

    def beat(self) -> None:
        """Say that the event loop still turns; called every second or so."""
        self._last_beat_s = self._monotonic()

    def set_condition(self, name: str, problem: str = "") -> None:
        """State whether condition ``name`` is met: ``problem`` is empty, or tells why not."""
        self._conditions[name] = problem

    def problems(self) -> list[str]:
        """Return why the daemon is not ready; nothing when it is."""
        return [f"{name}: {problem}" for name, problem in list(self._conditions.items()) if problem]

    def is_alive(self) -> bool:
        """Whether the event loop has turned lately."""
        return self._monotonic() - self._last_beat_s < STUCK_AFTER_S


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, and no more: the base class asks the name servers how its own address is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]


@contextmanager
def monitor(address: tuple[str, int], health: Health, registry: CollectorRegistry) -> Iterator[int]:
    """Serve the monitor endpoint on ``address`` while the context lasts; yield the port.

    Raises:
        OSError: the address cannot be bound.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S  # of each read: a silent client holds a thread no longer

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz" | "/livez":
                    self._verdict([] if health.is_alive() else ["the event loop is stuck"])
                case "/readyz":
                    self._verdict(health.problems())
                case "/metrics":
                    self._answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"try /healthz, /readyz or /metrics\n")

        def _verdict(self, problems: list[str]) -> None:
            if problems:
                self._answer(
                    HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{p}\n" for p in problems).encode()
                )
            else:
                self._answer(HTTPStatus.OK, b"ok\n")

        def _answer(
            self, code: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
        ) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing: scrapes every few seconds are no news."""

    server = _Server(address, Handler)
    thread = threading.Thread(target=server.serve_forever, name="monitor", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
