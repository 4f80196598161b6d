"""``cloudcore nodes``, from its arguments to what it prints. Real: the API server.

That a cloudcore writes what is told here: ``tests/e2e/test_nodes.py``.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from cloudcore.commands.nodes import see_nodes
from cloudcore.edgecontroller.leaseform import CLOUDCORE
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore
from cloudcore.trust.ledger import Ledger
from common.clock import rfc3339_micro
from common.errors import RemoteError
from common.issuing import Issued
from common.names import NODE_LEASE_NAMESPACE, NodeID
from common.status import failure
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import body, make_node
from tests.cloudcore.commands.running import Run, runner

pytestmark = pytest.mark.e2e

UNTIL = datetime(2040, 1, 1, tzinfo=UTC)


@pytest.fixture
def nodes(
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A function that runs ``cloudcore nodes …`` and returns exit code, output and errors."""
    return runner("nodes", control_plane.kubeconfig, monkeypatch, capsys)


@pytest.fixture
async def connected(client: KubeClient) -> NodeID:
    """A node that was heard of just now, and has a certificate."""
    await authoritystore.load_authorities(client, datetime.now(UTC))  # as `cloudcore run` does
    node = await make_node(client)
    lease = {
        "metadata": {"name": node, "annotations": {CLOUDCORE: "cloud-7"}},
        "spec": {"holderIdentity": node, "renewTime": rfc3339_micro(datetime.now(UTC))},
    }
    await client.create(kinds.LEASES.path(NODE_LEASE_NAMESPACE), body(lease))
    await Ledger(client).record(node, Issued(b"", 1, UNTIL, "k"), None)
    return node


async def test_a_table_for_people_has_the_sum_beside_it(nodes: Run, connected: NodeID) -> None:
    code, output, errors = await nodes("--output=table")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in output.splitlines()}
    assert rows["NODE"][:3] == ["NODE", "READY", "CLOUDCORE"]
    assert rows[connected][2] == "cloud-7"
    assert rows[connected][7] == "2040-01-01T00:00:00Z"
    assert " nodes: " in errors


async def test_programs_read_the_same_in_json_and_yaml(nodes: Run, connected: NodeID) -> None:
    code, output, errors = await nodes("--output=json")
    assert (code, errors) == (0, "")
    items = {one["node"]: one for one in json.loads(output)}
    assert items[connected]["cloudcore"] == "cloud-7"
    _, output, _ = await nodes("--output=yaml")
    assert {one["node"]: one for one in yaml.safe_load(output)}[connected] == items[connected]


async def test_who_may_not_read_the_certificates_sees_the_nodes(
    client: KubeClient, connected: NodeID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Ledger) -> None:
        raise RemoteError(failure(403, "configmaps is forbidden"))

    monkeypatch.setattr(Ledger, "list_all", refuse)
    seen = await see_nodes(client)
    state = next(state for state in seen.states if state.node == connected)
    assert (state.cloudcore, state.certificate_until) == ("cloud-7", None)
    assert seen.faults == ["certificates are not shown: configmaps is forbidden"]
    assert abs(seen.now - datetime.now(UTC)) < timedelta(minutes=5)


async def test_an_api_server_that_fails_is_not_taken_for_one_without_certificates(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Ledger) -> None:
        raise RemoteError(failure(503, "away"))

    monkeypatch.setattr(Ledger, "list_all", fail)
    with pytest.raises(RemoteError, match="away"):
        await see_nodes(client)
