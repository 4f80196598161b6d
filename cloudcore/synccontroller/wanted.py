"""What a node should have, as far as the caches know. Pure."""

from collections.abc import Iterator

from cloudcore.edgecontroller.location import RefType
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.diff import Item
from common.names import NodeID


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


def _item(followed: Followed, key: ObjectKey) -> Iterator[Item]:
    """Yield the object as it is known; nothing where there is none."""
    identity = followed.cache.identity(key)
    if identity is not None:
        assert followed.resource_type is not None
        yield Item(followed.resource_type, key, *identity, followed.cache.content(key))
