"""A run of a store on a watched folder: what it did to the disk, and when it said what."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from common.files import PRIVATE_MODE
from tests.crashes.disk import Event, FailedSync, Image, Sync, Write
from tests.crashes.vfs import OK, Look, library, watched

FILE: Final = "edge-store.db"
KEY: Final = "edge-store.key"

Fault = Callable[[int, Event | Look], int]
"""Says of the n-th operation with which result code of SQLite it fails; ``OK`` for none."""


def nothing_fails(number: int, event: Event | Look) -> int:
    del number, event
    return OK


class Recorder:
    """Notes what is done to a folder, and refuses what ``fault`` says."""

    def __init__(self, fault: Fault = nothing_fails) -> None:
        self.fault = fault
        self.events: list[Event] = []
        self.operations = 0
        """That were asked for, those that change nothing among them."""
        self.failures = 0
        self.begun: list[int] = []
        """How many events there were when each batch was handed in."""
        self.done: list[int] = []
        """How many events there were when each batch was acknowledged."""

    def see(self, event: Event | Look) -> int:
        """Be the observer of a watched folder."""
        result = self.fault(self.operations, event)
        self.operations += 1
        if result != OK:
            self.failures += 1
            self._note_failed(event)
        elif not isinstance(event, Look):
            self.events.append(event)
        return result

    def _note_failed(self, event: Event | Look) -> None:
        match event:
            case Write(name, offset, data):
                self.events.append(Write(name, offset, data[: len(data) // 2]))
            case Sync(name):
                self.events.append(FailedSync(name))
            case _:
                pass


@contextmanager
def recorded(folder: Path, recorder: Recorder) -> Iterator[None]:
    """Have ``recorder`` see what is done to ``folder``; skip the test where nobody can."""
    sqlite = library()
    if sqlite is None:
        pytest.skip("SQLite is inside Python's own module here, where its files cannot be watched")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with watched(sqlite, folder, recorder.see):
        yield


def lay_out(folder: Path, image: Image) -> Path:
    """Make ``folder`` hold ``image`` and nothing else; return the path of the database."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in image.items():
        with open(folder / name, "wb", opener=_private) as stream:
            stream.write(content)
    return folder / FILE


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_MODE)


def one_fails(at: int, code: int) -> Fault:
    """Have the operation number ``at`` fail, and no other."""
    return lambda number, _: code if number == at else OK
