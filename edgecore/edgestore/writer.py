"""The thread that writes: the commits of one store or of many, each as few as possible.

While one commit waits for the disk, what others want to write gathers, and all of it is one
transaction next: the slower the disk, the more each commit carries (group commit).
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence

from msgspec import Struct

from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Write


class _Job(Struct, frozen=True):
    database: Database
    writes: Sequence[Write]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Writer:
    """A running thread; ``close`` ends it after everything it was given."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="edge-store writer", daemon=True)
        self._thread.start()

    def submit(self, database: Database, writes: Sequence[Write]) -> asyncio.Future[None]:
        """Return what is done once ``writes`` are on the disk, or has failed with ``StoreError``.

        Whatever else a commit raises fails it as well: the thread goes on.

        Order: of one database, the writes of an earlier call come first. If what was gathered into
        one transaction fails, each call's writes are tried for themselves: a call fails for its own
        reasons only.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put(_Job(database, writes, loop, done))
        return done

    def close(self) -> None:
        """End the thread after all that was submitted; waits for it."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            gathered: dict[Database, list[_Job]] = {}
            is_open = self._gather(gathered)
            for jobs in gathered.values():
                _tell(_commit(jobs))

    def _gather(self, gathered: dict[Database, list[_Job]]) -> bool:
        """Take all that waits, at least one job; return whether more may come."""
        job = self._jobs.get()
        while job is not None:
            gathered.setdefault(job.database, []).append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return True
        return False


_Outcome = tuple[_Job, Exception | None]


def _commit(jobs: list[_Job]) -> list[_Outcome]:
    try:
        jobs[0].database.commit([write for job in jobs for write in job.writes])
    except Exception as error:  # noqa: BLE001 - not only StoreError: our bug is its caller's to raise
        if len(jobs) == 1:
            return [(jobs[0], error)]
        return [outcome for job in jobs for outcome in _commit([job])]
    return [(job, None) for job in jobs]


def _tell(outcomes: list[_Outcome]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].loop, []).append(outcome)
    for loop, told in loops.items():
        _call(loop, _settle, told)


def _call(
    loop: asyncio.AbstractEventLoop,
    settle: Callable[[list[_Outcome]], None],
    outcomes: list[_Outcome],
) -> None:
    try:
        loop.call_soon_threadsafe(settle, outcomes)
    except RuntimeError:  # the loop was closed: nobody is there who could be told
        return


def _settle(outcomes: list[_Outcome]) -> None:
    for job, error in outcomes:
        if job.done.done():
            continue  # cancelled: whoever waited has gone
        if error is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(error)
