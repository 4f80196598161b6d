"""Which cluster an edge belongs to. The edge-store is real unless it is to fail; links are not."""

import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.errors import StoreError
from edgecore.edgehub.link import NOT_OURS, LinkLostError
from edgecore.edgehub.pin import CLUSTER_STATE, Memory, Pin
from edgecore.edgestore.store import EdgeStore
from tests.edgecore.edgehub.links import MadeUpLink

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Clouds:
    """Answers for one cluster after the other: each connection is to the next."""

    def __init__(self, *clusters: str) -> None:
        self.links = [MadeUpLink() for _ in clusters]
        for link, cluster in zip(self.links, clusters, strict=True):
            link.cluster = cluster
        self._next = iter(self.links)

    @asynccontextmanager
    async def dial(
        self, uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
    ) -> AsyncIterator[MadeUpLink]:
        assert (uri, headers, tls, handshake_s) == ("wss://cloud", {"node_id": "n1"}, TLS, 7.0)
        yield next(self._next)


@dataclass
class FullDisk:
    """A store that keeps nothing, and may not even be readable."""

    held: str | None = None
    is_readable: bool = True
    writes: list[str] = field(default_factory=list)

    async def state(self, key: str) -> str | None:
        assert key == CLUSTER_STATE
        if not self.is_readable:
            raise StoreError("disk I/O error")
        return self.held

    async def set_state(self, key: str, value: str) -> None:
        assert key == CLUSTER_STATE
        self.writes.append(value)
        raise StoreError("disk is full")


async def connect(pin: Pin) -> str:
    """Connect once; return the cluster of the cloud, or why it was left."""
    try:
        async with pin.dial("wss://cloud", {"node_id": "n1"}, TLS, handshake_s=7.0) as link:
            return link.cluster
    except LinkLostError as error:
        return f"{error.reason}: {error}"


async def connected(memory: Memory, *clusters: str, accepted: str = "") -> list[str]:
    clouds = Clouds(*clusters)
    pin = Pin(clouds.dial, memory, accepted)
    return [await connect(pin) for _ in clusters]


async def test_the_first_cluster_that_names_itself_is_its_own_for_good(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        assert await connected(store, "", "u1", "u1", "") == ["", "u1", "u1", ""]
    async with EdgeStore(tmp_path) as store:
        assert await store.state(CLUSTER_STATE) == "u1"
        (told,) = await connected(store, "u2")
        assert told.startswith("another_cluster: this edge belongs to cluster u1, and the cloud to")
        assert "--accept-cluster u2" in told
        assert await store.state(CLUSTER_STATE) == "u1"
        assert await connected(store, "u1") == ["u1"]


async def test_another_cluster_is_told_so_and_nothing_else(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        await store.set_state(CLUSTER_STATE, "u1")
        clouds = Clouds("u2")
        (link,) = clouds.links
        assert (await connect(Pin(clouds.dial, store))).startswith("another_cluster")
        assert link.closed == (NOT_OURS, "this edge belongs to cluster u1")
        assert link.nothing_was_said()


async def test_the_reason_fits_into_a_close_frame(tmp_path: Path) -> None:
    async with EdgeStore(tmp_path) as store:
        clouds = Clouds("u" * 64, "v" * 64)
        pin = Pin(clouds.dial, store)
        await connect(pin)
        await connect(pin)
        assert clouds.links[1].closed is not None
        assert len(clouds.links[1].closed[1]) <= 123  # RFC 6455, section 5.5


async def test_an_edge_changes_over_to_the_cluster_that_it_may_accept_and_no_other(
    tmp_path: Path,
) -> None:
    async with EdgeStore(tmp_path) as store:
        await store.set_state(CLUSTER_STATE, "u1")
        told = await connected(store, "u3", "u1", "u2", "u1", accepted="u2")
        assert told[0].startswith("another_cluster")
        assert told[1:3] == ["u1", "u2"]
        # What it has left it does not go back to: its pods have ended.
        assert told[3].startswith("another_cluster: this edge belongs to cluster u2")
        assert await store.state(CLUSTER_STATE) == "u2"


async def test_on_a_full_disk_it_belongs_to_a_cluster_while_it_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    memory = FullDisk()
    told = await connected(memory, "u1", "u1", "u2")
    assert told[:2] == ["u1", "u1"]
    assert told[2].startswith("another_cluster")
    assert memory.writes == ["u1"]
    assert "the cluster cannot be stored" in caplog.text


async def test_an_edge_that_cannot_read_where_it_belongs_says_nothing_to_anybody() -> None:
    memory = FullDisk(held="u1", is_readable=False)
    clouds = Clouds("u1", "u1")
    pin = Pin(clouds.dial, memory)
    assert (await connect(pin)).startswith("store_error: ")
    assert clouds.links[0].nothing_was_said()
    memory.is_readable = True
    assert await connect(pin) == "u1"
