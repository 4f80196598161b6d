"""One part of edged on a real bus, with ``World`` at the other end and a clock that tests set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry

from common.beehive.context import MessageContext
from common.clock import Clock
from common.names import GroupName, ModuleName
from edgecore.edged.requests import Link, Requests
from edgecore.metrics import EdgeMetrics
from tests.edgecore.edged.world import World

START = datetime(2026, 11, 24, tzinfo=UTC)


class HandClock(Clock):
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


@dataclass
class Bus:
    """What a part of edged is made with."""

    world: World
    tasks: asyncio.TaskGroup
    requests: Requests
    link: Link
    clock: HandClock
    metrics: EdgeMetrics

    def connect(self) -> None:
        self.world.is_connected = self.link.connected = True
        self.link.generation += 1


@asynccontextmanager
async def bus(*, connected: bool = True) -> AsyncIterator[Bus]:
    """Run the world; what the part of edged still does is cancelled at the end."""
    context = MessageContext()
    context.add_module(ModuleName.META_MANAGER, GroupName.META)
    world = World(context)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(world.run(), name="world")
        async with asyncio.TaskGroup() as parts:
            made = Bus(
                world,
                parts,
                Requests(context),
                Link(),
                HandClock(),
                EdgeMetrics(CollectorRegistry()),
            )
            if connected:
                made.connect()
            yield made
        serving.cancel()
