"""The edge-store as the modules see it: asynchronous, durable, never in the event loop's way."""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from edgecore.edgestore.database import Database
from edgecore.edgestore.keyfile import FILE_NAME as KEY_FILE_NAME
from edgecore.edgestore.keyfile import KeyFile
from edgecore.edgestore.records import (
    COMPLETE_STATE,
    Bury,
    Index,
    Put,
    Remove,
    SetState,
    StoredObject,
    Write,
)
from edgecore.edgestore.waltail import Loss
from edgecore.edgestore.writer import Writer

logger = logging.getLogger(__name__)

FILE_NAME: Final = "edge-store.db"

_YES: Final = "yes"

T = TypeVar("T")


class StoreThreads:
    """The threads of one store, or of many that share them: one writes, one reads."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="edge-store reader")

    def close(self) -> None:
        """End both after what they were given."""
        self.writer.close()
        self.reader.shutdown()


class EdgeStore:
    """Objects, tombstones and state of one edge.

    Use it as an asynchronous context manager: entering opens and checks the file, leaving closes
    it. ``index`` says what is stored without reading: it follows each commit.
    """

    def __init__(
        self, data_dir: Path, threads: StoreThreads | None = None, key: Path | None = None
    ) -> None:
        """Name the folder of the file.

        Args:
            data_dir: the folder; made, with mode 0700, if it is missing.
            threads: to be shared with other stores; the store has its own if None.
            key: file with the key for Secrets, which is only read; one in ``data_dir`` if None.
        """
        self._database = Database(data_dir / FILE_NAME, KeyFile(data_dir / KEY_FILE_NAME, key))
        self._threads = StoreThreads() if threads is None else threads
        self._has_own_threads = threads is None
        self.index = Index()
        self.was_damaged = False
        """Something was damaged and is gone: found when the file was opened."""
        self.fault = ""
        """Why the last write failed; empty if it did not."""
        self._unopened: set[str] = set()  # keys of Secrets that another key has sealed
        self.is_complete = False
        """Whether the cloud has confirmed, at some time, that this is all there is, and nothing
        was lost since. Until then what is missing here may exist: nothing follows from that."""

    async def __aenter__(self) -> "EdgeStore":
        """Open and check the file, and load the index.

        Raises:
            StoreError: it cannot be used; the text says what to do.
        """
        try:
            loss = await self._read(self._database.open)
            self.was_damaged = loss is Loss.CERTAIN
            is_confirmed = await self.state(COMPLETE_STATE) == _YES
            for identity in await self._read(self._database.identities):
                self.index.add(identity)
            await self._look_for_unopened()
            self.is_complete = is_confirmed and loss is Loss.NONE and not self._unopened
            for tombstone in await self._read(self._database.tombstones):
                self.index.note(Bury(tombstone))
        except BaseException:
            self._close()
            raise
        fields = {"objects": len(self.index.entries), "complete": self.is_complete}
        logger.info("edge-store is open", extra=fields)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._close()

    async def apply(self, writes: Sequence[Write]) -> None:
        """Do ``writes`` in one transaction; when this returns, they are on the disk.

        Order: writes of an earlier call come first. Calls that wait at the same time share a
        transaction, and thereby one wait for the disk.

        Cancellation: the writes are done nevertheless, or fail; ``index`` follows either way.

        Raises:
            StoreError: the disk is full or fails; none of these writes was done.
        """
        if not writes:
            return
        # Before it is done: what is replaced now is not to be removed by what comes after.
        self._unopened.difference_update(w.stored.key for w in writes if isinstance(w, Put))
        done = self._threads.writer.submit(self._database, writes)
        done.add_done_callback(functools.partial(self._note, writes))
        await asyncio.wait([done])  # unlike `await done`, it leaves `done` alone if cancelled
        done.result()

    async def get(self, key: str) -> StoredObject | None:
        """Return what has ``key`` (``namespace/type/name``).

        Raises:
            StoreError: the file cannot be read, or the value is damaged.
        """
        if self.index.entry(key) is None:
            return None
        return await self._read(functools.partial(self._database.get, key))

    async def list_type(self, resource_type: str) -> list[StoredObject]:
        """Return all objects of a type, by key.

        Raises:
            StoreError: as ``get``.
        """
        return await self._read(functools.partial(self._database.of_type, resource_type))

    async def state(self, key: str) -> str | None:
        """Return what ``set_state`` kept under ``key``; None for nothing.

        Raises:
            StoreError: the file cannot be read.
        """
        return await self._read(functools.partial(self._database.state, key))

    async def set_state(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key``, durably.

        Raises:
            StoreError: as ``apply``.
        """
        await self.apply([SetState(key, value)])

    async def confirm_complete(self) -> None:
        """Note, durably, that the cloud holds nothing for this edge that is not stored.

        Raises:
            StoreError: as ``apply``.
        """
        # What cannot be opened was sent anew by now, or is not needed any more.
        await self.apply([SetState(COMPLETE_STATE, _YES), *map(Remove, sorted(self._unopened))])
        self.is_complete = True

    async def _look_for_unopened(self) -> None:
        """Find the Secrets that are stored and cannot be opened; they stay, as if not there.

        With its own key back, each is there again, unless it was replaced in the meantime.
        """
        keys = await self._read(self._database.sealed_keys)
        self._unopened = {key for key in keys if self.index.entry(key) is None}
        if self._unopened:
            logger.error(
                "stored Secrets cannot be opened: the key is lost, or another one. The cloud is"
                " asked for them anew; until then pods that start and need them have to wait",
                extra={"secrets": len(self._unopened), "key": str(self._database.keys)},
            )

    async def _read(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads.reader, read)

    def _note(self, writes: Sequence[Write], done: asyncio.Future[None]) -> None:
        error = done.exception()
        self.fault = "" if error is None else str(error)
        if error is None:
            for write in writes:
                self.index.note(write)

    def _close(self) -> None:
        if self._has_own_threads:
            self._threads.close()
        self._database.close()
