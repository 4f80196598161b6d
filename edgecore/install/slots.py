"""Versions of edgecore side by side, and which one is to run. Standard library only.

``<home>/slots/<version>`` is a virtual environment each, ``<home>/state.json`` says which one runs,
and ``<home>/edgecore`` is the launcher, which belongs to no version. Rules stand in front, and know
no files.
"""

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

HOME = Path("/opt/cloudedge")
"""Where all of it is."""

MAX_ATTEMPTS = 3
"""Starts that a version on trial has to show that it works."""

TRIAL_S = 300.0
"""Seconds of one start, after which a version on trial that has not shown that it works is left."""

COMPLETE = ".complete"
"""In a slot whose installation was not cut off."""

_READABLE = 0o644
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")


class SlotError(Exception):
    """There is no such version, or the state cannot be read or kept; the text says what to do."""


@dataclass(frozen=True)
class State:
    """Which version runs. What is unknown is empty."""

    current: str = ""
    previous: str = ""
    """The last one that was good; what is gone back to."""
    on_trial: bool = False
    """Whether ``current`` has yet to show that it works."""
    attempts: int = 0
    """Starts of ``current`` since it is on trial."""
    wants_link: bool = False
    """Whether it must be connected to be good: where the one before it was."""
    data_dir: str = ""
    """Where it is asked how it does."""
    trial_s: float = TRIAL_S
    """Seconds of one start in which it has to show it."""
    failed: str = ""
    """The last version that was left again."""
    why: str = ""
    """Why it was."""


def begin_trial(state: State, version: str, *, wants_link: bool, data_dir: str) -> State:
    """Return the state in which ``version`` is to show that it works."""
    if version == state.current:
        return state
    good = state.previous if state.on_trial else state.current
    return State(version, good, on_trial=bool(good), wants_link=wants_link, data_dir=data_dir)


def choose(state: State) -> State:
    """Return the state in which the next start happens; ``current`` is what starts."""
    if not state.on_trial:
        return state
    if state.attempts >= MAX_ATTEMPTS:
        return give_up(state, f"it ended {state.attempts} times before it worked")
    return replace(state, attempts=state.attempts + 1)


def settle(state: State) -> State:
    """Return the state after ``current`` has shown that it works."""
    return replace(state, on_trial=False, attempts=0, failed="", why="")


def give_up(state: State, why: str) -> State:
    """Return the state after ``current`` has failed its trial: the last good one runs again."""
    if not state.on_trial:
        return state
    return State(state.previous, data_dir=state.data_dir, failed=state.current, why=why)


def go_back(state: State) -> State:
    """Return the state in which the version before runs, because somebody wants that.

    Raises:
        SlotError: there is none.
    """
    if not state.previous:
        raise SlotError("there is no version to go back to")
    if state.on_trial:
        return give_up(state, "somebody went back")
    return State(state.previous, state.current, data_dir=state.data_dir)


def is_healthy(state: State, status: Mapping[str, object], *, is_ready: bool) -> bool:
    """Whether ``current`` has shown that it works: it is ready, and connected if it must be."""
    hub = status.get("edgehub")
    is_connected = isinstance(hub, dict) and hub.get("connected") is True
    return is_ready and (is_connected or not state.wants_link)


def checked_version(text: str) -> str:
    """Return ``text`` if it can name a version, and so a folder.

    Raises:
        SlotError: it cannot.
    """
    if _VERSION.fullmatch(text) is None or ".." in text:
        raise SlotError(f"{text!r} is no version")
    return text


def slot_of(home: Path, version: str) -> Path:
    """Return the folder of ``version``."""
    return home / "slots" / checked_version(version)


def launcher_of(home: Path) -> Path:
    """Return the launcher."""
    return home / "edgecore"


def program_of(home: Path, version: str) -> Path:
    """Return the edgecore of ``version``."""
    return slot_of(home, version) / "bin" / "edgecore"


def is_there(home: Path, version: str) -> bool:
    """Whether ``version`` can be run."""
    return program_of(home, version).exists()


def installed(home: Path) -> list[str]:
    """Return the versions whose installation was not cut off, the last one first."""
    marks = [(mark.stat().st_mtime_ns, mark) for mark in home.glob(f"slots/*/{COMPLETE}")]
    names = [mark.parent.name for _, mark in sorted(marks, reverse=True)]
    return [name for name in names if _VERSION.fullmatch(name) and is_there(home, name)]


def is_in_slot(prefix: Path, home: Path = HOME) -> bool:
    """Whether the Python at ``prefix`` is that of a slot."""
    return prefix.parent == home / "slots"


def read_state(home: Path) -> State:
    """Return the state; an empty one where there is none yet.

    Raises:
        SlotError: it cannot be read.
    """
    path = home / "state.json"
    try:
        found = json.loads(path.read_text())
        return State(**found)
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, TypeError) as error:
        raise SlotError(
            f"{path}: cannot be read: {error}; write"
            ' {"current": "<a folder below slots>"} into it'
        ) from error


def write_state(home: Path, state: State) -> None:
    """Keep ``state``: whoever reads it, also after a power cut, finds the old one or this one.

    Raises:
        SlotError: it cannot be written.
    """
    with _locked(home):
        _write(home, state)


def change_state(home: Path, seen: State, state: State) -> bool:
    """Keep ``state`` unless somebody has kept another one than ``seen``; return whether it is kept.

    Raises:
        SlotError: the state cannot be read or written.
    """
    with _locked(home):
        if read_state(home) != seen:
            return False
        _write(home, state)
    return True


def sync(path: Path) -> None:
    """See that a file or folder is on the disk as it is now.

    Raises:
        OSError: it cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SlotError(f"{home}/state.json: cannot be written: {error}") from error


def _write(home: Path, state: State) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".state.", dir=home)
    try:
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(descriptor, _READABLE)  # whoever asks for the version reads it
            json.dump(asdict(state), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(home / "state.json")
    except BaseException:
        Path(temporary).unlink()  # on a full disk, each start would leave one
        raise
