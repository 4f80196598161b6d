"""``cloudcore cert``, from its arguments to what it prints. Real: the API server."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from cloudcore.commands.cert import readable
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.trust import authoritystore
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import record_path
from cloudcore.trust.tokenrecord import TokenRecord
from cloudcore.trust.tokenrecords import TokenRecords
from common.issuing import Issued
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import body, make_node, pod_object, unique
from tests.cloudcore.commands.running import Run, runner

NOW = datetime.now(UTC).replace(microsecond=0)
UNTIL = NOW + timedelta(days=365)
ISSUER = "0123456789abcdef" + 48 * "0"


@pytest.fixture
def cert(
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A function that runs ``cloudcore cert …`` and returns exit code, output and errors."""
    return runner("cert", control_plane.kubeconfig, monkeypatch, capsys)


@pytest.fixture
async def ledger(client: KubeClient) -> Ledger:
    await authoritystore.load_authorities(client, NOW)  # makes the namespace
    return Ledger(client)


async def enrol(ledger: Ledger, serial: int) -> NodeID:
    node = NodeID(unique("n"))
    await ledger.record(node, Issued(b"", serial, UNTIL), None, issuer=ISSUER)
    return node


def row_of(output: str, node: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.split()[0] == node]
    return line.split()


def item_of(output: str, node: str) -> dict[str, Any]:
    (item,) = [item for item in json.loads(output) if item["node"] == node]
    return dict(item)


@pytest.mark.e2e
async def test_certificates_are_listed_for_people_and_for_programs(
    cert: Run, ledger: Ledger
) -> None:
    good, out, back = [await enrol(ledger, serial) for serial in (0xABC, 2, 3)]
    for node in (out, back):
        await ledger.revoke(node, NOW)
    await ledger.record(back, Issued(b"", 4, UNTIL), await ledger.find(back))
    until, now = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (UNTIL, NOW))

    code, output, errors = await cert("list")
    assert (code, errors) == (0, "")
    assert output.split()[:5] == ["NODE", "SERIAL", "UNTIL", "REVOKED", "AUTHORITY"]
    assert row_of(output, good) == [good, "abc", until, "-", ISSUER[:16]]
    assert row_of(output, out) == [out, "2", until, now, ISSUER[:16]]
    assert row_of(output, back) == [back, "4", until, "-", "-"]

    _, output, _ = await cert("list", "-o", "json")
    common = {"until": until, "revoked": None, "revokedBefore": None, "authority": ISSUER}
    assert item_of(output, good) == {**common, "node": good, "serial": "abc"}
    assert item_of(output, out) == {**common, "node": out, "serial": "2", "revoked": now}
    changed = {"node": back, "serial": "4", "revokedBefore": now, "authority": None}
    assert item_of(output, back) == {**common, **changed}


@pytest.mark.e2e
async def test_the_certificate_of_one_node_is_shown(cert: Run, ledger: Ledger) -> None:
    node = await enrol(ledger, 0xABC)
    code, output, errors = await cert("show", node)
    assert (code, errors) == (0, "")
    rows = dict(line.split() for line in output.splitlines())
    assert (rows["node"], rows["serial"], rows["authority"]) == (node, "abc", ISSUER)
    assert "revoked" not in rows
    shown = yaml.safe_load((await cert("show", node, "-o", "yaml"))[1])
    assert shown == item_of((await cert("list", "-o", "json"))[1], node)
    code, output, errors = await cert("show", "nobody")
    assert (code, output) == (1, "")
    assert "nobody never got a certificate" in errors


@pytest.mark.e2e
async def test_a_damaged_record_is_named_beside_the_list(
    cert: Run, ledger: Ledger, client: KubeClient
) -> None:
    node = await enrol(ledger, 1)
    damage = body({"data": {"certificate": "?"}})
    await client.patch(record_path(node), damage, content_type=MERGE_PATCH)
    code, output, errors = await cert("list")
    await client.delete(record_path(node))
    assert code == 0
    assert node not in output
    assert f"edgecertificate.{node}: damaged, delete it" in errors


