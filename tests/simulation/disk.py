"""The disks of the simulated edges: SQLite on real files in memory, with faults that are asked for.

Files are those of a tmpfs, so that a sync costs nothing. A statement fails where the disk is told
so; what SQLite then does with the transaction is what it does anywhere.
"""

import asyncio
import functools
import queue
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import FILE_NAME as KEY_FILE_NAME
from edgecore.edgestore.records import Write
from edgecore.edgestore.store import FILE_NAME, StoreThreads
from edgecore.edgestore.writer import Writer, _commit, _Job, _settle

_CHANGES: Final = ("INSERT", "DELETE", "UPDATE", "COMMIT")


@dataclass
class Disk:
    """Where one edge keeps its files, from process to process."""

    root: Path
    rng: random.Random
    is_full: bool = False
    fails_in: int = 0
    """The statement that fails: 1 for the next one; 0 for none."""

    faults: int = 0
    commit_s: tuple[float, float] = (0.0005, 0.01)
    on_commit: Callable[[Sequence[Write]], None] = lambda _: None
    before_commit: Callable[[], None] | None = None
    """Called once, just before something is written."""

    after_commit: Callable[[], None] | None = None
    """Called once, when something is on the disk and nobody has been told yet."""

    folder: Path = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self.folder = self._next_folder()

    @property
    def file(self) -> Path:
        """The edge-store of the present process."""
        return self.folder / FILE_NAME

    @property
    def is_sound(self) -> bool:
        """Whether nothing can fail."""
        return not self.is_full and not self.fails_in

    def die(self) -> None:
        """Keep what a killed process has left: its files, and nothing that was in its memory."""
        old, self.folder = self.folder, self._next_folder()
        for file in (old / FILE_NAME, old / f"{FILE_NAME}-wal", old / KEY_FILE_NAME):
            if file.exists():
                shutil.copy(file, self.folder)

    def heal(self) -> None:
        """Fail no more."""
        self.is_full, self.fails_in = False, 0
        self.before_commit = self.after_commit = None

    def judge(self, sql: str) -> None:
        """Fail, where that is asked for.

        Raises:
            sqlite3.OperationalError: as SQLite says it.
        """
        if self.fails_in and not sql.startswith("ROLLBACK"):  # in memory: nothing there can fail
            self.fails_in -= 1
            if not self.fails_in:
                self._fail(sqlite3.SQLITE_IOERR, "disk I/O error")
        if self.is_full and sql.lstrip().startswith(_CHANGES):
            self._fail(sqlite3.SQLITE_FULL, "database or disk is full")

    def happens(self, moment: str) -> bool:
        """Call what was to be called at a moment of a commit; return whether there was anything."""
        deed: Callable[[], None] | None = getattr(self, moment)
        setattr(self, moment, None)
        if deed is not None:
            deed()
        return deed is not None

    def _fail(self, code: int, text: str) -> None:
        self.faults += 1
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        raise error

    def _next_folder(self) -> Path:
        self._number += 1
        folder = self.root / str(self._number)
        folder.mkdir(mode=0o700, parents=True)
        return folder


class Disks:
    """All disks, by their folders."""

    def __init__(self) -> None:
        self._disks: list[Disk] = []

    def add(self, disk: Disk) -> None:
        """Have connections to files of ``disk`` meet its faults."""
        self._disks.append(disk)

    def install(self) -> None:
        """Have every connection that is made from now on looked after; for the whole process."""
        disks = self

        class Connection(sqlite3.Connection):
            """A connection that knows its disk."""

            def __init__(self, path: Any, *args: Any, **options: Any) -> None:
                super().__init__(path, *args, **options)
                self._disk = disks.of(Path(path))

            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if self._disk is not None:
                    self._disk.judge(sql)
                return super().execute(sql, *args)

        setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection))  # noqa: B010 - mypy forbids =

    def of(self, path: Path) -> Disk | None:
        """Return the disk of a file that a process of the simulation uses."""
        return next((disk for disk in self._disks if path.is_relative_to(disk.root)), None)


class SimWriter(Writer):
    """The writer without its thread: commits take simulated time, and gather what comes."""

    def __init__(self, disk: Disk) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._disk = disk
        self._is_due = False

    def submit(self, database: Database, writes: Sequence[Write]) -> "asyncio.Future[None]":
        """Do as the real one."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put(_Job(database, writes, loop, done))
        if not self._is_due:
            self._is_due = True
            loop.call_later(self._disk.rng.uniform(*self._disk.commit_s), self._flush)
        return done

    def close(self) -> None:
        """Write what is left."""
        if self._is_due:
            self._flush()

    def _flush(self) -> None:
        self._is_due = False
        if self._disk.happens("before_commit"):
            return
        jobs = []
        while not self._jobs.empty():
            job = self._jobs.get()
            assert job is not None
            jobs.append(job)
        outcomes = _commit(jobs) if jobs else []
        for job, error in outcomes:
            if error is None:
                self._disk.on_commit(job.writes)
        if self._disk.happens("after_commit"):
            return
        # The caller hears of it a moment later: a kill may come between.
        asyncio.get_running_loop().call_later(0.0005, _settle, outcomes)


class SimThreads(StoreThreads):
    """The store's threads, without threads."""

    reader: Executor | None  # type: ignore[assignment] # the loop calls at once whatever it is

    def __init__(self, disk: Disk) -> None:
        self.writer = SimWriter(disk)
        self.reader = None

    def close(self) -> None:
        """Do as the real one."""
        self.writer.close()
