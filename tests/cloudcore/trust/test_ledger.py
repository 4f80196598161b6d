"""The record of certificates. Real: the API server."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import Entry, record_path
from common.errors import RemoteError
from common.issuing import Issued
from common.names import NodeID
from common.status import failure
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import unique

NOW = datetime.now(UTC).replace(microsecond=0)
UNTIL = NOW + timedelta(days=365)


def issued(serial: int) -> Issued:
    return Issued(b"", serial, UNTIL, f"key {serial}")


@pytest.fixture
async def ledger(client: KubeClient) -> Ledger:
    await authoritystore.load_authorities(client, NOW)  # makes the namespace
    return Ledger(client)


async def serial_of(ledger: Ledger, node: NodeID) -> str | None:
    entry = await ledger.find(node)
    return None if entry is None else entry.serial


@pytest.mark.e2e
@pytest.mark.parametrize("shape", ["{}", "{}" + 230 * "x", "{}..no-name-of-an-object"])
async def test_what_was_issued_last_is_known_to_every_cloudcore(
    ledger: Ledger, client: KubeClient, shape: str
) -> None:
    node = NodeID(shape.format(unique("n")))
    assert await ledger.find(node) is None
    await ledger.record(node, issued(0xABC), None)
    entry = await Ledger(client).find(node)
    assert entry is not None
    assert (entry.serial, entry.not_after) == ("abc", UNTIL)
    assert entry.key_hash == f"key {0xABC}"
    await ledger.record(node, issued(0xDEF), entry)
    assert await serial_of(ledger, node) == "def"
    with pytest.raises(RemoteError, match="409"):
        await ledger.record(node, issued(1), entry)
    assert await serial_of(ledger, node) == "def"


@pytest.mark.e2e
async def test_of_many_that_want_one_name_one_gets_it(client: KubeClient, ledger: Ledger) -> None:
    node = NodeID(unique("n"))
    outcomes: dict[int, int] = {}

    async def want(serial: int) -> None:
        try:
            await Ledger(client).record(node, issued(serial), None)
            outcomes[serial] = 200
        except RemoteError as error:
            outcomes[serial] = error.status.code

    async with asyncio.TaskGroup() as group:
        for serial in range(1, 6):
            group.create_task(want(serial))
    entry = await ledger.find(node)
    assert entry is not None
    assert outcomes.pop(int(entry.serial, 16)) == 200
    assert set(outcomes.values()) == {409}


@pytest.mark.e2e
async def test_a_fleet_that_enrols_at_once_is_recorded_as_a_whole(ledger: Ledger) -> None:
    nodes = [NodeID(unique("n")) for _ in range(60)]
    async with asyncio.TaskGroup() as group:
        for serial, node in enumerate(nodes):
            group.create_task(ledger.record(node, issued(serial), None))
    assert [await serial_of(ledger, node) for node in nodes] == [f"{n:x}" for n in range(60)]


class Refusing(KubeClient):
    """Creates nothing."""

    async def create(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        raise RemoteError(failure(503, f"away: {path} {len(body)} {as_node}"))


@pytest.mark.e2e
async def test_an_api_server_that_is_away_is_not_taken_for_a_rival(
    control_plane: ControlPlane,
) -> None:
    async with Refusing(control_plane.kubeconfig) as client:
        with pytest.raises(RemoteError, match="503"):
            await Ledger(client).record(NodeID(unique("n")), issued(1), None)


@pytest.mark.e2e
@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"serial":"1","notAfter":"soon"}'])
async def test_a_damaged_entry_is_named(ledger: Ledger, client: KubeClient, damaged: str) -> None:
    node = NodeID(unique("n"))
    await ledger.record(node, issued(1), None)
    path = record_path(node)
    configmap: dict[str, Any] = msgspec.json.decode(await client.get(path))
    configmap["data"]["certificate"] = damaged
    await client.update(path, msgspec.json.encode(configmap))
    with pytest.raises(RemoteError, match=f"edgecertificate.{node}: damaged"):
        await ledger.find(node)
    assert node not in (listing := await ledger.list_all()).entries
    assert any(node in text for text in listing.damaged)
    await client.delete(path)


@pytest.mark.e2e
async def test_who_is_revoked_while_it_renews_gets_nothing(ledger: Ledger) -> None:
    node = NodeID(unique("n"))
    await ledger.record(node, issued(1), None)
    seen = await ledger.find(node)
    await ledger.revoke(node, NOW)
    with pytest.raises(RemoteError, match="409"):
        await ledger.record(node, issued(2), seen, presented=1)
    now = await ledger.find(node)
    assert now is not None
    assert (now.revoked_at, now.accepts(1), now.accepts(2)) == (NOW, False, False)
    await ledger.record(node, issued(3), now, issuer="abc")
    good = await ledger.find(node)
    assert good is not None
    assert (good.issuer, good.accepts(1), good.accepts(3)) == ("abc", False, True)


@pytest.mark.e2e
async def test_a_revocation_that_meets_an_enrolment_holds_for_what_was_there(
    client: KubeClient, ledger: Ledger
) -> None:
    node = NodeID(unique("n"))
    await ledger.record(node, issued(1), None)
    first = True

    class Overtaken(Ledger):
        """Somebody else writes between its reading and its writing, once."""

        async def find(self, node: NodeID) -> Entry | None:
            nonlocal first
            seen = await super().find(node)
            if first:
                first = False
                await ledger.record(node, issued(2), seen)
            return seen

    await Overtaken(client).revoke(node, NOW)
    entry = await ledger.find(node)
    assert entry is not None
    assert entry.serial == "2"
    assert entry.is_shut_out
    assert await ledger.change(node, lambda _: None) == await ledger.find(node)


@pytest.mark.e2e
async def test_an_entry_that_is_always_written_by_others_is_given_up(
    client: KubeClient, ledger: Ledger
) -> None:
    node = NodeID(unique("n"))

    class Late(Ledger):
        """What it has read is not there any more."""

        async def find(self, node: NodeID) -> Entry | None:
            del node
            return Entry("1", NOW, version="1")

    with pytest.raises(RemoteError, match="all the time"):
        await Late(client).revoke(node, NOW)
    assert await ledger.find(node) is None


@pytest.mark.e2e
async def test_all_records_are_listed_page_by_page(
    client: KubeClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudcore.kube.client._PAGE_ITEMS", 2)
    nodes = [NodeID(unique("n")) for _ in range(5)]
    for serial, node in enumerate(nodes):
        await ledger.record(node, issued(serial), None)
    await ledger.revoke(nodes[0], NOW)
    listing = await Ledger(client).list_all()
    assert [listing.entries[node].serial for node in nodes] == ["0", "1", "2", "3", "4"]
    assert [listing.entries[node].is_shut_out for node in nodes] == [True] + 4 * [False]