@pytest.mark.e2e
async def test_revoking_tells_what_the_node_was_able_to_read(
    cert: Run, ledger: Ledger, client: KubeClient, namespace: str
) -> None:
    node, other = await enrol(ledger, 1), await enrol(ledger, 2)
    for name, bound in (("own", node), ("other", other)):
        pod = pod_object(
            namespace, name, bound, configmaps=(f"{name}-web",), secrets=(f"{name}-db",)
        )
        await client.create(kinds.PODS.path(namespace), body(pod))
    code, output, errors = await cert("revoke", node)
    assert code == 0
    assert [line.split() for line in output.splitlines()] == [
        ["KIND", "NAMESPACE", "NAME"],
        ["Secret", namespace, "own-db"],
        ["ConfigMap", namespace, "own-web"],
    ]
    for words in (
        f"the certificates of {node} are revoked",
        "replace what is secret",
        f"spec.nodeName={node}",
        f"cloudcore token create --node-name {node}",
    ):
        assert words in errors
    seen, others = await ledger.find(node), await ledger.find(other)
    assert seen is not None
    assert others is not None
    assert (seen.is_shut_out, others.is_shut_out) == (True, False)


@pytest.mark.e2e
async def test_tokens_that_are_bound_to_the_node_go_with_its_certificates(
    cert: Run, ledger: Ledger, client: KubeClient
) -> None:
    node, records, names = await enrol(ledger, 1), TokenRecords(client), {}
    for kind, bound, expires in (
        ("bound", node, UNTIL),
        ("other", unique("n"), UNTIL),
        ("pattern", f"{node[:3]}*", UNTIL),
        ("any", "", UNTIL),
        ("expired", node, NOW - timedelta(seconds=1)),
    ):
        names[kind] = unique("t")
        record = TokenRecord(digest="0", expires=expires, node=bound)
        await records.create(names[kind], record)
    _, output, errors = await cert("revoke", node)
    assert output == ""
    assert f"tokens that are revoked with them: {names['bound']}\n" in errors
    assert "no Secret and no ConfigMap" in errors
    for kind, name in names.items():
        kept = await records.find(name)
        assert kept is not None
        assert (kept.record.revoked is not None) == (kind == "bound")


@pytest.mark.e2e
async def test_a_node_that_never_got_a_certificate_here_is_revoked_if_it_is_there(
    cert: Run, ledger: Ledger, client: KubeClient
) -> None:
    node = await make_node(client)
    assert (await cert("revoke", node))[0] == 0
    seen = await ledger.find(node)
    assert seen is not None
    assert seen.is_shut_out
    _, output, _ = await cert("list")
    assert row_of(output, node)[1:3] == ["-", "-"]


@pytest.mark.e2e
async def test_a_name_that_nobody_knows_is_revoked_only_by_force(cert: Run, ledger: Ledger) -> None:
    node = NodeID(unique("n"))
    code, output, errors = await cert("revoke", node)
    assert (code, output) == (1, "")
    assert f"neither a Node {node} nor a certificate" in errors
    assert await ledger.find(node) is None
    assert (await cert("revoke", node, "--force"))[0] == 0
    seen = await ledger.find(node)
    assert seen is not None
    assert seen.is_shut_out


def test_what_several_pods_name_is_told_once_and_secrets_first() -> None:
    pods = [
        pod_object("b", "p1", "n", configmaps=("web",), secrets=("db",)),
        pod_object("b", "p2", "n", configmaps=("web",)),
        pod_object("a", "p3", "n", secrets=("db", "a")),
    ]
    assert readable(pods) == [
        ("Secret", "a", "a"),
        ("Secret", "a", "db"),
        ("Secret", "b", "db"),
        ("ConfigMap", "b", "web"),
    ]
