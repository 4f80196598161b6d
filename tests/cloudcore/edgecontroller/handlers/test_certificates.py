"""Certificate signing requests are refused, and it is said why.

Real: API server, the whole controller. The hub is a module that listens.
"""

from cloudcore.kube.client import KubeClient
from common.names import Operation
from tests.cloudcore.cluster import controlled, load, make_edge_node


async def test_a_signing_request_is_refused_with_the_reason(client: KubeClient) -> None:
    async with controlled(client) as cloud:
        node = await make_edge_node(cloud)
        resource = f"node/{node}/default/certificatesigningrequest/csr-1"
        inserted = load((await cloud.hub.ask(Operation.INSERT, resource)).content)
        assert inserted["Object"] is None
        asked = load((await cloud.hub.ask(Operation.QUERY, resource)).content)
        for error in (inserted["Err"]["ErrStatus"], asked["ErrStatus"]):
            assert (error["code"], error["reason"]) == (405, "MethodNotAllowed")
            assert "enrolment" in error["message"]
