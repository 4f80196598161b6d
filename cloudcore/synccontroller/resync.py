"""Brings a node that connects in step: by an inventory, or by sending it everything.

Our own edges tell what they hold, and get the difference and then the answer. A KubeEdge edge
cannot tell, so it gets all that it should have as updates. Both wait until all caches are in step.
An edge takes nothing for deleted that it is not told so, and it is told only after a request for
the very object has confirmed it.
"""

import asyncio
import logging
from collections.abc import Iterator
from http import HTTPStatus

import msgspec

from cloudcore.edgecontroller.location import RefType
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.edgecontroller.sender import Sender, content_of, skeleton
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ObjectKey, PodView
from cloudcore.synccontroller.diff import SEND_ORDER, Item, diff
from common.errors import RemoteError
from common.names import CLUSTER_SCOPE, UID, NodeID, Operation, ResourceType
from common.status import failure

logger = logging.getLogger(__name__)

SYNC_TIMEOUT_S = 50.0
"""How long an inventory waits for the caches; a little less than an edge waits for the answer."""


class _Inventory(msgspec.Struct):
    objects: list[tuple[str, str, str, str, str]]


class Resync:
    """Compares and sends. Called once at a time for a node."""

    def __init__(
        self, state: ClusterState, reader: ObjectReader, sender: Sender, synced: asyncio.Event
    ) -> None:
        """Compare with ``state`` once ``synced`` is set; ``reader`` confirms what it lacks."""
        self._state, self._reader, self._sender, self._synced = state, reader, sender, synced

    async def answer(self, node: NodeID, content: object) -> dict[str, int]:
        """Send ``node`` what it lacks and take back what it should not have.

        Args:
            node: whose inventory it is.
            content: ``{"objects": [[type, namespace, name, uid, resourceVersion], ...]}``.

        Returns:
            ``{"updated": n, "deleted": m}``, when everything is on its way.

        Raises:
            RemoteError: 422, the content is no inventory; 503, the caches are not in step, or the
                API server cannot be asked. Then the edge keeps what it has.
        """
        held = _held_in(content)
        await self._wait_until_synced()
        difference = diff(held, self._wanted(node, own=self._state.peers.is_own(node)))
        deleted = updated = 0
        is_behind = False
        for item in difference.gone:
            if is_behind and item.resource_type is not ResourceType.POD:
                continue  # pods that we do not know of may name it
            found = await self._find(node, item)
            if found is None:
                await self._withdraw(node, item)
                deleted += 1
            else:
                is_behind = True
                await self._send(node, Operation.UPDATE, item, found)
                updated += 1
        for operation, item in difference.send:
            updated += await self._send_wanted(node, operation, item)
        logger.info(
            "inventory answered",
            extra={"node": node, "held": len(held), "updated": updated, "deleted": deleted},
        )
        return {"updated": updated, "deleted": deleted}

    async def send_everything(self, node: NodeID) -> None:
        """Send ``node``, a KubeEdge edge, all it should have, as updates."""
        await self._synced.wait()
        items = sorted(self._wanted(node, own=False), key=lambda i: SEND_ORDER[i.resource_type])
        for item in items:
            try:
                await self._send_wanted(node, Operation.UPDATE, item)
            except RemoteError as error:  # the edge asks for it by itself
                self._sender.metrics.dropped.labels(reason="resync_failed").inc()
                logger.warning(
                    "cannot read an object to resync",
                    extra={"node": node, "key": "/".join(item.key), "code": error.status.code},
                )
        logger.info("node brought in step", extra={"node": node, "objects": len(items)})

    async def _wait_until_synced(self) -> None:
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                await self._synced.wait()
        except TimeoutError:
            status = failure(HTTPStatus.SERVICE_UNAVAILABLE, "cloudcore's caches are not in step")
            raise RemoteError(status) from None

    def _wanted(self, node: NodeID, *, own: bool) -> Iterator[Item]:
        """Yield what ``node`` should have; services only if it speaks our ``own`` protocol."""
        state, locations = self._state, self._state.locations
        if locations.is_edge_node(node):
            yield from _item(state.nodes, ObjectKey("", node))
        for ref in locations.named_by(node):
            if ref.type is RefType.CONFIGMAP:
                yield from _item(state.configmaps, ref.key)
            elif ref.type is RefType.SECRET:
                yield from _item(state.secrets, ref.key)
        for key in locations.services_of(node) if own else ():
            yield from _item(state.services, key)
        for key in locations.pods_of(node):
            yield from _item(state.pods, key)

    async def _find(self, node: NodeID, item: Item) -> RawObject | None:
        """Return the object that the node holds, if it may go on holding it.

        A pod is asked for by name, and so is what the node's pods name; for what they do not name
        it does not matter whether it exists.
        """
        followed = self._state.followed(item.resource_type)
        assert followed is not None
        if item.resource_type is not ResourceType.POD and not self._is_needed(node, item):
            return None
        try:
            one = await self._reader.fetch(followed, item.key)
        except RemoteError as error:
            if error.status.is_not_found:
                return None
            raise
        if one.view.metadata.uid != item.uid:
            return None
        is_elsewhere = isinstance(one.view, PodView) and one.view.node != node
        return None if is_elsewhere else one

    def _is_needed(self, node: NodeID, item: Item) -> bool:
        locations = self._state.locations
        if item.resource_type is ResourceType.SERVICE:
            return node in locations.nodes_of_service(item.key)
        return locations.names(node, item.resource_type, *item.key)

    async def _send_wanted(self, node: NodeID, operation: Operation, item: Item) -> int:
        """Send an object that the node should have; return how many were sent."""
        try:
            one = await self._reader.read(item.resource_type, item.key)
        except RemoteError as error:
            if error.status.is_not_found:
                return 0  # deleted meanwhile, which is told by itself
            raise
        await self._send(node, operation, item, one)
        return 1

    async def _send(self, node: NodeID, operation: Operation, item: Item, one: RawObject) -> None:
        await self._sender.send_object(_delivery(node, operation, item), *content_of(one))

    async def _withdraw(self, node: NodeID, item: Item) -> None:
        followed = self._state.followed(item.resource_type)
        assert followed is not None
        delivery = _delivery(node, Operation.DELETE, item)
        kind = followed.kind
        content = skeleton(kind.kind, kind.api_version, delivery, item.uid)
        await self._sender.send_object(delivery, content, "")


def _held_in(content: object) -> list[Item]:
    """Return what an inventory lists, as far as such types are compared."""
    try:
        rows = msgspec.convert(content, _Inventory).objects
    except msgspec.ValidationError as error:
        raise RemoteError(failure(422, f"not an inventory: {error}")) from error
    return [
        Item(
            ResourceType(resource_type),
            ObjectKey("" if namespace == CLUSTER_SCOPE else namespace, name),
            UID(uid),
            version,
        )
        for resource_type, namespace, name, uid, version in rows
        if resource_type in SEND_ORDER
    ]


def _item(followed: Followed, key: ObjectKey) -> Iterator[Item]:
    """Yield the object as it is known; nothing where there is none."""
    identity = followed.cache.identity(key)
    if identity is not None:
        assert followed.resource_type is not None
        yield Item(followed.resource_type, key, *identity)


def _delivery(node: NodeID, operation: Operation, item: Item) -> Delivery:
    namespace = item.key.namespace or CLUSTER_SCOPE
    return Delivery(node, operation, item.resource_type, namespace, item.key.name, is_restated=True)
