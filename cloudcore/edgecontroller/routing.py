"""Who is told what when an object changes. Pure.

Source: KubeEdge cloud/pkg/edgecontroller/controller/downstream.go. Unlike there, a change of a
pod's status is told as well: it may be somebody else's, and the edge restates its own.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.kube.views import PodView
from common.names import CLUSTER_SCOPE, NodeID, Operation, ResourceType


class Delivery(Struct, frozen=True):
    """One object, for one node."""

    node: NodeID
    operation: Operation
    resource_type: ResourceType
    namespace: str
    name: str
    is_restated: bool = False
    """Says what the node should hold, not that the object has changed or ended: an inventory's
    answer. The edge then takes it also where its version is not newer."""


_OPERATIONS: Final[Mapping[ChangeType, Operation]] = {
    ChangeType.ADDED: Operation.INSERT,
    ChangeType.MODIFIED: Operation.UPDATE,
    ChangeType.DELETED: Operation.DELETE,
}


def route(resource_type: ResourceType, change: Change, locations: LocationCache) -> list[Delivery]:
    """Return who is told of ``change``, and as what.

    Args:
        resource_type: what the edge calls the object.
        change: as the cache of that kind tells it.
        locations: as they are after the change; a deleted pod's node is taken from the pod.
    """
    operation = _OPERATIONS[change.type]
    nodes: Iterable[NodeID]
    match resource_type:
        case ResourceType.POD:
            nodes, operation = _pod(change, locations, operation)
        case ResourceType.NODE:
            is_edge = change.before is not None or locations.is_edge_node(NodeID(change.key.name))
            nodes = [NodeID(change.key.name)] if is_edge else []
            operation = _never_inserted(operation)
        case ResourceType.CONFIGMAP:
            nodes = locations.nodes_of_configmap(change.key)
        case ResourceType.SECRET:
            nodes = locations.nodes_of_secret(change.key)
            operation = _never_inserted(operation)
        case ResourceType.SERVICE:
            nodes = sorted(locations.nodes_of_service(change.key))
        case _:
            raise AssertionError(f"{resource_type} is never sent")
    namespace = change.key.namespace or CLUSTER_SCOPE
    return [Delivery(node, operation, resource_type, namespace, change.key.name) for node in nodes]


def _pod(
    change: Change, locations: LocationCache, operation: Operation
) -> tuple[list[NodeID], Operation]:
    if change.now is None:
        return [], operation  # gone, and was never one of ours
    view = change.now.view
    assert isinstance(view, PodView)
    if not locations.is_edge_node(view.node):
        return [], operation
    if operation is not Operation.DELETE:
        # New to the node is what it was not sent before: a pod is made first and bound later. One
        # that is being deleted already is an update, by which the edge ends it.
        is_new = change.before is None and view.metadata.deletionTimestamp is None
        operation = Operation.INSERT if is_new else Operation.UPDATE
    return [view.node], operation


def _never_inserted(operation: Operation) -> Operation:
    """KubeEdge's edge knows Nodes and Secrets as updates only."""
    return Operation.UPDATE if operation is Operation.INSERT else operation
