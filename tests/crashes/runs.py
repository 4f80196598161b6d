"""Runs of an edge-store on a watched folder, and what must be there after each point of them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.errors import StoreError
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Entry, Write
from edgecore.edgestore.store import EdgeStore, StoreThreads
from edgecore.edgestore.waltail import Loss
from tests.crashes.disk import Image
from tests.crashes.recorder import Recorder, lay_out
from tests.crashes.script import Held, held


@dataclass(slots=True)
class Attempt:
    """One ``apply``: how many events there were when it began and when it ended."""

    begun: int
    after: Held
    """What the store holds if it was done."""
    ended: int | None = None
    was_told: bool = False
    """Whether it was acknowledged."""


@dataclass(slots=True)
class Account:
    """What a store was asked to hold, and what it said to that."""

    attempts: list[Attempt] = field(default_factory=list)
    now: Held = field(default_factory=Held)

    def possible(self, events: int) -> tuple[list[Held], bool]:
        """Return what may be held after ``events`` events, and whether something was unfinished.

        First comes what was acknowledged last; then what was begun after it. Of that, what has
        failed may be there too: the disk may have it, although it said that it does not.
        """
        states, is_open = [Held()], True  # as long as the tables may not be there yet
        for one in self.attempts:
            if one.was_told and one.ended is not None and one.ended <= events:
                states, is_open = [one.after], False
            elif one.begun <= events:
                states.append(one.after)
                is_open = True
        return states, is_open


class Run:
    """A store that is opened, written and closed, with its account."""

    def __init__(self, folder: Path, recorder: Recorder, threads: StoreThreads) -> None:
        self.account = Account()
        self.refusals: list[str] = []
        self._folder, self._recorder, self._threads = folder, recorder, threads

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[EdgeStore]:
        """Open the store, however often it takes, and close it."""
        store = EdgeStore(self._folder, self._threads)
        while not await self._is_open(store):
            assert len(self.refusals) < 100, "it never opens"
            store = EdgeStore(self._folder, self._threads)
        try:
            yield store
        finally:
            await store.__aexit__(None, None, None)

    async def _is_open(self, store: EdgeStore) -> bool:
        try:
            await store.__aenter__()
        except StoreError as error:
            self.refusals.append(str(error))
            return False
        return True

    async def apply(self, store: EdgeStore, batch: Sequence[Write]) -> bool:
        """Write ``batch``; return whether it was acknowledged."""
        attempt = Attempt(len(self._recorder.events), self.account.now.after(batch))
        self.account.attempts.append(attempt)
        try:
            await store.apply(batch)
        except StoreError as error:
            self.refusals.append(str(error))
        else:
            self.account.now, attempt.was_told = attempt.after, True
        attempt.ended = len(self._recorder.events)
        return attempt.was_told

    def check(self, store: EdgeStore) -> None:
        """Check that store and index hold what was acknowledged, unless they cannot be read."""
        try:
            found = held(store._database)
        except StoreError as error:
            self.refusals.append(str(error))
            return
        assert found == self.account.now
        assert dict(store.index.entries) == entries(found)
        assert not store.was_damaged


def entries(held: Held) -> dict[str, Entry]:
    return {one.key: one.entry for one in held.objects}


def read(folder: Path, image: Image) -> tuple[Held, Loss]:
    """Return what the code that opens a store finds in ``image``."""
    return look(lay_out(folder, image))


def look(path: Path) -> tuple[Held, Loss]:
    """Open and close the store; return what it holds, and what opening it said."""
    database = Database(path)
    try:
        loss = database.open()
        return held(database), loss
    finally:
        database.close()


def assert_kept(found: tuple[Held, Loss], possible: Sequence[Held], *, is_open: bool) -> None:
    """Check that nothing is lost, and nothing is said to be.

    A commit that was not finished may leave the store less sure than it was that it is complete.
    """
    holds, loss = found
    assert loss is Loss.NONE or (loss is Loss.POSSIBLE and is_open)
    if loss is Loss.POSSIBLE:
        assert holds.complete == ""
        possible = [replace(one, complete="") for one in possible]
    assert holds in possible
