"""The monitor endpoint of a daemon: ``/livez``, ``/readyz`` and ``/metrics`` over HTTP.

It runs in a thread of its own, so that it also answers when the event loop is stuck, which is when
it matters. The thread sleeps until somebody asks. The standard library's HTTP server is not used:
it costs an edge a MiB, wakes up twice a second, and lets a client hold a thread for as long as it
likes.
"""

import json
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from common import unixsocket
from common.errors import ConfigError
from common.health import Health
from common.metrics import Collector

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_S: Final = 5.0
"""Seconds that a request may take to arrive, and its answer to be taken."""

MAX_CLIENTS: Final = 16
"""Who comes when there are so many takes the place of one that is waited for, or is sent away."""

_MAX_REQUEST_BYTES: Final = 8192
_PATHS: Final = "try /livez, /readyz, /readyz?verbose or /metrics\n"
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"

Answer = tuple[HTTPStatus, bytes, str]
"""Status, body and content type."""


class Monitor:
    """Answers questions about a daemon. Knows no sockets."""

    def __init__(self, health: Health, registry: Collector) -> None:
        """Answer from ``health`` and ``registry``."""
        self._health, self._registry = health, registry
        self._failed: set[str] = set()  # paths of ours whose failure was logged

    def answer(self, request: bytes, *, is_private: bool) -> Answer:
        """Return what to say to ``request``, which begins with the request line.

        Args:
            request: as it came.
            is_private: whether it came from this user, who may see the status too.
        """
        method, target = _request_line(request)
        path, _, query = target.partition("?")
        if method != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n", _TEXT
        try:
            return self._answer(path, query, is_private=is_private)
        except Exception as error:
            # What is asked belongs to the event loop, which may be changing it just now.
            if path not in self._failed:
                self._failed.add(path)
                logger.exception("%s could not be answered; said once", path)
            return HTTPStatus.INTERNAL_SERVER_ERROR, f"{error!r}\n".encode(), _TEXT

    def _answer(self, path: str, query: str, *, is_private: bool) -> Answer:
        match path:
            case "/healthz" | "/livez":
                return _verdict([] if self._health.is_alive() else ["the event loop is stuck"])
            case "/readyz":
                return self._ready(query.split("&"))
            case "/metrics":
                return _metrics(self._registry)
            case "/status" if is_private:
                body = json.dumps(self._health.status(), default=str)
                return HTTPStatus.OK, f"{body}\n".encode(), _JSON
        return HTTPStatus.NOT_FOUND, _PATHS.encode(), _TEXT

    def _ready(self, parameters: list[str]) -> Answer:
        # As the API server has it: verbose, and exclude=CONDITION, which may come again.
        named = [one.partition("=") for one in parameters]
        problems = self._health.problems({value for name, _, value in named if name == "exclude"})
        if all(name != "verbose" for name, _, _ in named):
            return _verdict(problems)
        lines = [*self._health.lines(), "not ready" if problems else "ready"]
        code = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return code, _text(lines), _TEXT


@contextmanager
def monitor(
    address: tuple[str, int] | None,
    health: Health,
    registry: Collector,
    path: Path | None = None,
) -> Iterator[int]:
    """Serve the monitor endpoint while the context lasts; yield the port, 0 where there is none.

    Args:
        address: where everybody may ask; None for nowhere.
        health: see ``Health``.
        registry: the metrics.
        path: of a Unix socket where this user may ask, for the status too.

    Raises:
        ConfigError: an address cannot be had; the text names the option.
    """
    listeners: dict[socket.socket, bool] = {}
    try:
        if address is not None:
            with _fault_of(f"--monitor-address: {address[0]}:{address[1]}", "; empty for none"):
                listeners[_bound(address)] = False
        if path is not None:
            with _fault_of(f"--data-dir: {path}"):
                listeners[unixsocket.listen(path, MAX_CLIENTS)] = True
        with _served(listeners, Monitor(health, registry)):
            yield next((one.getsockname()[1] for one in listeners if not listeners[one]), 0)
    finally:
        for listener in listeners:
            listener.close()
        if path is not None:
            path.unlink(missing_ok=True)


