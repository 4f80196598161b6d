"""The record of an earlier version is taken over.

Real: an API server of this module's own, since a cluster has one such record.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.trust import authoritystore, keptsecrets
from cloudcore.trust.earlierledger import CONFIGMAP
from cloudcore.trust.ledger import Ledger
from common.errors import RemoteError
from common.issuing import Issued
from common.names import NodeID
from common.status import failure
from deploy.devcluster.controlplane import API_ONLY, ControlPlane

pytestmark = pytest.mark.e2e

UNTIL = datetime(2027, 11, 24, 9, 31, 4, tzinfo=UTC)
PATH = kinds.CONFIGMAPS.path(keptsecrets.NAMESPACE, CONFIGMAP)


@pytest.fixture(scope="module")
def own_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        running = ControlPlane(tmp_path_factory.mktemp("own-api"), components=API_ONLY)
        runner.run(running.start())
        yield running
        runner.run(running.stop())


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    """A cluster without a record."""
    async with KubeClient(own_api.kubeconfig) as client:
        await authoritystore.load_authorities(client, datetime.now(UTC))  # makes the namespace
        collection = kinds.CONFIGMAPS.path(keptsecrets.NAMESPACE)
        for one in msgspec.json.decode(await client.get(collection))["items"]:
            if one["metadata"]["name"].startswith("edgecertificate"):
                await client.delete(f"{collection}/{one['metadata']['name']}")
        yield client


def entry(serial: str) -> str:
    return msgspec.json.encode({"serial": serial, "notAfter": "2027-11-24T09:31:04Z"}).decode()


async def write_earlier(api: KubeClient, **serials: str) -> None:
    """Write the record as the earlier version did."""
    data = {node: entry(serial) for node, serial in serials.items()}
    made = {"metadata": {"name": CONFIGMAP}, "data": data}
    path = kinds.CONFIGMAPS.path(keptsecrets.NAMESPACE)
    await api.create(path, msgspec.json.encode(made))


async def earlier(api: KubeClient) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(await api.get(PATH))
    return found


async def serial_of(ledger: Ledger, node: str) -> str | None:
    found = await ledger.find(NodeID(node))
    return None if found is None else found.serial


async def test_what_it_holds_is_known_and_nothing_of_it_is_lost(api: KubeClient) -> None:
    await write_earlier(api, first="a", second="b")
    data = (await earlier(api))["data"]
    ledger = Ledger(api)
    found = await ledger.find(NodeID("first"))
    assert found is not None
    assert (found.serial, found.not_after) == ("a", UNTIL)
    await ledger.record(NodeID("first"), Issued(b"", 0xC, UNTIL), found)
    for one in (ledger, Ledger(api)):
        assert [await serial_of(one, node) for node in ("first", "second")] == ["c", "b"]
    assert (await earlier(api))["data"] == data


async def test_a_cloudcore_of_the_earlier_version_issues_nothing_any_more(api: KubeClient) -> None:
    await write_earlier(api, first="a")
    await Ledger(api).find(NodeID("any"))
    change = msgspec.json.encode({"data": {"second": entry("b")}})
    with pytest.raises(RemoteError, match="immutable"):
        await api.patch(PATH, change, content_type=MERGE_PATCH)


async def test_many_that_take_over_at_once_do_not_disturb_each_other(api: KubeClient) -> None:
    nodes = {f"n{number}": f"{number:x}" for number in range(40)}
    await write_earlier(api, **nodes)
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(Ledger(api).find(NodeID(node)))
    ledger = Ledger(api)
    assert {node: await serial_of(ledger, node) for node in nodes} == nodes


class Failing(KubeClient):
    """Refuses the second object that it is to create, once."""

    creations = 0

    async def create(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        self.creations += 1
        if self.creations == 2:
            raise RemoteError(failure(503, "away"))
        return await super().create(path, body, as_node=as_node)


async def test_what_was_broken_off_is_taken_up_again(
    api: KubeClient, own_api: ControlPlane
) -> None:
    await write_earlier(api, first="a", second="b", third="c")
    async with Failing(own_api.kubeconfig) as failing:
        ledger = Ledger(failing)
        with pytest.raises(RemoteError, match="away"):
            await ledger.find(NodeID("third"))
        assert await serial_of(ledger, "third") == "c"
    assert [await serial_of(Ledger(api), node) for node in ("first", "second")] == ["a", "b"]


async def test_where_there_is_none_nothing_is_made(api: KubeClient) -> None:
    assert await serial_of(Ledger(api), "any") is None
    assert await api.find(PATH) is None
