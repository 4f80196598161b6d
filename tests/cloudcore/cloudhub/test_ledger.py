"""The record of certificates. Real: the API server."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cloudcore.cloudhub import credentials
from cloudcore.cloudhub.ledger import CONFIGMAP, Ledger
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.errors import RemoteError
from common.names import NodeID
from common.pki import Issued
from tests.cloudcore.cluster import unique

pytestmark = pytest.mark.e2e

NOW = datetime.now(UTC).replace(microsecond=0)


def issued(serial: int) -> Issued:
    return Issued(b"", serial, NOW + timedelta(days=365))


@pytest.fixture
async def ledger(client: KubeClient) -> Ledger:
    await credentials.load_authority(client, NOW)  # makes the namespace
    return Ledger(client)


async def test_what_was_issued_last_is_known_to_every_cloudcore(
    ledger: Ledger, client: KubeClient
) -> None:
    node = NodeID(unique("n"))
    assert await ledger.find(node) is None
    await ledger.record(node, issued(0xABC), None)
    entry = await Ledger(client).find(node)
    assert entry is not None
    assert (entry.serial, entry.not_after) == ("abc", NOW + timedelta(days=365))
    await ledger.record(node, issued(0xDEF), entry)
    renewed = await ledger.find(node)
    assert renewed is not None
    assert renewed.serial == "def"


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


async def test_a_fleet_that_enrols_at_once_is_recorded_as_a_whole(ledger: Ledger) -> None:
    nodes = [NodeID(unique("n")) for _ in range(60)]
    async with asyncio.TaskGroup() as group:
        for serial, node in enumerate(nodes):
            group.create_task(ledger.record(node, issued(serial), None))
    found = [await ledger.find(node) for node in nodes]
    assert [entry.serial for entry in found if entry] == [f"{n:x}" for n in range(60)]


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"serial":"1","notAfter":"soon"}'])
async def test_a_damaged_entry_is_named(ledger: Ledger, client: KubeClient, damaged: str) -> None:
    node = NodeID(unique("n"))
    await ledger.record(node, issued(1), None)
    path = kinds.CONFIGMAPS.path(credentials.NAMESPACE, CONFIGMAP)
    configmap: dict[str, Any] = msgspec.json.decode(await client.get(path))
    configmap["data"][node] = damaged
    await client.update(path, msgspec.json.encode(configmap))
    with pytest.raises(RemoteError, match=f"edgecertificates, key {node}"):
        await ledger.find(node)
