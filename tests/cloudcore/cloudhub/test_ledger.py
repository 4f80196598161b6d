"""The record of certificates. Real: the API server."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cloudcore.cloudhub import credentials
from cloudcore.cloudhub.ledger import Ledger, record_name
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.errors import RemoteError
from common.names import NodeID
from common.pki import Issued
from common.status import failure
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import unique

NOW = datetime.now(UTC).replace(microsecond=0)
UNTIL = NOW + timedelta(days=365)


def issued(serial: int) -> Issued:
    return Issued(b"", serial, UNTIL, f"key {serial}")


@pytest.fixture
async def ledger(client: KubeClient) -> Ledger:
    await credentials.load_authority(client, NOW)  # makes the namespace
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
    path = kinds.CONFIGMAPS.path(credentials.NAMESPACE, record_name(node))
    configmap: dict[str, Any] = msgspec.json.decode(await client.get(path))
    configmap["data"]["certificate"] = damaged
    await client.update(path, msgspec.json.encode(configmap))
    with pytest.raises(RemoteError, match=f"edgecertificate.{node}: damaged"):
        await ledger.find(node)


def test_every_node_has_a_record_of_its_own_name() -> None:
    assert record_name(NodeID("shop-17.example")) == "edgecertificate.shop-17.example"
    names = {record_name(NodeID(node)) for node in ("a..b", "a.-b", "a" * 253, "a" * 252)}
    assert len(names) == 4
    assert all(len(name) <= 253 for name in names)
