"""What a node should have, as far as the caches know. Pure."""

from collections.abc import Iterator

from cloudcore.edgecontroller.location import RefType
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.diff import Item
from common.names import NodeID, ResourceType


def wanted(state: ClusterState, node: NodeID, *, services: bool) -> Iterator[Item]:
    """Yield what ``node`` should have; ``services`` only where the edge knows such things."""
    locations = state.locations
    if locations.is_edge_node(node):
        yield from _item(state.nodes, ObjectKey("", node))
    for ref in locations.named_by(node):
        if ref.type is RefType.CONFIGMAP:
            yield from _item(state.configmaps, ref.key)
        elif ref.type is RefType.SECRET:
            yield from _item(state.secrets, ref.key)
    for key in locations.services_of(node) if services else ():
        yield from _item(state.services, key)
    for key in locations.pods_of(node):
        yield from _item(state.pods, key)


def is_wanted(state: ClusterState, node: NodeID, item: Item, now: RawObject) -> bool:
    """Whether ``node`` should still have ``item``, which it should a moment ago.

    Args:
        state: what is known.
        node: who should have it.
        item: as ``wanted`` has told of it.
        now: what has that name now.
    """
    if now.view.metadata.uid != item.uid:
        return False
    locations = state.locations
    match item.resource_type:
        case ResourceType.POD:
            return locations.pod_node(*item.key) == node
        case ResourceType.CONFIGMAP | ResourceType.SECRET as resource_type:
            return locations.names(node, resource_type, *item.key)
        case ResourceType.SERVICE:
            return locations.needs_service(node, item.key)
        case _:
            return locations.is_edge_node(node)


def _item(followed: Followed, key: ObjectKey) -> Iterator[Item]:
    """Yield the object as it is known; nothing where there is none."""
    identity = followed.cache.identity(key)
    if identity is not None:
        assert followed.resource_type is not None
        yield Item(followed.resource_type, key, *identity, followed.cache.content(key))
