"""Starting and finding keepers: real processes and locks."""

import asyncio
import fcntl
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.runtime import keepers


def order(log: Path, *argv: str) -> dict[str, object]:
    return {
        "argv": argv,
        "env": {"PATH": "/bin:/usr/bin"},
        "cwd": "/",
        "mounts": [],
        "log_path": str(log),
        "log_bytes": 1000,
        "log_files": 2,
    }


async def end(pidfd: int) -> None:
    await keepers.readable(pidfd)
    os.close(pidfd)


async def test_two_keepers_never_live_in_one_directory(tmp_path: Path) -> None:
    pidfd = await keepers.start(tmp_path, order(tmp_path / "log", "sleep", "1000"))
    with pytest.raises(RuntimeServiceError, match="running already"):
        await keepers.start(tmp_path, order(tmp_path / "log", "sleep", "1000"))
    signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
    await end(pidfd)
    assert json.loads((tmp_path / "state.json").read_text())["exit_code"] == 137


async def test_a_keeper_is_adopted_while_it_lives(tmp_path: Path) -> None:
    assert keepers.adopt(tmp_path) is None
    pidfd = await keepers.start(tmp_path, order(tmp_path / "log", "sleep", "1000"))
    adopted = keepers.adopt(tmp_path)
    assert adopted is not None
    signal.pidfd_send_signal(adopted, signal.SIGTERM)
    await end(adopted)
    await end(pidfd)
    assert keepers.adopt(tmp_path) is None


async def test_a_keeper_that_edgecore_could_not_note_starts_nothing(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    memory = os.memfd_create("order")
    os.write(memory, json.dumps(order(tmp_path / "log", "touch", str(tmp_path / "ran"))).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    ours, theirs = socket.socketpair()
    pid = keepers._spawn(tmp_path, {0: memory, 3: lock, 4: theirs.fileno()})
    pidfd = os.pidfd_open(pid)
    for fd in (lock, memory):
        os.close(fd)
    theirs.close()
    ours.close()  # edgecore dies here
    assert keepers.adopt(tmp_path) is None
    await end(pidfd)
    assert not (tmp_path / "ran").exists()


async def test_an_order_may_be_larger_than_a_pipe(tmp_path: Path) -> None:
    large = order(tmp_path / "log", "sh", "-c", "test ${#A} = 100000")
    large["env"] = {"PATH": "/bin:/usr/bin", "A": "x" * 100_000}
    await end(await keepers.start(tmp_path, large))
    assert json.loads((tmp_path / "state.json").read_text())["exit_code"] == 0


def test_a_note_of_another_boot_names_no_process(tmp_path: Path) -> None:
    keepers.write_atomically(tmp_path / "keeper.json", '{"pid": 1, "boot_id": "another"}')
    assert keepers.keeper_of(tmp_path) is None
    assert keepers.was_started(tmp_path)


def test_what_is_written_is_for_its_owner_only_and_whole(tmp_path: Path) -> None:
    keepers.write_atomically(tmp_path / "x.json", '{"a": 1}')
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o600
    assert keepers.read_json(tmp_path / "x.json") == {"a": 1}
    (tmp_path / "x.json").write_text("[1]")
    assert keepers.read_json(tmp_path / "x.json") is None
    assert keepers.read_json(tmp_path / "none.json") is None


async def test_a_cancelled_start_leaves_a_keeper_that_can_be_adopted(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(
            keepers.start(tmp_path, order(tmp_path / "log", "sleep", "1000"))
        )
        await asyncio.sleep(0)
        starting.cancel()
    if (pidfd := keepers.adopt(tmp_path)) is not None:  # it depends on where the start was
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await end(pidfd)
