"""Hearing of what ended by itself, from whichever source the engine has.

containerd's own events come first: every version has them, whoever else listens. Then those of CRI
(containerd 1.7, CRI-O where it is told to). With neither, lists are compared every second. An event
only says where to look: what is told comes from comparing lists, which also shows what happened
while nobody listened, and is done once a minute in any case.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from grpclib.const import Status
from msgspec import Struct

from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import UID
from edgecore.edged.runtime.cri import changes, methods
from edgecore.edged.runtime.cri import containerd_pb2 as containerd
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri.changes import Announcement, Pending, Snapshot
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.looks import Looks
from edgecore.edged.runtime.cri.refusals import EngineError

logger = logging.getLogger(__name__)

_RECONNECT: Final = BackoffPolicy(first_s=0.1, cap_s=1.0)
_SETTLE: Final = BackoffPolicy(first_s=0.01, cap_s=0.5, jitter=0.0)
_SETTLE_TRIES: Final = 25
"""About ten seconds; whatever the engine did not note by then, the comparison each minute shows."""


class Pace(Struct, frozen=True):
    """How often lists are compared, in seconds."""

    gather_s: float = 0.005
    """From an event to the look that it causes: others come with it, and the engine notes it."""
    confirm_s: float = 1.0
    """From a subscription to a second look: the engine does not say from when on it holds."""
    safety_s: float = 60.0
    poll_s: float = 1.0
    """Without any events, or while the engine is away."""


class PodEvents:
    """What ended, for one reader."""

    def __init__(self, client: CriClient, looks: Looks, pace: Pace | None = None) -> None:
        self._client, self._looks = client, looks
        self._pace = pace or Pace()
        self._pending = Pending()
        self._told = asyncio.Event()
        self._awaited: set[str] = set()  # announced ends that no list showed yet
        self._look = asyncio.Event()
        self._is_fresh = True
        self._is_live = False
        self._before: Snapshot = {}

    async def pods(self) -> AsyncIterator[UID]:
        """Yield pods that changed, each once however often it did, and at first every pod."""
        async with asyncio.TaskGroup() as tasks:
            workers = (
                tasks.create_task(self._listen(), name="runtime events"),
                tasks.create_task(self._compare(), name="runtime lists"),
            )
            try:
                while True:
                    await self._told.wait()
                    while (uid := self._pending.take()) is not None:
                        yield uid
                    self._told.clear()
            except GeneratorExit:  # the reader has gone; a task group would make an error of it
                for worker in workers:
                    worker.cancel()

    async def _listen(self) -> None:
        """Follow the first source that the engine has, and begin anew when it breaks."""
        backoff = Backoff(_RECONNECT)
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            if not await self._follow_containerd() and not await self._follow_cri():
                logger.info("the container runtime tells no events: its lists are compared")
                await asyncio.sleep(self._pace.safety_s)
                continue
            if loop.time() - began_s > self._pace.safety_s:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _follow_containerd(self) -> bool:
        """Follow containerd's events until they break; return False if there are none."""
        self._start()
        request = containerd.SubscribeRequest(filters=changes.FILTERS)
        try:
            await self._client.follow(methods.CONTAINERD_EVENTS, request, self._on_containerd)
        except EngineError as error:
            return self._broke(error)
        finally:
            self._is_live = False
        return True

    async def _follow_cri(self) -> bool:
        """Follow CRI's events until they break; return False if there are none."""
        self._start()
        request = cri.GetEventsRequest()
        try:
            await self._client.follow(methods.CONTAINER_EVENTS, request, self._on_cri)
        except EngineError as error:
            return self._broke(error)
        finally:
            self._is_live = False
        return False  # CRI-O ends the stream where events are switched off

    def _start(self) -> None:
        """Take the source for a live one until it says otherwise, and look what was missed."""
        self._is_live = self._is_fresh = True
        self._look.set()

    @staticmethod
    def _broke(error: EngineError) -> bool:
        if error.status is Status.UNIMPLEMENTED:
            return False
        logger.debug("runtime events broke", extra={"why": str(error)})
        return True

    def _on_containerd(self, envelope: containerd.Envelope) -> None:
        self._announced(changes.announced_by_containerd(envelope))

    def _on_cri(self, event: cri.ContainerEventResponse) -> None:
        self._announced(changes.announced_by_cri(event))

    def _announced(self, announcement: Announcement | None) -> None:
        if announcement is None:
            return
        if announcement.is_end:
            self._awaited.add(announcement.id)
            self._look.set()
            return
        self._looks.doubt(announcement.id)
        if entry := self._before.get(announcement.id):
            self._tell({entry.uid})

    async def _compare(self) -> None:
        """Tell of what lists show to have changed, whenever there is a reason to look."""
        settle = Backoff(_SETTLE)
        pause_s = 0.0
        is_away = False
        while True:
            await self._wait(pause_s)
            try:
                listing = await self._looks.listing()
            except EngineError as error:
                if not is_away:
                    logger.warning("the container runtime is away", extra={"why": str(error)})
                is_away, pause_s = True, self._pace.poll_s
                self._before = {}  # those who waited for it want to know when it is back
                continue
            if is_away:
                logger.info("the container runtime is back")
                is_away = False
            now = changes.snapshot(listing.sandboxes, listing.containers)
            self._tell(changes.changed(self._before, now))
            self._before = now
            self._awaited -= changes.settled(self._awaited, now)
            pause_s = self._pause_s(settle)

    def _pause_s(self, settle: Backoff) -> float:
        """Return when to look again though nothing is announced."""
        if self._awaited and settle.attempts < _SETTLE_TRIES:
            return settle.next_s()
        self._awaited.clear()
        settle.reset()
        if self._is_fresh:
            self._is_fresh = False
            return self._pace.confirm_s
        return self._pace.safety_s if self._is_live else self._pace.poll_s

    async def _wait(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._look.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._pace.gather_s)
        self._look.clear()

    def _tell(self, pods: set[UID]) -> None:
        self._pending.add(pods)
        self._told.set()
