"""``cloudcore ca``, from its arguments to what it prints. Real: an API server of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore, keptsecrets, ledgerentry
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import Entry
from common import pki
from common.errors import RemoteError
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import make_node
from tests.cloudcore.commands.running import Run, runner

pytestmark = pytest.mark.e2e

NOW = datetime.now(UTC).replace(microsecond=0)
SECRET = kinds.SECRETS.path(keptsecrets.NAMESPACE, authoritystore.CA_SECRET)


@pytest.fixture
def ca(
    own_api: ControlPlane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs ``cloudcore ca …`` and returns exit code, output and errors."""
    return runner("ca", own_api.kubeconfig, monkeypatch, capsys)


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    """A cluster without nodes, records and an authority."""
    async with KubeClient(own_api.kubeconfig) as client:
        for path in (SECRET, *[kinds.NODES.path(name=name) for name in await nodes_of(client)]):
            with suppress(RemoteError):  # not there
                await client.delete(path)
        for node in (await Ledger(client).list_all()).entries:
            await client.delete(ledgerentry.record_path(node))
        yield client


async def nodes_of(client: KubeClient) -> list[str]:
    found = msgspec.json.decode(await client.get(kinds.NODES.path()))
    return [node["metadata"]["name"] for node in found["items"]]


async def write(client: KubeClient, node: str, entry: Entry) -> None:
    await Ledger(client).change(
        NodeID(node), lambda seen: replace(entry, version="" if seen is None else seen.version)
    )


async def authorities_of(client: KubeClient) -> Authorities:
    found = await authoritystore.find_authorities(client)
    assert found is not None
    return found


async def test_where_there_is_no_authority_there_is_nothing_to_replace(
    ca: Run, api: KubeClient
) -> None:
    del api
    for verb in ("status", "rotate", "finish"):
        code, output, errors = await ca(verb)
        assert (code, output) == (1, "")
        assert "no authority yet: `cloudcore run` makes one" in errors


async def test_while_nothing_is_replaced_the_status_is_one_authority(
    ca: Run, api: KubeClient
) -> None:
    only = await authoritystore.load_authorities(api, NOW)
    await make_node(api)
    code, output, errors = await ca("status")
    assert (code, errors) == (0, "")
    head, row = (line.split() for line in output.splitlines())
    assert head == ["AUTHORITY", "STATE", "UNTIL"]
    assert row[:2] == [only.fingerprint, "signs"]
    code, _, errors = await ca("finish")
    assert (code, "`cloudcore ca rotate` begins that" in errors) == (1, True)


async def test_a_rotation_from_its_beginning_to_its_end(ca: Run, api: KubeClient) -> None:
    old = (await authoritystore.load_authorities(api, NOW)).current
    node = await make_node(api)
    await write(api, node, Entry("1", NOW, issuer=pki.fingerprint(old.der)))
    code, output, errors = await ca("rotate")
    assert code == 0
    both = await authorities_of(api)
    assert output == f"the authority is now {both.fingerprint}\n"
    assert "cloudcore ca finish" in errors
    code, _, errors = await ca("rotate")
    assert (code, "being replaced already" in errors) == (1, True)

    _, output, _ = await ca("status")
    assert output.splitlines()[1].split()[:2] == [both.fingerprint, "signs"]
    assert output.splitlines()[2].split()[:2] == [pki.fingerprint(old.der), "replaced"]
    assert output.splitlines()[-1].split()[:2] == [node, "old"]
    code, output, errors = await ca("finish")
    assert (code, output) == (1, "")
    assert f"left behind, which have not got the new authority (1): {node}" in errors
    assert (await authorities_of(api)).previous is not None

    await write(api, node, Entry("2", NOW, issuer=both.fingerprint, authority=both.fingerprint))
    _, output, _ = await ca("status")
    assert output.endswith("all nodes have got the new one: `cloudcore ca finish`\n")
    code, output, errors = await ca("finish")
    assert (code, errors) == (0, "")
    assert output == f"the only authority is now {both.fingerprint}\n"
    assert (await authorities_of(api)).previous is None


async def test_who_is_left_behind_is_named(ca: Run, api: KubeClient) -> None:
    await authoritystore.load_authorities(api, NOW)
    node = await make_node(api)
    await ca("rotate")
    code, output, errors = await ca("finish", "--force")
    assert code == 0
    assert output.splitlines()[-1] == f"left behind: {node}"
    assert "cloudcore token create --node-name" in errors
    assert (await authorities_of(api)).previous is None


async def test_the_status_is_there_for_programs_too(ca: Run, api: KubeClient) -> None:
    old = await authoritystore.load_authorities(api, NOW)
    node = await make_node(api)
    await ca("rotate")
    both = await authorities_of(api)
    gone = NodeID("gone")
    await write(api, gone, Entry("1", NOW, issuer=both.fingerprint))
    _, output, _ = await ca("status", "-o", "json")
    said = json.loads(output)
    assert [one["fingerprint"] for one in said["authorities"]] == [
        both.fingerprint,
        old.fingerprint,
    ]
    assert said["behind"] == [
        {
            "node": "gone",
            "hasCertificate": True,
            "until": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
            "ready": None,
        },
        {"node": node, "hasCertificate": False, "until": None, "ready": "Unknown"},
    ]


async def test_nodes_that_are_no_edges_and_machines_long_gone_are_not_waited_for(
    ca: Run, api: KubeClient
) -> None:
    await authoritystore.load_authorities(api, NOW)
    await api.create(
        kinds.NODES.path(), msgspec.json.encode({"metadata": {"name": "master", "labels": {}}})
    )
    await write(api, "gone", Entry("1", NOW - timedelta(days=366)))
    await ca("rotate")
    assert (await ca("finish"))[0] == 0


async def test_more_nodes_than_a_page_of_the_api_has_are_all_looked_at(
    ca: Run, api: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await authoritystore.load_authorities(api, NOW)
    nodes = sorted([await make_node(api) for _ in range(5)])
    await ca("rotate")
    monkeypatch.setattr("cloudcore.kube.client._PAGE_ITEMS", 2)
    monkeypatch.setattr("cloudcore.commands.ca._NAMED", 3)
    _, output, _ = await ca("status", "--output=json")
    assert [one["node"] for one in json.loads(output)["behind"]] == nodes
    _, _, errors = await ca("finish")
    assert f"(5): {', '.join(nodes[:3])}, ..." in errors


async def test_what_is_not_known_stops_the_end_too(ca: Run, api: KubeClient) -> None:
    await authoritystore.load_authorities(api, NOW)
    await write(api, "n1", Entry("1", NOW))
    path = ledgerentry.record_path(NodeID("n1"))
    record = msgspec.json.decode(await api.get(path))
    record["data"]["certificate"] = "damaged"
    await api.update(path, msgspec.json.encode(record))
    await ca("rotate")
    assert "damaged, delete it" in (await ca("status"))[2]
    code, _, errors = await ca("finish")
    assert code == 1
    assert "damaged, delete it" in errors
    assert (await ca("finish", "--force"))[0] == 0
    await api.delete(path)
