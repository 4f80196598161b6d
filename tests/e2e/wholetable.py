"""Everything that a node may ask for, asked of cloudcore's controller and so of the API server."""

import json
from typing import Any

from cloudcore.kube.client import KubeClient
from common.beehive.message import Message, raw
from common.names import NodeID, Operation
from deploy.devcluster.api import Api, Object
from tests.cloudcore.cluster import (
    Controlled,
    claim_object,
    controlled,
    eventually,
    node_object,
    pod_object,
)

NODE = NodeID("whole")
_MIRROR = {"kubernetes.io/config.mirror": "hash"}


async def ask_for_everything(client: KubeClient, api: Api, namespace: str) -> None:
    """Ask as a node of a pod of its own; most is answered, some is refused by the API server."""
    async with controlled(client) as cloud:
        await _be_a_node(cloud)
        pod = await _have_a_pod(cloud, api, namespace)
        await _ask_about(cloud, namespace, pod)
        await _tell_events(cloud, namespace)
        await _ask(cloud, Operation.DELETE, f"{namespace}/pod/web", pod["metadata"]["uid"])


async def _be_a_node(cloud: Controlled) -> None:
    node, lease = f"null/node/{NODE}", f"kube-node-lease/lease/{NODE}"
    await _ask(cloud, Operation.INSERT, node, node_object(NODE, {}))
    await eventually(lambda: _is_known(cloud))
    await _ask(cloud, Operation.UPDATE, node, node_object(NODE, {"site": "roof"}))
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    await _ask(cloud, Operation.PATCH, f"null/nodepatch/{NODE}", {"status": status})
    spec = {"holderIdentity": NODE, "renewTime": "2026-01-01T00:00:00.000000Z"}
    metadata = {"name": NODE, "namespace": "kube-node-lease"}
    kept = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata}
    for operation in (Operation.INSERT, Operation.UPDATE):
        await _ask(cloud, operation, lease, {**kept, "spec": spec})
    await _ask(cloud, Operation.QUERY, lease, None)


async def _is_known(cloud: Controlled) -> bool:
    return cloud.locations.is_edge_node(NODE)


async def _have_a_pod(cloud: Controlled, api: Api, namespace: str) -> Object:
    base = f"/api/v1/namespaces/{namespace}"
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/srv"},
    }
    await api.create("/api/v1/persistentvolumes", {"metadata": {"name": "disk"}, "spec": volume})
    await api.create(f"{base}/persistentvolumeclaims", claim_object("data", "disk"))
    pod = pod_object(namespace, "web", NODE)
    pod["spec"]["serviceAccountName"] = "default"
    pod["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    made = await api.create(f"{base}/pods", pod)

    async def is_known() -> bool:
        return cloud.locations.pod_node(namespace, "web") == NODE

    await eventually(is_known)
    return made


async def _ask_about(cloud: Controlled, namespace: str, pod: Object) -> None:
    uid = pod["metadata"]["uid"]
    status = {"metadata": {"uid": uid}, "status": {"phase": "Running"}}
    await _ask(cloud, Operation.PATCH, f"{namespace}/podpatch/web", status)
    await _ask(cloud, Operation.QUERY, f"{namespace}/persistentvolumeclaim/data", None)
    await _ask(cloud, Operation.QUERY, "null/persistentvolume/disk", None)
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": uid}
    token = {"spec": {"audiences": [], "boundObjectRef": bound}}
    await _ask(cloud, Operation.QUERY, f"{namespace}/serviceaccounttoken/default", token)
    mirror = pod_object(namespace, "mirror", NODE)
    mirror["metadata"]["annotations"] = _MIRROR
    await _ask(cloud, Operation.INSERT, f"{namespace}/pod/mirror", mirror)


async def _tell_events(cloud: Controlled, namespace: str) -> None:
    resource = f"{namespace}/event/web.17a"
    event = {
        "metadata": {"name": "web.17a", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "web"},
        "reason": "Started",
        "type": "Normal",
    }
    for operation in (Operation.INSERT, Operation.UPDATE):
        await _ask(cloud, operation, resource, event)
    patch = {"event": event, "patchData": json.dumps({"count": 7})}
    await _ask(cloud, Operation.PATCH, resource, patch)


async def _ask(cloud: Controlled, operation: Operation, resource: str, content: Any) -> Message:
    return await cloud.hub.ask(operation, f"node/{NODE}/{resource}", raw(content))
