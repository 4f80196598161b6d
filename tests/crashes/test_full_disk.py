"""P1, P6: an edge whose disk is full acknowledges nothing that it has not stored, and recovers.

Real: MetaManager, the bus, the edge-store, and SQLite. Made to fail: what SQLite asks of the disk.
The hub is the test: it sends, and what is not acknowledged it sends again, as the cloud does.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from common.beehive.context import MessageContext
from common.beehive.message import Message
from common.clock import Clock
from common.names import GroupName, ModuleName
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager.manager import MetaManager
from edgecore.metrics import EdgeMetrics
from tests.crashes.disk import Event, Write
from tests.crashes.recorder import Recorder, nothing_fails, recorded
from tests.crashes.vfs import OK, Look
from tests.edgecore.cloud import until
from tests.edgecore.metamanager.messages import delete, insert

META, HUB, EDGED = ModuleName.META_MANAGER, ModuleName.EDGE_HUB, ModuleName.EDGED
PODS = [f"default/pod/p{n}" for n in range(6)]


def is_full(number: int, event: Event | Look) -> int:
    del number
    return sqlite3.SQLITE_FULL if isinstance(event, Write) else OK


class Edge:
    """A MetaManager, and what has come of it."""

    def __init__(self, context: MessageContext, store: EdgeStore, metrics: EdgeMetrics) -> None:
        self.context, self.store, self.metrics = context, store, metrics
        self.acknowledged: set[str] = set()

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.context.send(META, message)

    async def hear(self, number: int) -> None:
        """Wait for acknowledgements."""
        for _ in range(number):
            ack = await self.context.receive(HUB)
            self.acknowledged.add(ack.header.parent_msg_id)


@asynccontextmanager
async def edge(folder: Path, registry: CollectorRegistry) -> AsyncIterator[Edge]:
    context, metrics = MessageContext(), EdgeMetrics(registry)
    context.add_module(META, GroupName.META)
    context.add_module(HUB, GroupName.HUB)
    context.add_module(EDGED, GroupName.EDGED)
    async with EdgeStore(folder) as store:
        module = MetaManager(context, store, "n1", Clock(), metrics)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(module.run())
            yield Edge(context, store, metrics)
            context.close(META)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def refused(registry: CollectorRegistry) -> float:
    labels = {"reason": "store_error"}
    return registry.get_sample_value("edgecore_messages_dropped_total", labels) or 0.0


async def test_what_a_full_disk_cannot_keep_is_not_acknowledged_until_it_was_sent_again_and_kept(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    recorder = Recorder()
    with recorded(tmp_path, recorder):
        async with edge(tmp_path, registry) as running:
            before, sent = insert(PODS[0], uid="u0"), [insert(pod, uid=pod) for pod in PODS[1:]]
            await running.send(before)
            await running.hear(1)
            recorder.fault = is_full
            await running.send(*sent)
            await until(lambda: refused(registry) == len(sent))
            assert running.acknowledged == {before.msg_id}
            assert running.store.index.entries.keys() == {PODS[0]}
            recorder.fault = nothing_fails
            await running.send(*sent)
            await running.hear(len(sent))
            assert running.acknowledged == {message.msg_id for message in [before, *sent]}
            assert running.store.index.entries.keys() == set(PODS)
        async with edge(tmp_path, CollectorRegistry()) as running:
            assert running.store.index.entries.keys() == set(PODS)


async def test_what_makes_room_or_is_small_is_kept_though_the_rest_of_its_batch_is_not(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    recorder = Recorder()
    with recorded(tmp_path, recorder):
        async with edge(tmp_path, registry) as running:
            await running.send(insert(PODS[0], uid="u0"))
            await running.hear(1)
            room = max(file.stat().st_size for file in tmp_path.iterdir()) + 64 * 1024

            def has_little_room(number: int, event: Event | Look) -> int:
                del number
                is_beyond = isinstance(event, Write) and event.offset + len(event.data) > room
                return sqlite3.SQLITE_FULL if is_beyond else OK

            recorder.fault = has_little_room
            large = insert(PODS[1], uid="u1", spec={"x": "x" * 4 * room})
            gone, small = delete(PODS[0], uid="u0", version=5), insert(PODS[2], uid="u2")
            await running.send(large, gone, small)
            await running.hear(2)
            assert {gone.msg_id, small.msg_id} < running.acknowledged
            assert running.store.index.entries.keys() == {PODS[2]}
            await until(lambda: refused(registry) == 1)
            recorder.fault = nothing_fails
            await running.send(large)
            await running.hear(1)
        async with edge(tmp_path, CollectorRegistry()) as running:
            assert running.store.index.entries.keys() == {PODS[1], PODS[2]}


async def test_what_is_stored_already_is_acknowledged_by_a_full_disk_too(
    tmp_path: Path, registry: CollectorRegistry
) -> None:
    recorder = Recorder()
    with recorded(tmp_path, recorder):
        async with edge(tmp_path, registry) as running:
            await running.send(insert(PODS[0]))
            await running.hear(1)
            recorder.fault = is_full
            again = insert(PODS[0])
            await running.send(again)
            await running.hear(1)
            assert again.msg_id in running.acknowledged
            recorder.fault = nothing_fails


async def test_an_edge_starts_on_a_full_disk_with_what_it_has_and_sweeps_when_there_is_room(
    tmp_path: Path, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecore.metamanager.manager.SWEEP_AFTER_S", 0.01)
    recorder, unneeded = Recorder(), "default/secret/unneeded"
    with recorded(tmp_path, recorder):
        async with edge(tmp_path, CollectorRegistry()) as running:
            await running.send(insert(PODS[0], uid="u0"), insert(PODS[1], uid="u1"))
            await running.hear(2)
            await running.send(insert(unneeded, uid="s"))
            await running.hear(1)
        recorder.fault = is_full
        async with edge(tmp_path, registry) as running:
            assert [pod.key for pod in await running.store.list_type("pod")] == PODS[:2]
            await running.send(delete(PODS[0], uid="u0", version=5))
            await until(lambda: refused(registry) == 1)
            recorder.fault = nothing_fails
            await until(lambda: running.store.index.entry(unneeded) is None)
            await running.send(delete(PODS[0], uid="u0", version=5))
            await running.hear(1)
            assert running.store.index.entries.keys() == {PODS[1]}