def ask(path: Path, target: str = "/status", timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
    """Ask the daemon that listens at the Unix socket ``path``; return the body of its answer.

    Raises:
        OSError: nobody listens there, it is another user's, or it does not answer in time.
    """
    with unixsocket.connect(path, timeout_s) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b"".join(iter(lambda: client.recv(65536), b""))
    return received.partition(b"\r\n\r\n")[2]


@contextmanager
def _served(listeners: dict[socket.socket, bool], answers: Monitor) -> Iterator[None]:
    if not listeners:
        yield
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(
            target=_accept, args=(listeners, theirs, answers), name="monitor", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            ours.close()
            thread.join()


class _Clients:
    """Who is connected, each with a place of ``MAX_CLIENTS``. Used by all threads of a monitor.

    Who has us wait keeps its place only while nobody else needs it: anybody can connect and then
    say nothing, and a daemon whose probes find no place is killed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited_for: dict[socket.socket, None] = {}  # who waits longest comes first
        self._being_answered: set[socket.socket] = set()

    def enter(self, client: socket.socket) -> bool:
        """Give ``client`` a place, cutting off who is waited for longest; False if all are busy."""
        with self._lock:
            if len(self._waited_for) + len(self._being_answered) >= MAX_CLIENTS:
                oldest = next(iter(self._waited_for), None)
                if oldest is None:
                    return False
                del self._waited_for[oldest]
                with suppress(OSError):  # it has gone by itself
                    oldest.shutdown(socket.SHUT_RDWR)
            self._waited_for[client] = None
            return True

    @contextmanager
    def being_answered(self, client: socket.socket) -> Iterator[None]:
        """Let ``client`` keep its place in here; it is waited for again after that.

        Raises:
            ConnectionAbortedError: it has no place any more.
        """
        with self._lock:
            if client not in self._waited_for:
                raise ConnectionAbortedError
            del self._waited_for[client]
            self._being_answered.add(client)
        try:
            yield
        finally:
            with self._lock:
                self._being_answered.discard(client)
                self._waited_for[client] = None

    def leave(self, client: socket.socket) -> None:
        """Give back the place of ``client``; called before it is closed."""
        with self._lock:
            self._waited_for.pop(client, None)


def _accept(listeners: dict[socket.socket, bool], end: socket.socket, answers: Monitor) -> None:
    """Answer who connects, each in a thread, until the other side of ``end`` is closed."""
    clients = _Clients()
    with selectors.DefaultSelector() as selector:
        for one in (*listeners, end):
            selector.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is end:
                    return
                listener = key.fileobj
                assert isinstance(listener, socket.socket)
                try:
                    client, _ = listener.accept()
                except OSError:  # it has gone again, or there are no descriptors left
                    time.sleep(0.05)
                    continue
                _begin(client, clients, answers, is_private=listeners[listener])


def _begin(client: socket.socket, clients: _Clients, answers: Monitor, *, is_private: bool) -> None:
    """Have ``client`` answered by a thread, or close it."""
    if not clients.enter(client):
        client.close()
        return

    def serve() -> None:
        # What a client does to its own connection is no news.
        with client, suppress(OSError):
            try:
                _serve(client, clients, answers, is_private=is_private)
            finally:
                clients.leave(client)

    try:
        threading.Thread(target=serve, name="monitor client", daemon=True).start()
    except RuntimeError:  # the machine has no thread left
        clients.leave(client)
        client.close()


def _serve(client: socket.socket, clients: _Clients, answers: Monitor, *, is_private: bool) -> None:
    until_s = time.monotonic() + REQUEST_TIMEOUT_S
    request = b""
    while b"\r\n\r\n" not in request:
        client.settimeout(max(until_s - time.monotonic(), 0.001))
        part = client.recv(_MAX_REQUEST_BYTES)
        request += part
        if not part or len(request) > _MAX_REQUEST_BYTES:
            return
    with clients.being_answered(client):
        code, body, content_type = answers.answer(request, is_private=is_private)
    head = (
        f"HTTP/1.1 {code.value} {code.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    client.settimeout(REQUEST_TIMEOUT_S)
    client.sendall(head.encode() + body)


@contextmanager
def _fault_of(what: str, advice: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([f"{what}: {error.strerror}{advice}"]) from error


def _bound(address: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return socket.create_server(address, family=family, backlog=MAX_CLIENTS)


def _request_line(request: bytes) -> tuple[str, str]:
    words = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
    return (words[0], words[1]) if len(words) == 3 else ("", "")


def _metrics(registry: Collector) -> Answer:
    # Not at the top: an edge that nobody asks for its numbers does without these MiBs.
    from prometheus_client.exposition import (  # noqa: PLC0415
        CONTENT_TYPE_LATEST,
        generate_latest,
    )

    return HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST


def _verdict(problems: list[str]) -> Answer:
    if problems:
        return HTTPStatus.SERVICE_UNAVAILABLE, _text(problems), _TEXT
    return HTTPStatus.OK, b"ok\n", _TEXT


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
