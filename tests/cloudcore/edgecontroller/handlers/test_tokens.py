"""Tokens of service accounts are for the node that runs the pod.

Real: API server with NodeRestriction, the whole controller. The hub is a module that listens.
"""

from typing import Any

from cloudcore.kube.client import KubeClient
from common.beehive.message import raw
from common.names import Operation
from tests.cloudcore.cluster import controlled, load, make_edge_node, make_pod, pod_object


def token_request(name: str, uid: str) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": None},
        "spec": {
            "audiences": None,
            "expirationSeconds": 3600,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid},
        },
        "status": {"token": "", "expirationTimestamp": None},
    }


async def test_a_node_gets_tokens_for_its_own_pods_only(client: KubeClient, namespace: str) -> None:
    async with controlled(client) as cloud:
        node, thief = await make_edge_node(cloud), await make_edge_node(cloud)
        wanted = pod_object(namespace, "web", node)
        wanted["spec"]["automountServiceAccountToken"] = True
        pod = await make_pod(cloud, wanted)
        request = raw(token_request("web", pod["metadata"]["uid"]))
        resource = f"{namespace}/serviceaccounttoken/default"
        answer = await cloud.hub.ask(Operation.QUERY, f"node/{node}/{resource}", request)
        token = load(answer.content)
        assert token["kind"] == "TokenRequest"
        assert token["status"]["token"].count(".") == 2
        stolen = await cloud.hub.ask(Operation.QUERY, f"node/{thief}/{resource}", request)
        assert load(stolen.content)["ErrStatus"]["code"] == 403
        missing = await cloud.hub.ask(
            Operation.QUERY, f"node/{node}/{namespace}/serviceaccounttoken/none", request
        )
        assert load(missing.content)["ErrStatus"]["code"] in (403, 404)
