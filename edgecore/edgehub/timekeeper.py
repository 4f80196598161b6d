"""The last time that the cloud has told, kept in the edge-store for the next start.

A machine whose clock stands in 1970, or two years ahead, judges certificates by it all the same.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from common.clock import Clock, parse_rfc3339, rfc3339
from common.errors import StoreError
from edgecore.edgehub.certificates import how_far_off
from edgecore.edgehub.pin import Memory

logger = logging.getLogger(__name__)

TIME_STATE: Final = "time"
"""Key of the state that holds it."""

SAVE_EVERY_S: Final = 15 * 60.0
"""Flash wears out by being written."""

_LAST_WORDS_S: Final = 2.0


class Timekeeper:
    """Keeps what a clock knows."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        """Keep what ``clock`` knows in ``memory``, which must be open when it is used."""
        self._memory, self.clock = memory, clock
        self._is_recalled = False
        self._saved: datetime | None = None
        self._save_at_s = 0.0
        self._told_off = ""

    async def recall(self) -> None:
        """Have the clock know what was kept, the first time that this is called."""
        if self._is_recalled:
            return
        try:
            kept = await self._memory.state(TIME_STATE)
            self._is_recalled = True
            if kept is not None and self.clock.known() is None:
                self._saved = parse_rfc3339(kept)
                self.clock.remember(self._saved)
        except (StoreError, ValueError) as error:
            logger.warning("the last time known cannot be read", extra={"error": str(error)})

    async def look(self) -> None:
        """Keep what the clock knows, where that is to be done now; warn of a clock that is off."""
        known = self.clock.known()
        if known is None or known == self._saved:
            return
        self._warn()
        if self.clock.monotonic() >= self._save_at_s:
            self._save_at_s = self.clock.monotonic() + SAVE_EVERY_S
            await self._save(known)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Recall at the beginning, and keep at the end, however that comes."""
        await self.recall()
        try:
            yield
        finally:
            known = self.clock.known()
            if known is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORDS_S):
                        await self._save(known)

    async def _save(self, known: datetime) -> None:
        try:
            await self._memory.set_state(TIME_STATE, rfc3339(known))
        except StoreError as error:
            logger.warning("the time cannot be stored", extra={"error": str(error)})

    def _warn(self) -> None:
        """Say once that this machine's clock is off, by what the cloud has told meanwhile."""
        wall = datetime.now(UTC)
        off = how_far_off(wall, wall + timedelta(seconds=self.clock.offset_s))
        if off and not self._told_off:
            logger.warning("%s; the cloud's time is used instead", off)
        self._told_off = off
