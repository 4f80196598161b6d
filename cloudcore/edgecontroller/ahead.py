"""What was read for the edge before the stream of its kind has told of it. Pure.

As a rule the stream tells of it later, and of its end too. A list in place of the stream does not:
what was made and deleted in between, the list never had, and only whoever got it knows it. So that
is remembered, and whoever may hold it is compared.
"""

from typing import NamedTuple

from cloudcore.edgecontroller.location import LocationCache, Ref, RefType
from cloudcore.edgecontroller.state import Followed
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ObjectKey, PodView, number_of
from common.names import UID, NodeID, ResourceType


class _Given(NamedTuple):
    uid: UID
    number: int
    node: NodeID | None


class Ahead:
    """The objects that are ahead of the caches: few, since it does not last."""

    def __init__(self, locations: LocationCache) -> None:
        """Say by ``locations`` who may hold an object."""
        self._locations = locations
        self._given: dict[tuple[ResourceType, ObjectKey], _Given] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._given)

    def note(self, followed: Followed, one: RawObject) -> None:
        """Note an object that was read, if the cache of its kind does not know that one."""
        assert followed.resource_type is not None
        metadata, cache = one.view.metadata, followed.cache
        identity = cache.identity(metadata.key)
        number = number_of(metadata.resourceVersion)
        if number <= cache.version or (identity is not None and identity[0] == metadata.uid):
            return
        node = one.view.node if isinstance(one.view, PodView) else None
        self._given[followed.resource_type, metadata.key] = _Given(metadata.uid, number, node)

    def caught_up(self, followed: Followed, *, by_list: bool) -> set[NodeID]:
        """Forget what the cache has caught up with; return who may hold what it never knew.

        Args:
            followed: the kind whose cache has got on.
            by_list: a list is complete, so what happened before it was not told.
        """
        assert followed.resource_type is not None
        nodes: set[NodeID] = set()
        for (kind, key), given in list(self._given.items()):
            if kind is not followed.resource_type or given.number > followed.cache.version:
                continue
            del self._given[kind, key]
            identity = followed.cache.identity(key)
            if by_list and (identity is None or identity[0] != given.uid):
                nodes |= self._holders(kind, key, given)
        return nodes

    def _holders(self, kind: ResourceType, key: ObjectKey, given: _Given) -> set[NodeID]:
        if kind in (ResourceType.CONFIGMAP, ResourceType.SECRET):
            return set(self._locations.nodes_of(Ref(RefType(kind), key)))
        return set() if given.node is None else {given.node}
