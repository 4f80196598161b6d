"""The local endpoint over real HTTP on loopback; edged is made up."""

import asyncio
import http.client
import json
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgecore.edged.local import localapi
from edgecore.edged.local.localapi import MAX_CONNECTIONS, TOKEN_FILE, local_api
from edgecore.edged.local.localservice import LocalService
from tests.edgecore.edged.bus import START
from tests.edgecore.edged.local.test_localservice import View
from tests.edgecore.edged.local.test_logread import lines, text
from tests.edgecore.edged.world import eventually

LOOPBACK = ("127.0.0.1", 0)
LOGS = "/containerLogs/default/web/c"


class Client:
    """Asks the endpoint, in threads."""

    def __init__(self, port: int, data_dir: Path) -> None:
        self.port, self.token_file = port, data_dir / TOKEN_FILE
        self.token = self.token_file.read_text().strip()

    async def ask(self, method: str, target: str, **headers: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._ask, method, target, headers)

    async def get(self, target: str) -> tuple[int, str]:
        return await self.ask("GET", target, Authorization=f"Bearer {self.token}")

    def _ask(self, method: str, target: str, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@pytest.fixture
def view(tmp_path: Path) -> View:
    (tmp_path / "1.log").write_bytes(lines(1, 2))
    return View(tmp_path)


@asynccontextmanager
async def serving(view: View, address: tuple[str, int] = LOOPBACK) -> AsyncIterator[Client]:
    service = LocalService(view, "n1", lambda: START)
    async with local_api(address, service, view.directory) as port:
        yield Client(port, view.directory)


async def test_all_but_the_health_wants_the_token(view: View) -> None:
    async with serving(view) as client:
        assert await client.ask("GET", "/healthz") == (200, "ok\n")
        for target in ("/pods", "/stats/summary", "/metrics/resource", LOGS):
            assert (await client.ask("GET", target))[0] == 401
            wrong = await client.ask("GET", target, Authorization="Bearer no")
            assert wrong[0] == 401
            assert client.token not in wrong[1]
            assert (await client.get(target))[0] == 200
        assert (await client.ask("POST", "/exec/default/web/c?command=a"))[0] == 401
    assert view.executed == []


async def test_a_command_is_run_for_who_has_the_token(view: View) -> None:
    async with serving(view) as client:
        code, found = await client.ask(
            "POST",
            "/exec/default/web/c?command=a&command=b",
            Authorization=f"Bearer {client.token}",
        )
    assert (code, json.loads(found)["exitCode"]) == (200, 3)
    assert [command for _, command, _ in view.executed] == [("a", "b")]


async def test_the_token_is_edgecores_own_and_another_one_each_time(view: View) -> None:
    tokens = set()
    for _ in range(2):
        async with serving(view) as client:
            assert stat.S_IMODE(client.token_file.stat().st_mode) == 0o600
            tokens.add(client.token)
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 40


async def test_a_page_in_a_browser_gets_nothing_by_a_name_for_loopback(view: View) -> None:
    async with serving(view) as client:
        for target in ("/healthz", "/pods"):
            assert (await client.ask("GET", target, Host="evil.example:10350"))[0] == 403
        assert (await client.ask("GET", "/healthz", Host="localhost"))[0] == 200


async def test_a_long_log_is_streamed(view: View) -> None:
    (view.directory / "1.log").write_bytes(lines(*range(30_000)))
    async with serving(view) as client:
        assert await client.get(LOGS) == (200, text(*range(30_000)))


async def test_what_nobody_answers_is_said(view: View) -> None:
    async with serving(view) as client:
        assert (await client.get("/"))[0] == 404
        assert (await client.ask("DELETE", "/pods"))[0] == 501
        assert (await client.ask("POST", "/exec/a/b/c", **{"Content-Length": "1"}))[0] == 400
        assert (await client.ask("POST", "/exec/a/b/c", **{"Transfer-Encoding": "x"}))[0] == 400


async def test_a_client_that_goes_away_in_a_log_costs_nothing(
    view: View, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    # More than sockets hold: whoever sends it has to notice that nobody takes it.
    long_lines = (lines(number).replace(b"line", b"x" * 10_000) for number in range(2000))
    (view.directory / "1.log").write_bytes(b"".join(long_lines))

    def leave() -> None:
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            head = f"GET {LOGS} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer "
            connection.sendall(f"{head}{client.token}\r\n\r\n".encode())
            assert connection.recv(10)

    async with serving(view) as client:
        await asyncio.to_thread(leave)
        while "local request failed" not in caplog.text:
            await client.ask("GET", "/healthz")
    assert {record.levelname for record in caplog.records if record.name == localapi.__name__} == {
        "DEBUG"
    }


async def test_a_fault_of_ours_is_an_error_in_the_log(
    view: View, caplog: pytest.LogCaptureFixture
) -> None:
    view.fault = KeyError("bug")
    async with serving(view) as client:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            await client.get("/stats/summary")
        while "local request failed" not in caplog.text:
            await client.ask("GET", "/healthz")
    assert "ERROR" in caplog.text


async def test_only_so_many_are_served_at_once(view: View) -> None:
    async with serving(view) as client:
        idle = [
            socket.create_connection(("127.0.0.1", client.port)) for _ in range(MAX_CONNECTIONS)
        ]
        try:
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                await client.ask("GET", "/healthz")
        finally:
            for connection in idle:
                connection.close()
        assert await until(lambda: client.ask("GET", "/healthz")) == (200, "ok\n")


async def until(ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer: threads end when they see that their client is gone."""
    while True:
        try:
            return await ask()
        except (http.client.RemoteDisconnected, ConnectionError):
            continue


async def test_a_client_that_says_nothing_is_let_go(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localapi._Handler, "timeout", 0.01)
    async with serving(view) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
            assert await asyncio.to_thread(connection.recv, 1) == b""


async def test_an_address_that_is_taken_is_an_error_at_once(view: View) -> None:
    async with serving(view) as client:
        with pytest.raises(OSError, match="in use"):
            async with serving(view, ("127.0.0.1", client.port)):
                pass


async def test_on_a_machine_that_is_stuck_its_end_is_not_waited_for(
    view: View, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(localapi, "_STOP_TIMEOUT_S", 0.0)
    async with serving(view) as client:
        assert await client.ask("GET", "/healthz") == (200, "ok\n")
    assert "takes long to end" in caplog.text
    await eventually(lambda: not any(t.name == "local api" for t in threading.enumerate()))
    with pytest.raises(ConnectionRefusedError):
        await client.ask("GET", "/healthz")


async def test_nothing_listens_when_it_has_ended(view: View) -> None:
    async with serving(view) as client:
        pass
    with pytest.raises(ConnectionRefusedError):
        await client.ask("GET", "/healthz")
