"""The two modules of an EdgeSite's link, which have the names of the hubs that they stand for.

Two, so that neither direction waits behind the other: the way down waits for MetaManager, which
itself may be waiting for the way up; that one waits for nobody.
"""

import asyncio
import logging
from typing import Final

import msgspec

from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw
from common.errors import MailboxClosedError
from common.names import PROGRESS_RESOURCE, GroupName, ModuleName, Operation
from common.wire import loads_as
from edgecore.metrics import EdgeMetrics
from edgesite.link import Link
from edgesite.presence import Presence

logger = logging.getLogger(__name__)

BEAT_S: Final = 10.0
"""Between two signs that the edge does its work, each of which renews its lease."""

SIGN_S: Final = 2.0
"""How long the modules of the edge may take to say so."""

DIGEST_EVERY: Final = 30
"""Beats, of which one carries a digest though nobody has asked for it: five minutes."""

_BATCH: Final = 64


class _Sign(msgspec.Struct):
    asked: str
    digest: str | None = None


class Downlink:
    """Take what the controller says to the edge."""

    name, group = ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB

    def __init__(self, bus: MessageContext, link: Link) -> None:
        """Hand on by ``link`` what comes by ``bus``."""
        self._bus, self._link = bus, link

    async def run(self) -> None:
        """Serve until the mailbox is closed and empty."""
        try:
            while True:
                for message in await self._bus.receive_batch(self.name, limit=_BATCH):
                    await self._link.down(message)
        except MailboxClosedError:
            logger.debug("mailbox is closed and empty")


class Uplink:
    """Take what the edge says to the controller, and keep both in touch."""

    name, group = ModuleName.EDGE_HUB, GroupName.HUB

    def __init__(
        self,
        bus: MessageContext,
        link: Link,
        presence: Presence,
        metrics: EdgeMetrics,
        beat_s: float = BEAT_S,
    ) -> None:
        """Hand on by ``link`` what comes by ``bus``, and beat every ``beat_s`` seconds."""
        self._bus, self._link, self._presence = bus, link, presence
        self._metrics, self._beat_s = metrics, beat_s
        self._asked = ""  # msg_id of the question whose sign the present beat waits for
        self._signed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the mailbox is closed and empty."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._presence.run(), name="link")
                tasks.create_task(self._beat(), name="link beat")
                while True:
                    for message in await self._bus.receive_batch(self.name, limit=_BATCH):
                        await self._take(message)
        except* MailboxClosedError:  # it has ended the tasks as well
            logger.debug("mailbox is closed and empty")

    async def _take(self, message: Message) -> None:
        if message.operation is Operation.KEEPALIVE:
            await self._sign(loads_as(message.content, _Sign))
        else:
            await self._link.up(message)

    async def _sign(self, sign: _Sign) -> None:
        if sign.asked != self._asked:
            return  # too late: that beat has gone without it
        self._asked = ""
        self._signed.set()
        if self._link.connection:
            await self._link.beat(progresses=True, digest=sign.digest)

    async def _beat(self) -> None:
        """Ask the modules of the edge, in a rhythm, whether they do their work."""
        number = 0
        while True:
            await self._link.connected.wait()
            number += 1
            is_digest_due = self._link.wants_digest or number % DIGEST_EVERY == 0
            await self._link.remind()
            await self._ask(raw({"digest": is_digest_due}))
            await asyncio.sleep(self._beat_s)

    async def _ask(self, content: msgspec.Raw) -> None:
        question = new(self.name, GroupName.META, Operation.KEEPALIVE, PROGRESS_RESOURCE, content)
        self._asked = question.msg_id
        self._signed.clear()
        try:
            async with asyncio.timeout(SIGN_S):
                await self._bus.send(ModuleName.META_MANAGER, question)
                await self._signed.wait()
        except TimeoutError:
            self._asked = ""
            self._metrics.beats_without_progress.inc()
            logger.warning("the modules of this edge do not answer: no lease is renewed")
            if self._link.connection:
                await self._link.beat(progresses=False, digest=None)
