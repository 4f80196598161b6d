"""What is revoked, as it is followed. Real in the e2e tests: the API server and the ledger;
elsewhere the API server is a test double that says what it is told to.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import Source
from cloudcore.metrics import CloudMetrics
from cloudcore.trust import authoritystore, ledgerentry
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import Entry, record_path
from cloudcore.trust.revocations import Revocations
from common.errors import RemoteError
from common.issuing import Issued
from common.names import NodeID
from common.status import failure
from tests.cloudcore.cluster import unique

PATIENCE_S = 50.0
NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE, OTHER = NodeID("n1"), NodeID("n2")


@dataclass
class Followed:
    """Somebody who follows, and what was told."""

    revocations: Revocations
    registry: CollectorRegistry
    told: asyncio.Queue[NodeID] = field(default_factory=asyncio.Queue)

    async def hear_of(self, node: NodeID) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.told.get() != node:
                pass

    def is_revoked(self, serial: int, node: NodeID = NODE) -> bool:
        return self.revocations.is_revoked(node, serial)

    def shown(self) -> float | None:
        return self.registry.get_sample_value("cloudcore_revoked_nodes")


@asynccontextmanager
async def following(source: Source) -> AsyncIterator[Followed]:
    registry = CollectorRegistry()
    followed = Followed(Revocations(source, CloudMetrics(registry)), registry)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(followed.revocations.run(followed.told.put_nowait))
        async with asyncio.timeout(PATIENCE_S):
            await followed.revocations.ready()
        yield followed
        running.cancel()


def record(entry: Entry, version: int, node: NodeID = NODE) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.json.decode(ledgerentry.to_configmap(node, entry))
    made["metadata"] |= {"uid": f"uid-{node}", "resourceVersion": str(version)}
    return made


def revoked(*since: str) -> Entry:
    return Entry("1", NOW, revoked_at=NOW, since=since)


class FakeApi:
    """An API server that lists ``items`` and then says what is put into ``lines``."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = list(items)
        self.version = 100
        self.selectors: list[Mapping[str, str]] = []
        self.lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def get(self, path: str, *, params: Mapping[str, str]) -> bytes:
        assert path == "/api/v1/configmaps"
        self.selectors.append(params)
        listed = {"metadata": {"resourceVersion": str(self.version)}, "items": self.items}
        return msgspec.json.encode(listed)

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        assert path == "/api/v1/configmaps"
        self.selectors.append(params)
        while (line := await self.lines.get()) is not None:
            yield msgspec.json.encode(line)
        raise RemoteError(failure(503, "away"))

    def say(self, kind: str, configmap: dict[str, Any]) -> None:
        self.lines.put_nowait({"type": kind, "object": configmap})


async def test_what_was_revoked_before_is_known_before_anybody_is_let_in() -> None:
    api = FakeApi(record(revoked("2"), 7), record(revoked(), 8, OTHER))
    async with following(api) as followed:
        assert (followed.is_revoked(1), followed.is_revoked(2)) == (True, False)
        assert followed.is_revoked(2, OTHER)
        assert not followed.is_revoked(1, NodeID("n3"))
        assert followed.shown() == 1  # the other one has got a certificate since
        assert api.selectors[0]["labelSelector"] == "cloudedge.io/revoked=true"
        assert api.selectors[0]["fieldSelector"] == "metadata.namespace=kubeedge"


async def test_nothing_is_known_until_the_list_is_complete() -> None:
    class Away(FakeApi):
        async def get(self, path: str, *, params: Mapping[str, str]) -> bytes:
            del path, params
            raise RemoteError(failure(503, "away"))

    revocations = Revocations(Away(), CloudMetrics(CollectorRegistry()))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(revocations.run(lambda _: None))
        waiting = group.create_task(revocations.ready())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        running.cancel()


async def test_each_change_is_told_once_it_shows() -> None:
    api = FakeApi()
    async with following(api) as followed:
        api.say("ADDED", record(revoked(), 101))
        await followed.hear_of(NODE)
        assert followed.is_revoked(1)
        assert followed.is_revoked(2)
        api.say("MODIFIED", record(revoked("2"), 102))
        await followed.hear_of(NODE)
        assert (followed.is_revoked(1), followed.is_revoked(2)) == (True, False)
        api.say("DELETED", record(revoked("2"), 103))
        await followed.hear_of(NODE)
        assert not followed.is_revoked(1)
        assert followed.shown() == 0


async def test_what_is_known_holds_while_the_api_server_is_away_and_then_the_list_counts() -> None:
    api = FakeApi(record(revoked(), 7), record(revoked(), 8, OTHER))
    async with following(api) as followed:
        await followed.hear_of(NODE)
        api.items = [record(revoked("5"), 109, OTHER)]
        api.version = 110
        api.lines.put_nowait(None)
        assert followed.is_revoked(1)
        await followed.hear_of(NODE)
        await followed.hear_of(OTHER)
        assert not followed.is_revoked(1)
        assert (followed.is_revoked(1, OTHER), followed.is_revoked(5, OTHER)) == (True, False)


async def test_a_record_that_cannot_be_read_shuts_its_node_out() -> None:
    damaged = record(revoked(), 7)
    damaged["data"]["certificate"] = "?"
    nobodys = record(revoked(), 8)
    nobodys["metadata"]["name"] = "edgecertificate-of.nobody"
    elsewhere = record(revoked(), 9, OTHER)
    elsewhere["metadata"]["namespace"] = "default"
    async with following(FakeApi(damaged, nobodys, elsewhere)) as followed:
        assert followed.is_revoked(1)
        assert not followed.is_revoked(1, OTHER)
        assert followed.shown() == 1


@pytest.mark.e2e
async def test_a_revocation_reaches_every_cloudcore(client: KubeClient) -> None:
    await authoritystore.load_authorities(client, NOW)  # makes the namespace
    ledger, node, other = Ledger(client), NodeID(unique("n")), NodeID(unique("n"))

    def issued(serial: int) -> Issued:
        return Issued(b"", serial, NOW + timedelta(days=365))

    await ledger.record(node, issued(1), None)
    await ledger.record(other, issued(1), None)
    async with following(client) as first, following(client) as second:
        await ledger.revoke(node, NOW)
        for followed in (first, second):
            await followed.hear_of(node)
            assert followed.is_revoked(1, node)
            assert not followed.is_revoked(1, other)
        await ledger.record(node, issued(2), await ledger.find(node))
        for followed in (first, second):
            await followed.hear_of(node)
            assert (followed.is_revoked(1, node), followed.is_revoked(2, node)) == (True, False)
        async with following(client) as late:
            assert (late.is_revoked(1, node), late.is_revoked(2, node)) == (True, False)
        await client.delete(record_path(node))
        await first.hear_of(node)
        assert not first.is_revoked(1, node)
