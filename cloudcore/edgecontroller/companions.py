"""What comes and goes with pods: the services of their namespace, and the objects that they name.

Our own edges hold these from the moment they hold the pod, so that a container finds them when it
starts, link or no link. A KubeEdge edge asks for what it wants, and knows no services.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from cloudcore.edgecontroller.location import API_SERVICE, Ref, RefType
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.edgecontroller.sender import Sender, content_of
from cloudcore.edgecontroller.state import ClusterState
from common.errors import RemoteError
from common.names import NodeID, Operation, ResourceType

logger = logging.getLogger(__name__)

FETCHED_AT_A_TIME: Final = 8
_SENT: Final = frozenset({RefType.CONFIGMAP, RefType.SECRET})


class Companions:
    """Sends them to the node of a pod, if it is connected and speaks our own protocol."""

    def __init__(self, state: ClusterState, reader: ObjectReader, sender: Sender) -> None:
        """Send what ``state`` keeps; what it does not keep ``reader`` fetches."""
        self._state, self._reader, self._sender = state, reader, sender
        self._places = asyncio.Semaphore(FETCHED_AT_A_TIME)

    def newly_named(self, node: NodeID, refs: Iterable[Ref]) -> list[Ref]:
        """Return what no pod of ``node`` has named so far; nothing for who asks by itself."""
        if not self._state.peers.is_own(node):
            return []
        names = self._state.locations.names
        return [ref for ref in refs if ref.type in _SENT and not names(node, ref.type, *ref.key)]

    async def send_named(self, node: NodeID, refs: Iterable[Ref], group: asyncio.TaskGroup) -> None:
        """Send objects that a pod of ``node`` names, as far as they exist.

        What is not kept is fetched and sent by a task in ``group``: nobody waits for that, since
        the edge asks for it if its pod is quicker.
        """
        for ref in refs:
            followed = self._state.followed(ref.type)
            assert followed is not None
            one = followed.cache.get(ref.key)
            if one is not None:
                await self._sender.send_object(_delivery(node, ref), *content_of(one))
            elif ref.key in followed.cache:
                group.create_task(self._fetch(node, ref), name=f"fetch {ref.type} for {node}")

    async def send_services(self, node: NodeID, namespace: str, operation: Operation) -> None:
        """Send what a node's first pod in a namespace brings along, and its last takes away."""
        if not self._state.peers.is_own(node):
            return
        locations, cache = self._state.locations, self._state.services.cache
        for key in sorted({*locations.services_in(namespace), API_SERVICE}):
            one = cache.get(key)
            is_needed = locations.needs_service(node, key)
            if one is not None and is_needed is (operation is Operation.UPDATE):
                delivery = Delivery(node, operation, ResourceType.SERVICE, *key, is_restated=True)
                await self._sender.send_object(delivery, *content_of(one))

    async def _fetch(self, node: NodeID, ref: Ref) -> None:
        async with self._places:
            try:
                one = await self._reader.read(ResourceType(ref.type), ref.key)
            except RemoteError as error:
                if not error.status.is_not_found:
                    logger.warning(
                        "cannot read what a pod names: its node will ask for it",
                        extra={
                            "node": node,
                            "key": "/".join(ref.key),
                            "code": error.status.code,
                        },
                    )
                return
        if self._state.locations.names(node, ref.type, *ref.key):
            await self._sender.send_object(_delivery(node, ref), *content_of(one))


def _delivery(node: NodeID, ref: Ref) -> Delivery:
    # Restated: an edge that had it before, and lost it with its last pod, takes it again.
    resource_type = ResourceType(ref.type)
    return Delivery(node, Operation.UPDATE, resource_type, *ref.key, is_restated=True)
