"""DownstreamController: what changes at the API server goes to the nodes that need it.

Nodes are listed first, then pods, then the rest: which bodies are worth keeping depends on the
pods, and which pods on the nodes. Nothing is sent until all first lists are complete: what nodes
lack by then is found by comparison when they connect (see ``cloudcore.synccontroller``).
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from cloudcore.edgecontroller.location import (
    API_SERVICE,
    NodeLocation,
    PodLocation,
    SliceLocation,
)
from cloudcore.edgecontroller.routing import Delivery, route
from cloudcore.edgecontroller.sender import Sender, content_of, skeleton
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import ListCompleted, ListWatch, RawObject
from cloudcore.kube.views import ClaimView, NodeView, ObjectView, PodView, SliceView, view_as
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.health import Health
from common.names import NodeID, Operation, ResourceType
from common.podrefs import pod_refs

logger = logging.getLogger(__name__)

SYNCED_CONDITION: Final = "caches"
_CONFIRM_ATTEMPTS: Final = 5


class DownstreamController:
    """Follows the API server, keeps ``ClusterState`` up to date, and tells the nodes."""

    def __init__(
        self, client: KubeClient, state: ClusterState, sender: Sender, health: Health
    ) -> None:
        """Follow by ``client``; ``health`` hears when the caches are in step."""
        self._client, self._state, self._sender, self._health = client, state, sender, health
        self.synced = asyncio.Event()
        """Set when all first lists are complete; from then on changes are sent."""
        self._listed: set[str] = set()
        health.set_condition(SYNCED_CONDITION, "the first lists are not complete")

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        state = self._state
        first: tuple[Followed, ...] = (state.nodes, state.pods)
        rest = (state.configmaps, state.secrets, state.services, state.slices, state.claims)
        async with asyncio.TaskGroup() as group:
            for followed in first:
                listed = asyncio.Event()
                group.create_task(
                    self._follow(followed, listed, group), name=f"follow {followed.kind.plural}"
                )
                await listed.wait()
            listed_rest = [asyncio.Event() for _ in rest]
            for followed, listed in zip(rest, listed_rest, strict=True):
                group.create_task(
                    self._follow(followed, listed, group), name=f"follow {followed.kind.plural}"
                )
            for listed in listed_rest:
                await listed.wait()
            self.synced.set()
            self._health.set_condition(SYNCED_CONDITION)
            logger.info(
                "caches are in step",
                extra={"pods": len(state.pods.cache), "edge_nodes": len(state.locations.nodes())},
            )

    async def _follow(
        self, followed: Followed, listed: asyncio.Event, group: asyncio.TaskGroup
    ) -> None:
        stream = ListWatch(self._client, followed.kind, view=followed.view).events()
        async with aclosing(stream) as events:
            async for event in events:
                for change in followed.cache.apply(event):
                    await self._take(followed, change, group)
                if isinstance(event, ListCompleted):
                    listed.set()

    async def _take(self, followed: Followed, change: Change, group: asyncio.TaskGroup) -> None:
        """Bring the locations up to date first: who gets a pod may at once ask for its Secrets."""
        match followed.resource_type:
            case ResourceType.POD:
                await self._take_pod(followed, change)
            case ResourceType.NODE:
                is_new = self._note_node(change)
                await self._deliver(followed, change)
                if is_new:
                    node = NodeID(change.key.name)
                    group.create_task(self._adopt_pods(node), name=f"adopt pods of {node}")
            case ResourceType.SERVICE:
                if change.type is ChangeType.DELETED:
                    await self._deliver(followed, change)
                    self._state.locations.remove_service(change.key)
                else:
                    self._state.locations.set_service(change.key, change.uid)
                    await self._deliver(followed, change)
            case None if followed is self._state.slices:
                self._note_slice(change)
            case None:
                self._note_claim(change)
            case _:
                await self._deliver(followed, change)

    # --- pods ------------------------------------------------------------------------------------

    async def _take_pod(self, followed: Followed, change: Change) -> None:
        locations = self._state.locations
        if change.type is ChangeType.DELETED:
            if change.by_absence and not await self._is_gone(followed, change):
                return
            node = locations.pod_node(*change.key)
            self._state.drop(locations.remove_pod(change.key))
            await self._deliver(followed, change)
            if node is not None and not locations.has_pod_in(node, change.key.namespace):
                await self._send_services(node, change.key.namespace, Operation.DELETE)
            return
        assert change.now is not None
        view = change.now.view
        assert isinstance(view, PodView)
        if not locations.is_edge_node(view.node):
            return
        is_first = not locations.has_pod_in(view.node, change.key.namespace)
        if not _same_spec(change):
            refs = pod_refs(msgspec.json.decode(change.now.raw))
            pod = PodLocation(change.uid, view.node, refs)
            self._state.drop(locations.set_pod(change.key, pod))
        if is_first:
            # Before the pod, whose containers learn of services when they start.
            await self._send_services(view.node, change.key.namespace, Operation.UPDATE)
        await self._deliver(followed, change)

    async def _is_gone(self, followed: Followed, change: Change) -> bool:
        """Ask for a pod that a list did not have: absence alone ends nothing on the edge."""
        if change.before is None:
            return True
        backoff = Backoff(BackoffPolicy())
        for _ in range(_CONFIRM_ATTEMPTS):
            try:
                body = await self._client.get(followed.kind.path(*change.key))
            except RemoteError as error:
                if error.status.is_not_found:
                    return True
                await asyncio.sleep(backoff.next_s())
            else:
                return view_as(body, PodView).metadata.uid != change.uid
        logger.error(
            "pod is missing from a list and cannot be asked for: not deleted on its node",
            extra={"key": "/".join(change.key)},
        )
        self._sender.metrics.dropped.labels(reason="absence_unconfirmed").inc()
        return False

    async def _adopt_pods(self, node: NodeID) -> None:
        """Bring in the pods that ``node`` had before it became an edge node."""
        pods = self._state.pods
        backoff = Backoff(BackoffPolicy())
        while self._state.locations.is_edge_node(node):
            try:
                bodies = await self._pods_bound_to(node)
            except RemoteError as error:
                logger.warning(
                    "cannot list the pods of a new edge node",
                    extra={"node": node, "code": error.status.code},
                )
                await asyncio.sleep(backoff.next_s())
                continue
            for one in bodies:
                key = one.view.metadata.key
                if self._state.locations.is_edge_node(node) and pods.cache.keep(one):
                    change = Change(ChangeType.ADDED, key, one.view.metadata.uid, one, None)
                    await self._take_pod(pods, change)
            return

    async def _pods_bound_to(self, node: NodeID) -> list[RawObject]:
        """List consistently what is bound to ``node``, as ``ListWatch`` would."""
        selector = {"fieldSelector": f"spec.nodeName={node}"}
        return await ListWatch(
            self._client, self._state.pods.kind, view=PodView, selector=selector
        ).list_all()

    # --- nodes, services, slices -----------------------------------------------------------------

    def _note_node(self, change: Change) -> bool:
        """Note a Node as it is now; return whether its pods have to be brought in."""
        locations, node = self._state.locations, NodeID(change.key.name)
        view = _view(change)
        if isinstance(view, NodeView) and view.is_edge:
            is_new = locations.set_node(node, NodeLocation(change.uid, view.ready))
            # Before the pods are listed for the first time, that list brings them.
            return is_new and len(self._state.pods.cache) > 0
        for key in locations.pods_of(node):
            self._state.pods.cache.drop(key)
        self._state.drop(locations.remove_node(node))
        return False

    def _note_slice(self, change: Change) -> None:
        view = _view(change)
        if isinstance(view, SliceView) and view.service is not None:
            location = SliceLocation(view.service, view.addresses(), view.pods())
            self._state.locations.set_slice(change.key, location)
        else:
            self._state.locations.remove_slice(change.key)

    def _note_claim(self, change: Change) -> None:
        view = _view(change)
        volume = view.volume if isinstance(view, ClaimView) else ""
        self._state.locations.set_claim(change.key, volume)

    async def _send_services(self, node: NodeID, namespace: str, operation: Operation) -> None:
        """Send what a node's first pod in a namespace brings along, and its last takes away."""
        if not self.synced.is_set() or not self._state.peers.is_own(node):
            return
        for one in list(self._state.services.cache.kept()):
            metadata = one.view.metadata
            if metadata.namespace != namespace and metadata.key != API_SERVICE:
                continue
            is_needed = node in self._state.locations.nodes_of_service(metadata.key)
            if is_needed is (operation is Operation.UPDATE):
                delivery = Delivery(
                    node,
                    operation,
                    ResourceType.SERVICE,
                    metadata.namespace,
                    metadata.name,
                    is_restated=True,
                )
                await self._sender.send_object(delivery, *content_of(one))

    # --- out -------------------------------------------------------------------------------------

    async def _deliver(self, followed: Followed, change: Change) -> None:
        if not self.synced.is_set():
            return
        assert followed.resource_type is not None
        deliveries = self._wanted(route(followed.resource_type, change, self._state.locations))
        if not deliveries:
            return
        if change.now is not None:
            content, version = content_of(change.now)
        else:
            kind = followed.kind
            content = skeleton(kind.kind, kind.api_version, deliveries[0], change.uid)
            version = ""
        for delivery in deliveries:
            await self._sender.send_object(delivery, content, version)

    def _wanted(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Leave out services for KubeEdge's edges, which would not know them."""
        return [
            one
            for one in deliveries
            if one.resource_type is not ResourceType.SERVICE or self._state.peers.is_own(one.node)
        ]


def _view(change: Change) -> ObjectView | None:
    """Return the view of what there is after the change; None if it is deleted."""
    if change.type is ChangeType.DELETED or change.now is None:
        return None
    return change.now.view


def _same_spec(change: Change) -> bool:
    """Whether a pod names what it named: its spec is the same as long as its generation is.

    Source: ``metadata.generation`` of pods is set since Kubernetes 1.33; 0 says nothing.
    """
    if change.before is None or change.now is None:
        return False
    generation = change.now.view.metadata.generation
    return generation > 0 and change.before.view.metadata.generation == generation
