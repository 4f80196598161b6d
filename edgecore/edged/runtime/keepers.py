"""Starting, finding and signalling the keepers of the process runtime.

Source: pidfd_open(2), flock(2).
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from common.errors import RuntimeServiceError
from edgecore.edged.runtime import keeper

_FREE_FD: Final = 10  # above all numbers that the keeper is given
_START_TIMEOUT_S: Final = 30.0
_KEEPER_FILE: Final = "keeper.json"
_LOCK_FILE: Final = "lock"
_PROBE: Final = Path(__file__).with_name("mountns.py")  # run, never imported here: it needs ctypes
_REPORT_BYTES: Final = 4096

_PYTHON: Final = (sys.executable, "-I", "-S", "-E", "-X", "utf8")


def boot_id() -> str:
    """Return what tells this boot of the machine from every other one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def can_mount() -> bool:
    """Whether processes may be given mount namespaces of their own."""
    pid = _spawn_probe()
    pidfd = os.pidfd_open(pid)
    try:
        await readable(pidfd)
    finally:
        os.close(pidfd)
    return reap(pid) == 0


async def readable(fd: int) -> None:
    """Return when ``fd`` can be read; for a pidfd that is when the process has ended."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def report() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, report)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def start(directory: Path, order: Mapping[str, Any]) -> int:
    """Start a keeper for the container in ``directory``; return its pidfd once the command runs.

    Cancellation: the keeper goes on, and ``adopt`` finds it.

    Raises:
        RuntimeServiceError: the command could not be started.
    """
    with ExitStack() as files:
        lock = _take_lock(directory, files)
        if lock is None:
            raise RuntimeServiceError("RunContainerError", f"{directory.name} is running already")
        ours, theirs = (files.enter_context(end) for end in socket.socketpair())
        ours.settimeout(0)
        order_fd = os.memfd_create("order")
        files.callback(os.close, order_fd)
        os.write(order_fd, json.dumps(order).encode())
        os.lseek(order_fd, 0, os.SEEK_SET)
        pid = _spawn(directory, {keeper.ORDER_FD: order_fd, 3: lock, 4: theirs.fileno()})
        theirs.close()
        pidfd = os.pidfd_open(pid)
        note = {"pid": pid, "boot_id": boot_id()}
        write_atomically(directory / _KEEPER_FILE, json.dumps(note))
        try:
            report = await _handshake(ours)
        except asyncio.CancelledError:
            os.close(pidfd)
            raise
    if "pid" in report:
        return pidfd
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await readable(pidfd)
    finally:
        os.close(pidfd)
        reap(pid)
    raise RuntimeServiceError("RunContainerError", str(report.get("error", "the keeper died")))


def adopt(directory: Path) -> int | None:
    """Return the pidfd of the keeper that lives in ``directory``; None if there is none."""
    if not _is_locked(directory):
        return None
    pid = keeper_of(directory)
    if pid is None:  # edgecore died before it noted it: this keeper starts nothing and ends
        with ExitStack() as files:
            fcntl.flock(_open_lock(directory, files), fcntl.LOCK_EX)
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if _is_locked(directory):  # so the number still was the keeper's when it was opened
        return pidfd
    os.close(pidfd)
    return None


def keeper_of(directory: Path) -> int | None:
    """Return the process id of the keeper that was started in this boot; None if none was."""
    note = read_json(directory / _KEEPER_FILE)
    return int(note["pid"]) if note and note["boot_id"] == boot_id() else None


def was_started(directory: Path) -> bool:
    """Whether a keeper was ever started in ``directory``."""
    return (directory / _KEEPER_FILE).exists()


def reap(pid: int) -> int:
    """Take note of the end of a process, so that the kernel can forget it; return its status.

    A keeper that was adopted is no child of ours: others do that for it, and 0 is returned.
    """
    try:
        return os.waitpid(pid, os.WNOHANG)[1]
    except ChildProcessError:
        return 0


def kill_session(session: int) -> None:
    """Kill what is left of a container whose keeper was killed and could not do it."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _session_of(process) == session:
            try:
                os.kill(int(process.name), signal.SIGKILL)
            except ProcessLookupError:
                continue


def write_atomically(path: Path, text: str) -> None:
    """Put ``text`` into ``path``, readable by this user only, as a whole or not at all."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.rename(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``; None if there is none that is whole."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _spawn(directory: Path, files: Mapping[int, int]) -> int:
    with ExitStack() as copies:
        actions: list[tuple[Any, ...]] = []
        for target, source in files.items():
            copy = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FREE_FD)
            copies.callback(os.close, copy)
            actions.append((os.POSIX_SPAWN_DUP2, copy, target))
        log = str(directory / "keeper.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions.extend((os.POSIX_SPAWN_OPEN, target, log, flags, 0o600) for target in (1, 2))
        command = [*_PYTHON, keeper.__file__, str(directory)]
        return os.posix_spawn(sys.executable, command, {}, file_actions=actions, setsid=True)


def _spawn_probe() -> int:
    return os.posix_spawn(sys.executable, [*_PYTHON, str(_PROBE)], {})


async def _handshake(ours: socket.socket) -> dict[str, Any]:
    """Let the keeper begin, and return what it says of it."""
    loop = asyncio.get_running_loop()
    report = b""
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await loop.sock_sendall(ours, b"+")
            while chunk := await loop.sock_recv(ours, _REPORT_BYTES):
                report += chunk
    except (TimeoutError, OSError):
        return {"error": "the keeper does not answer"}
    return dict(json.loads(report)) if report else {}


def _open_lock(directory: Path, files: ExitStack) -> int:
    lock = os.open(directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    files.callback(os.close, lock)
    return lock


def _take_lock(directory: Path, files: ExitStack) -> int | None:
    lock = _open_lock(directory, files)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return lock


def _is_locked(directory: Path) -> bool:
    with ExitStack() as files:
        return _take_lock(directory, files) is None


def _session_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:  # it ended meanwhile
        return 0
