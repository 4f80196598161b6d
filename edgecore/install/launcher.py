"""The program ``/opt/cloudedge/edgecore``: runs the edgecore of the version that is to run.

It belongs to no version, and needs nothing but Python. For ``run`` it counts the starts of a
version on trial, and leaves beside it a watcher, which asks the daemon how it does. A version that
has not shown that it works is left for the last good one: after too many starts by the launcher
itself, after too long by the watcher, which ends the daemon for systemd to start it again. Neither
needs the cloud, and no container is touched: daemons may be ended.
"""

import http.client
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgecore.install import slots, storecopy
from edgecore.install.slots import SlotError, State

POLL_S = 1.0

_SOCKET = "edgecore.sock"
_ASK_S = 5.0
_EXIT_FAILURE = 1
_EXIT_CONFIG = 2


def main(home: Path, arguments: Sequence[str]) -> int:
    """Run edgecore in this process's place; return an exit code only if that cannot be done."""
    try:
        state = slots.read_state(home)
        if arguments[:1] == ["run"]:
            state = prepare(home, state)
        if not state.current:
            _say(f"edgecore: no version is installed below {home}")
            return _EXIT_CONFIG
        program = slots.program_of(home, state.current)
        os.execv(program, [str(program), *arguments])  # noqa: S606 - that there is no shell is the point
    except (SlotError, OSError) as error:
        _say(f"edgecore: {error}")
    return _EXIT_FAILURE


def prepare(home: Path, state: State) -> State:
    """Count a start, and have it watched, where a version is on trial; return what is to run.

    Raises:
        SlotError: it cannot be counted, which would make a trial without an end.
    """
    chosen = slots.choose(state)
    if chosen.on_trial and not slots.program_of(home, chosen.current).exists():
        chosen = slots.give_up(chosen, "it is not installed")
    if chosen.on_trial and chosen.attempts == 1:
        chosen = _with_store_kept(chosen)
    if chosen != state:
        slots.write_state(home, chosen)
        if not chosen.on_trial:
            _say(f"edgecore: version {chosen.failed} is left: {chosen.why}")
    if chosen.on_trial:
        _leave_watcher(home, os.getpid())
    elif chosen.data_dir and storecopy.put_back(Path(chosen.data_dir), chosen.current):
        _say(f"edgecore: version {chosen.current} has its edge-store from before the upgrade again")
    return chosen


def _with_store_kept(chosen: State) -> State:
    """Keep the edge-store for the version before; without that, there is no trial."""
    try:
        storecopy.save(Path(chosen.data_dir), chosen.previous)
    except OSError as error:
        return slots.give_up(chosen, f"the edge-store could not be kept: {error}")
    return chosen


def watch(
    home: Path,
    ended: Callable[[float], bool],
    end: Callable[[], None],
    *,
    poll_s: float = POLL_S,
) -> State:
    """Judge the daemon that has just been started; return the state that was left behind.

    Args:
        home: of the slots.
        ended: waits so many seconds, or until the daemon has ended; whether it has.
        end: ends the daemon.
        poll_s: seconds between two questions.

    Raises:
        SlotError: the state cannot be read or kept.
    """
    started_s = time.monotonic()
    while not ended(poll_s):
        state = slots.read_state(home)
        if not state.on_trial:  # somebody else has decided
            return state
        if _shows_health(state):
            state = slots.settle(state)
            slots.write_state(home, state)
            return state
        if time.monotonic() - started_s > state.trial_s:
            state = slots.give_up(state, f"it did not work within {state.trial_s:g} s")
            slots.write_state(home, state)
            end()
            return state
    return slots.read_state(home)  # it was counted when it started


def _shows_health(state: State) -> bool:
    path = Path(state.data_dir) / _SOCKET
    try:
        ready, _ = _ask(path, "/readyz")
        _, status = _ask(path, "/status")
        found = json.loads(status)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return slots.is_healthy(state, found if isinstance(found, dict) else {}, is_ready=ready)


def _ask(path: Path, target: str) -> tuple[bool, bytes]:
    """Return whether the daemon says yes, and what it says."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_ASK_S)
            client.connect(f"/proc/self/fd/{folder}/{path.name}")  # of any length
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = http.client.HTTPResponse(client)
            answer.begin()
            return answer.status == http.HTTPStatus.OK, answer.read()
    finally:
        os.close(folder)


def _leave_watcher(home: Path, daemon: int) -> None:
    """Start a process that watches ``daemon``, and is no child of it."""
    pidfd = os.pidfd_open(daemon)
    child = os.fork()
    if child:
        os.close(pidfd)
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    os.setsid()
    # systemd shall not take its words, or its silence, for the daemon's.
    for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(variable, None)
    try:
        watch(home, lambda limit_s: _has_ended(pidfd, limit_s), lambda: _end(pidfd))
    except SlotError as error:
        _say(f"edgecore: {error}")
    finally:
        os._exit(0)


def _has_ended(pidfd: int, limit_s: float) -> bool:
    return bool(select.select([pidfd], [], [], limit_s)[0])


def _end(pidfd: int) -> None:
    _say("edgecore: the version on trial does not work: the one before runs again")
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not _has_ended(pidfd, 20.0):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return


def _say(words: str) -> None:
    print(words, file=sys.stderr)  # noqa: T201 - the journal, or whoever called it, takes it
