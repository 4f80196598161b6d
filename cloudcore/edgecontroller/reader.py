"""Objects for the edge: from the cache where they are kept, else from the API server."""

import asyncio
from typing import Final

import msgspec
from msgspec import Struct, field

from cloudcore.edgecontroller.ahead import Ahead
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ObjectKey, number_of, view_as
from common.errors import RemoteError
from common.names import ResourceType
from common.status import not_found

_KEPT_IF_NAMED: Final = frozenset({ResourceType.CONFIGMAP, ResourceType.SECRET})


class _Turn(Struct):
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class ObjectReader:
    """Reads one object at a time; many that want the same one make one request."""

    def __init__(self, client: KubeClient, state: ClusterState) -> None:
        """Read by ``client`` what the caches of ``state`` do not keep."""
        self._client, self._state = client, state
        self._turns: dict[tuple[ResourceType, ObjectKey], _Turn] = {}
        self.ahead = Ahead(state.locations)
        """What was fetched and is not known to the caches yet."""

    async def read(self, resource_type: ResourceType, key: ObjectKey) -> RawObject:
        """Return the object; it is kept from then on if an edge pod names it.

        Raises:
            RemoteError: 404, it does not exist; 503 or 504, it is not kept and cannot be asked for.
        """
        followed = self._state.followed(resource_type)
        assert followed is not None, f"{resource_type} is not followed"
        kept = followed.cache.get(key)
        if kept is not None:
            return kept
        turn = self._turns.setdefault((resource_type, key), _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                # Whoever had the turn before may have fetched it.
                kept = followed.cache.get(key)
                one = kept or self.newest(followed, await self.fetch(followed, key))
                if one is None:
                    raise RemoteError(not_found(resource_type, key.name))
                return one
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._turns[resource_type, key]

    async def fetch(self, followed: Followed, key: ObjectKey) -> RawObject:
        """Return the object as the API server has it now, whatever is kept.

        Raises:
            RemoteError: as ``read``.
        """
        assert followed.resource_type is not None
        try:
            body = await self._client.get(followed.kind.path(*key))
        except RemoteError as error:
            if error.status.is_not_found:  # in the edge's own words
                raise RemoteError(not_found(followed.resource_type, key.name)) from error
            raise
        # Without the end of the line, which the same object has not in a list.
        one = RawObject(view_as(body, followed.view), msgspec.Raw(body.rstrip()))
        if followed.resource_type in _KEPT_IF_NAMED and self._state.is_named(
            followed.resource_type, key
        ):
            followed.cache.keep(one)
        self.ahead.note(followed, one)
        return one

    def newest(self, followed: Followed, one: RawObject) -> RawObject | None:
        """Return what is known by now of an object that was fetched a moment ago.

        While it was on its way, the stream of its kind may have overtaken it. Whoever sent it on
        then would undo what the nodes have been told.

        Returns:
            the object, or a newer state of it; None where it has been deleted since.
        """
        metadata, cache = one.view.metadata, followed.cache
        number = number_of(metadata.resourceVersion)
        if metadata.key not in cache and number <= cache.version:
            return None
        kept = cache.get(metadata.key)
        is_older = kept is None or number_of(kept.view.metadata.resourceVersion) <= number
        return one if is_older else kept
