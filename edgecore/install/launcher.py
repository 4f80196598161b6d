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
from contextlib import suppress
from pathlib import Path

from edgecore.install import slots, storecopy
from edgecore.install.slots import SlotError, State

POLL_S = 1.0

_SOCKET = "edgecore.sock"
_READY = "/readyz?exclude=container-engine&exclude=disk"
"""Ready but for what is no version's doing: an engine that is down, or a disk that is full."""
_ASK_S = 5.0
_EXIT_FAILURE = 1
_EXIT_CONFIG = 2


def main(home: Path, arguments: Sequence[str]) -> int:
    """Run edgecore in this process's place; return an exit code only if that cannot be done."""
    try:
        state = slots.read_state(home)
        is_daemon = arguments[:1] == ["run"]
        state = prepare(home, state) if is_daemon else _with_one_there(home, state)
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

    A start that cannot be counted would make a trial without an end: the version before runs.
    What is decided otherwise is decided again at the next start where it cannot be kept.

    Raises:
        SlotError: the state names what cannot be a version.
    """
    chosen = _chosen(home, state)
    if chosen != state:
        try:
            slots.write_state(home, chosen)
        except SlotError as error:
            _say(f"edgecore: {error}")
            chosen = _with_one_there(home, slots.give_up(chosen, "no start of it can be counted"))
        if not chosen.on_trial:
            _say(f"edgecore: version {chosen.failed} is left: {chosen.why}")
    if chosen.on_trial:
        _leave_watcher(home, chosen.current, os.getpid())
    elif chosen.data_dir:
        _put_store_back(chosen)
    return chosen


def _chosen(home: Path, state: State) -> State:
    """Return the state in which this start happens."""
    chosen = slots.choose(state)
    if chosen.on_trial and not slots.is_there(home, chosen.current):
        chosen = slots.give_up(chosen, "it is not installed")
    if chosen.on_trial:
        chosen = _with_store_kept(chosen)
    return _with_one_there(home, chosen)


def _with_one_there(home: Path, state: State) -> State:
    """Return ``state``, or where somebody has removed that version, one in which another runs."""
    if not state.current or slots.is_there(home, state.current):
        return state
    # The one that has failed comes last: it is better than none.
    others = [state.previous, *slots.installed(home), state.failed]
    others.sort(key=lambda version: version == state.failed)
    for version in others:
        if version and slots.is_there(home, version):
            why = "it is not installed"
            return State(version, data_dir=state.data_dir, failed=state.current, why=why)
    return state


def _with_store_kept(chosen: State) -> State:
    """Keep the edge-store for the version before; without that, there is no trial."""
    data_dir = Path(chosen.data_dir)
    try:
        if chosen.attempts == 1 or not storecopy.is_kept(data_dir, chosen.previous):
            storecopy.save(data_dir, chosen.previous)
    except OSError as error:
        return slots.give_up(chosen, f"the edge-store could not be kept: {error}")
    return chosen


def _put_store_back(chosen: State) -> None:
    """Give the version that is about to run its edge-store; it runs also where that fails."""
    try:
        is_put_back = storecopy.put_back(Path(chosen.data_dir), chosen.current)
    except OSError as error:
        _say(f"edgecore: the edge-store from before the upgrade is not put back: {error}")
        return
    if is_put_back:
        _say(f"edgecore: version {chosen.current} has its edge-store from before the upgrade again")


def watch(
    home: Path,
    version: str,
    ended: Callable[[float], bool],
    end: Callable[[], None],
    *,
    poll_s: float = POLL_S,
) -> State:
    """Judge the daemon that has just been started; return the state that was left behind.

    Args:
        home: of the slots.
        version: of the daemon.
        ended: waits so many seconds, or until the daemon has ended; whether it has.
        end: ends the daemon.
        poll_s: seconds between two questions.

    Raises:
        SlotError: the state cannot be read or kept.
    """
    started_s = time.monotonic()
    while not ended(poll_s):
        state = slots.read_state(home)
        if not state.on_trial or state.current != version:  # somebody else has decided
            return state
        if _shows_health(state):
            with suppress(SlotError):  # a full disk is no fault of it: it may have room later
                slots.change_state(home, state, slots.settle(state))
        elif time.monotonic() - started_s > state.trial_s:
            left = slots.give_up(state, f"it did not work within {state.trial_s:g} s")
            try:
                is_left = slots.change_state(home, state, left)
            except SlotError as error:  # the next start is counted all the same
                _say(f"edgecore: {error}")
                is_left = True
            if is_left:
                end()
                break
    return slots.read_state(home)  # it was counted when it started


def _shows_health(state: State) -> bool:
    path = Path(state.data_dir) / _SOCKET
    try:
        ready, _ = _ask(path, _READY)
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


def _leave_watcher(home: Path, version: str, daemon: int) -> None:
    """Start a process that watches ``daemon``, of ``version``, and is no child of it."""
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
        watch(home, version, lambda limit_s: _has_ended(pidfd, limit_s), lambda: _end(pidfd))
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
