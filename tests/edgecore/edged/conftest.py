"""What is left of a test's processes and mounts does not outlive it."""

import signal
from collections.abc import Iterator
from contextlib import suppress
from os import kill
from pathlib import Path

import pytest

from edgecore.edged import podworker
from edgecore.edged.runtime import keepers
from edgecore.edged.volumes.mounts import unmount_below
from tests.edgecore.edged.runtime.processes import Signs


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    yield
    for note in tmp_path.rglob("keeper.json"):
        if pid := keepers.keeper_of(note.parent):
            keepers.kill_session(pid)
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
            keepers.reap(pid)
    unmount_below(tmp_path)


@pytest.fixture(autouse=True)
def _no_start_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a pod is not reported to be waiting for that alone."""
    monkeypatch.setattr(podworker, "_SLOW_S", 1000.0)


@pytest.fixture
def signs(tmp_path: Path) -> Iterator[Signs]:
    made = Signs(tmp_path)
    yield made
    made.close()
