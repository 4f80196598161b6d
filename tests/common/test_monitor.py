"""The monitor endpoint over real HTTP and real Unix sockets; only the clock is the test's."""

import contextlib
import http.client
import json
import socket
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from common import monitor as module
from common import unixsocket
from common.errors import ConfigError
from common.health import STUCK_AFTER_S, Health
from common.monitor import MAX_CLIENTS, ask, monitor

LOOPBACK = ("127.0.0.1", 0)


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_ready_says_why_not_and_tells_all_to_who_wants_more() -> None:
    health = Health()
    health.set_condition("caches", "pods are not listed yet")
    health.set_condition("hub")
    health.remark("cloud", lambda: "offline")
    with monitor(LOOPBACK, health, CollectorRegistry()) as port:
        assert get(port, "/readyz") == (503, "caches: pods are not listed yet\n")
        assert get(port, "/readyz?verbose") == (
            503,
            "[-] caches: pods are not listed yet\n[+] hub\n[ ] cloud: offline\nnot ready\n",
        )
        assert get(port, "/readyz?exclude=hub&exclude=caches") == (200, "ok\n")
        assert get(port, "/readyz?verbose&exclude=caches")[0] == 200
        assert get(port, "/readyz?exclude=hub")[0] == 503
        health.set_condition("caches")
        assert get(port, "/readyz") == (200, "ok\n")
        assert get(port, "/readyz?verbose") == (
            200,
            "[+] caches\n[+] hub\n[ ] cloud: offline\nready\n",
        )


def test_a_loop_that_does_not_turn_is_not_alive() -> None:
    now_s = 0.0
    health = Health(lambda: now_s)
    with monitor(LOOPBACK, health, CollectorRegistry()) as port:
        assert get(port, "/healthz") == (200, "ok\n")
        now_s = STUCK_AFTER_S
        assert get(port, "/livez") == (503, "the event loop is stuck\n")
        health.beat()
        assert get(port, "/healthz")[0] == 200


def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    Counter("nodes_seen", "Nodes.", registry=registry).inc(3)
    with monitor(LOOPBACK, Health(), registry) as port:
        status, text = get(port, "/metrics")
    assert status == 200
    assert "nodes_seen_total 3.0" in text


def test_the_status_is_told_to_this_user_only(tmp_path: Path) -> None:
    health, path = Health(), tmp_path / "edgecore.sock"
    health.report("hub", lambda: {"connected": True, "since": Path("x")})
    with monitor(LOOPBACK, health, CollectorRegistry(), path) as port:
        assert json.loads(ask(path)) == {"hub": {"connected": True, "since": "x"}}
        assert ask(path, "/livez") == b"ok\n"
        assert get(port, "/status")[0] == 404
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


def test_without_an_address_nobody_is_served() -> None:
    with monitor(None, Health(), CollectorRegistry()) as port:
        assert port == 0


def test_another_path_or_method_says_what_there_is() -> None:
    with monitor(LOOPBACK, Health(), CollectorRegistry()) as port:
        assert get(port, "/")[0] == 404
        assert "/readyz" in get(port, "/")[1]
        assert get(port, "/livez", "POST") == (405, "only GET\n")


@pytest.mark.parametrize("request_line", [b"GET /livez", b"\xff", b"GET /livez HTTP/1.1 more"])
def test_what_is_no_request_is_refused(request_line: bytes) -> None:
    with (
        monitor(LOOPBACK, Health(), CollectorRegistry()) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(request_line + b"\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 405"


def test_a_request_that_has_no_end_is_cut_off() -> None:
    with (
        monitor(LOOPBACK, Health(), CollectorRegistry()) as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(b"x" * 10_000)
        with contextlib.suppress(ConnectionResetError):  # not all of it was read
            assert client.recv(9) == b""


def test_silent_clients_hold_up_nobody_and_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with monitor(LOOPBACK, Health(), CollectorRegistry()) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            assert get(port, "/livez") == (200, "ok\n")
        monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 0.01)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
            assert silent.recv(9) == b""


def test_more_clients_than_there_is_room_for_are_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 50.0)
    held, asked = threading.Event(), threading.Semaphore(0)
    health = Health()

    def slow() -> str:
        asked.release()
        return "" if held.wait(60) else "never"

    health.judge("slow", slow)
    with monitor(LOOPBACK, health, CollectorRegistry()) as port:
        clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(MAX_CLIENTS)]
        for client in clients:
            client.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert all(asked.acquire(timeout=30) for _ in clients)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as other:
            assert other.recv(9) == b""
        held.set()
        for client in clients:
            with client:
                assert client.recv(15) == b"HTTP/1.1 200 OK"


def test_who_says_nothing_gives_way_to_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 50.0)
    with (
        monitor(LOOPBACK, Health(), CollectorRegistry()) as port,
        contextlib.ExitStack() as closing,
    ):
        silent = [
            closing.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            for _ in range(MAX_CLIENTS)
        ]
        silent[1].sendall(b"GET ")
        assert get(port, "/livez") == (200, "ok\n")
        assert silent[0].recv(9) == b""
        silent[1].sendall(b"/livez HTTP/1.1\r\n\r\n")
        assert silent[1].recv(15) == b"HTTP/1.1 200 OK"


def test_who_does_not_take_its_answer_gives_way_to_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 50.0)
    health, path = Health(), tmp_path / "s"
    health.remark("long", lambda: "x" * 2**20)
    with (
        monitor(None, health, CollectorRegistry(), path),
        contextlib.ExitStack() as closing,
    ):
        for _ in range(MAX_CLIENTS):
            client = closing.enter_context(unixsocket.connect(path, 30))
            client.sendall(b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
            assert client.recv(1) == b"H"
        assert ask(path, "/livez") == b"ok\n"


def test_an_answer_that_fails_is_said_and_keeps_no_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = Health()

    def fail() -> str:
        raise RuntimeError("dictionary changed size during iteration")

    health.judge("caches", fail)
    with monitor(LOOPBACK, health, CollectorRegistry()) as port:
        for _ in range(MAX_CLIENTS + 1):
            status, text = get(port, "/readyz")
            assert (status, "changed size" in text) == (500, True)
        health.set_condition("caches")
        assert get(port, "/readyz") == (200, "ok\n")
    (record,) = caplog.records
    assert record.getMessage() == "/readyz could not be answered; said once"


def test_where_no_thread_is_left_a_client_is_closed_and_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monitor(LOOPBACK, Health(), CollectorRegistry()) as port:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            for _ in range(MAX_CLIENTS + 1):
                with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                    assert client.recv(9) == b""
        assert get(port, "/livez") == (200, "ok\n")


def test_an_address_that_is_taken_is_a_fault_that_names_the_option(tmp_path: Path) -> None:
    with monitor(LOOPBACK, Health(), CollectorRegistry()) as port:
        taken = ("127.0.0.1", port)
        with (
            pytest.raises(ConfigError, match=rf"--monitor-address: 127\.0\.0\.1:{port}: .*in use"),
            monitor(taken, Health(), CollectorRegistry()),
        ):
            pass
    with (
        pytest.raises(ConfigError, match=r"--data-dir: .*/nowhere/s: No such file"),
        monitor(None, Health(), CollectorRegistry(), tmp_path / "nowhere" / "s"),
    ):
        pass


def test_where_no_daemon_runs_nobody_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ask(tmp_path / "edgecore.sock")
