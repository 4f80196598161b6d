"""Words to systemd over a real socket; systemd is the test."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from common import systemd
from common.names import ModuleName
from common.progress import HANGS_AFTER_S, Turns
from common.systemd import keep_alive, notify, watchdog_s


@contextmanager
def listening(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_the_state_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name = str(tmp_path / "notify") if kind == "file" else f"@cloudedge-test-{os.getpid()}"
    with listening(name, monkeypatch) as listener:
        notify("READY=1")
        assert listener.recv(99) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_systemd_that_has_gone_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    notify("READY=1")
    assert "systemd cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 30}, None),
    ],
)
def test_the_watchdog_is_one_for_this_process_only(
    environ: dict[str, str], expected: float | None
) -> None:
    assert watchdog_s(environ, 7) == expected


async def test_without_a_watchdog_nobody_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await keep_alive(dict)


async def test_the_beats_end_where_a_module_hangs_and_go_on_where_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    said: list[str] = []
    monkeypatch.setattr(systemd, "notify", said.append)
    now_s = 0.0
    monkeypatch.setattr(systemd, "time", SimpleNamespace(monotonic=lambda: now_s))
    seen = Turns(1, 1)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keep_alive(lambda: {ModuleName.EDGED: seen}))
        while len(said) < 2:  # noqa: ASYNC110 - it tells nobody but systemd and the log
            await asyncio.sleep(0.005)
        now_s = HANGS_AFTER_S
        while "modules hang" not in caplog.text:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        beats = len(said)
        seen = Turns(1, 2)
        while len(said) == beats:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        task.cancel()
    assert set(said) == {"WATCHDOG=1"}
    assert caplog.text.count("modules hang") == 1
