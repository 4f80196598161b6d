"""P10: after a cut that made the node controller give the node up, the API soon says the truth.

Real: control plane with Kubernetes' own grace period, cloudcore and edgecore as processes. The link
is cut by a proxy for longer than that period.
"""

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import is_ready, restarts, until_metric
from tests.e2e.conftest import Join, pod

GIVEN_UP_S = 90.0  # the grace period of 50 s, and the controller's own pace
RECONNECTED_S = 20.0
CONVERGED_S = 10.0


def conditions(found: Object) -> dict[str, str]:
    return {c["type"]: c["status"] for c in found["status"].get("conditions", [])}


@pytest.mark.timeout(240)
async def test_a_node_that_was_given_up_is_ready_again_soon_after_its_return(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    edge = await join()
    pods = f"/api/v1/namespaces/{namespace}/pods"
    node = f"/api/v1/nodes/{edge.daemon.node}"
    await api.create(pods, pod("web", edge.daemon.node, script="while true; do sleep 1; done"))
    await api.wait(f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready")
    edge.cut()
    await api.wait(
        node,
        lambda n: n is not None and conditions(n)["Ready"] == "Unknown",
        "the node controller has given the node up",
        timeout_s=GIVEN_UP_S,
    )
    await api.wait(
        f"{pods}/web",
        lambda p: p is not None and conditions(p)["Ready"] == "False",
        "it has called the pod not ready",
        timeout_s=GIVEN_UP_S,
    )
    edge.mend()
    await until_metric(cloud, "cloudcore_connected_nodes", 1, timeout_s=RECONNECTED_S)
    await api.wait(
        node,
        lambda n: n is not None and is_ready(n),
        "the node is Ready again",
        timeout_s=CONVERGED_S,
    )
    found = await api.wait(
        f"{pods}/web",
        lambda p: p is not None and is_ready(p),
        "the pod is Ready again",
        timeout_s=CONVERGED_S,
    )
    assert found is not None
    assert restarts(found) == 0
