"""A configuration that is read again. Real: the signal. What is configured is kept in lists."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from cloudcore.config import CloudCoreSettings
from cloudcore.reloading import Reloading, changed
from common.errors import ConfigError
from tests.cloudcore.cluster import eventually

LAST_WORDS = (
    "the configuration was read again",
    "the configuration is faulty, nothing has changed",
)


def settings(*hosts: str, **others: Any) -> CloudCoreSettings:
    return CloudCoreSettings(advertise_address=hosts, **others)


@dataclass
class World:
    """A configuration file, how often it was read, and what came of that."""

    caplog: pytest.LogCaptureFixture
    file: CloudCoreSettings | ConfigError
    renamed: list[tuple[str, ...]] = field(default_factory=list)

    def read(self) -> CloudCoreSettings:
        if isinstance(self.file, ConfigError):
            raise self.file
        return self.file

    def rename(self, hosts: Sequence[str]) -> None:
        self.renamed.append(tuple(hosts))

    async def hang_up(self) -> None:
        """Send the signal, and return when the configuration was taken over or refused."""
        before = self.logged()
        os.kill(os.getpid(), signal.SIGHUP)

        async def is_done() -> bool:
            return self.logged() > before

        await eventually(is_done)

    def logged(self) -> int:
        return sum(record.message in LAST_WORDS for record in self.caplog.records)


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO)
    return World(caplog, settings("a"))


@asynccontextmanager
async def reloading(world: World, begun_with: CloudCoreSettings) -> AsyncIterator[None]:
    watched = Reloading(begun_with, world.read)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watched.run(world.rename))
        yield
        running.cancel()


@pytest.mark.both_loops
async def test_other_hosts_are_taken_over_once(world: World) -> None:
    world.file = settings("a", "b")
    async with reloading(world, settings("a")):
        await world.hang_up()
        await world.hang_up()
        assert world.renamed == [("a", "b")]
        world.file = settings("b")
        await world.hang_up()
        assert world.renamed == [("a", "b"), ("b",)]
    assert "restart" not in world.caplog.text


async def test_another_level_of_the_log_holds_at_once(world: World) -> None:
    world.file = settings("a", log_level="debug")
    async with reloading(world, settings("a")):
        await world.hang_up()
        assert logging.getLogger().level == logging.DEBUG
    assert "restart" not in world.caplog.text


async def test_what_needs_a_restart_is_named(world: World) -> None:
    world.file = settings("a", https_port=1234, node_limit=7)
    async with reloading(world, settings("a")):
        await world.hang_up()
    (line,) = [record for record in world.caplog.records if "restart" in record.message]
    assert line.__dict__["options"] == "--https-port,--node-limit"
    assert world.renamed == []


@pytest.mark.parametrize(
    "faulty", [ConfigError(["file: no good"]), settings("cl\u00f6ud")], ids=["option", "host"]
)
async def test_a_faulty_configuration_changes_nothing(
    world: World, faulty: CloudCoreSettings | ConfigError
) -> None:
    world.file = faulty
    async with reloading(world, settings("a")):
        await world.hang_up()
        assert "nothing has changed" in world.caplog.text
        assert world.renamed == []
        world.file = settings("b")
        await world.hang_up()
        assert world.renamed == [("b",)]


async def test_a_signal_that_comes_before_there_is_anything_to_change_is_not_lost(
    world: World,
) -> None:
    world.file = settings("b")
    early = Reloading(settings("a"), world.read)
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(early.run(world.rename))

        async def is_renamed() -> bool:
            return bool(world.renamed)

        await eventually(is_renamed)
        running.cancel()


def test_only_what_is_not_the_same_is_named() -> None:
    assert changed(settings("a"), settings("a")) == []
    assert changed(settings("a"), settings("b", keepalive_s=9)) == [
        "advertise_address",
        "keepalive_s",
    ]


async def test_what_has_no_effect_in_the_file_is_said_again(world: World) -> None:
    world.file = settings("a", notes=("quic has no effect",))
    async with reloading(world, settings("a")):
        await world.hang_up()
    assert world.caplog.text.count("quic has no effect") == 1
