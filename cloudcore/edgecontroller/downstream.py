"""DownstreamController: what changes at the API server goes to the nodes that need it.

Nodes are listed first, then pods, then the rest: which bodies are worth keeping depends on the
pods, and which pods on the nodes. Nothing is sent until all first lists are complete: what nodes
lack by then is found by comparison when they connect (see ``cloudcore.synccontroller``).

After a failure a kind is listed anew. What it lacks then is for ``absences`` to look into. Where
its versions count from a lower one, everything is told as a comparison's answer would be, which
edges take although they have higher versions, and all connected edges are compared.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import msgspec

from cloudcore.edgecontroller.absences import Absences
from cloudcore.edgecontroller.adoption import Adoption
from cloudcore.edgecontroller.autonomykeeper import AutonomyKeeper
from cloudcore.edgecontroller.companions import Companions
from cloudcore.edgecontroller.distribution import Distribution
from cloudcore.edgecontroller.epochs import Epochs
from cloudcore.edgecontroller.location import (
    NodeLocation,
    PodLocation,
    Ref,
    SliceLocation,
    refs_of,
)
from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube import kinds
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import ListCompleted, ListWatch
from cloudcore.kube.views import (
    ClaimView,
    NodeView,
    ObjectKey,
    ObjectView,
    PodView,
    SliceView,
)
from cloudcore.metrics import CloudMetrics
from cloudcore.synccontroller.doubts import Doubts
from cloudcore.synccontroller.holds import Holds
from common.health import Health
from common.names import UID, NodeID, Operation, ResourceType
from common.podrefs import pod_refs

logger = logging.getLogger(__name__)

SYNCED_CONDITION: Final = "caches"
_FIRST: Final = (kinds.NODES, kinds.PODS)


class DownstreamController:
    """Follows the API server, keeps ``ClusterState`` up to date, and tells the nodes."""

    def __init__(  # noqa: PLR0913 - its collaborators, each of another kind
        self,
        client: KubeClient,
        state: ClusterState,
        reader: ObjectReader,
        sender: Sender,
        *,
        registered: Callable[[NodeID], None],
        autonomy: AutonomyKeeper,
        metrics: CloudMetrics,
        health: Health,
    ) -> None:
        """Follow by ``client``.

        ``registered`` hears of each Node that has become an edge node, ``autonomy`` of all Nodes
        and of the pods on edge nodes, ``health`` when the caches are in step.
        """
        self._registered, self._autonomy = registered, autonomy
        self._client, self._state, self._health = client, state, health
        self.synced = asyncio.Event()
        """Set when all first lists are complete; from then on changes are sent."""
        self.progress = Progress(self._kinds())
        self.holds = Holds(client, state.locations, metrics)
        self.absences = Absences(client, state, self.progress, self.holds, self._end)
        self.epochs = Epochs()
        self.doubts = Doubts()
        """Nodes that are to be compared."""
        self._ahead = reader.ahead
        self._companions = Companions(state, reader, sender)
        self._distribution = Distribution(state, sender, self.epochs, self.synced)
        self._turns = {one.kind: asyncio.Lock() for one in self._kinds()}
        self._adoption = Adoption(
            client, state, self._turns[kinds.PODS], self._take_pod, self.doubts
        )
        self._tasks: asyncio.TaskGroup
        health.set_condition(SYNCED_CONDITION, "the first lists are not complete")

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        state = self._state
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self.absences.run(), name="absences")
            for first in (state.nodes, state.pods):
                await self._start(first).wait()
            rest = [self._start(one) for one in self._kinds() if one.kind not in _FIRST]
            for listed in rest:
                await listed.wait()
            self.synced.set()
            self._health.set_condition(SYNCED_CONDITION)
            logger.info(
                "caches are in step",
                extra={"pods": len(state.pods.cache), "edge_nodes": len(state.locations.nodes())},
            )

    def _kinds(self) -> tuple[Followed, ...]:
        state = self._state
        return (
            state.nodes,
            state.pods,
            state.configmaps,
            state.secrets,
            state.services,
            state.slices,
            state.claims,
        )

    def _start(self, followed: Followed) -> asyncio.Event:
        """Follow a kind in a task; the event is set when it was listed for the first time."""
        listed, name = asyncio.Event(), f"follow {followed.kind.plural}"
        self._tasks.create_task(self._follow(followed, listed), name=name)
        return listed

    async def _follow(self, followed: Followed, listed: asyncio.Event) -> None:
        cache, restores = followed.cache, followed.cache.restores
        stream = ListWatch(self._client, followed.kind, view=followed.view).events()
        async with aclosing(stream) as events:
            async for event in events:
                changes = cache.apply(event)
                self.progress.note(followed, event)
                for change in changes:
                    await self._take(followed, change)
                is_listed = isinstance(event, ListCompleted)
                if followed.resource_type is not None:
                    self.doubts.add(self._ahead.caught_up(followed, by_list=is_listed))
                if is_listed:
                    listed.set()
                    if cache.absent():
                        self.absences.wake()
                    if cache.restores != restores:
                        restores = cache.restores
                        self._note_restored(followed)

    def _note_restored(self, followed: Followed) -> None:
        nodes = self._state.peers.nodes()
        logger.warning(
            "the API server counts versions anew, as after a restore from a backup: all connected"
            " nodes are compared",
            extra={"kind": followed.kind.kind, "nodes": len(nodes)},
        )
        self.doubts.add(nodes)

    async def _take(self, followed: Followed, change: Change) -> None:
        """Tell of a change, after those of its kind that came before."""
        async with self._turns[followed.kind]:
            await self._take_in_turn(followed, change)

    async def _end(self, followed: Followed, key: ObjectKey, uid: UID) -> None:
        """Take an absent object for deleted, if nothing was heard of it meanwhile."""
        async with self._turns[followed.kind]:
            for change in followed.cache.end_absent(key, uid):
                await self._take_in_turn(followed, change)

    async def _take_in_turn(self, followed: Followed, change: Change) -> None:
        """Bring the locations up to date first: who gets a pod may at once ask for its Secrets."""
        match followed.resource_type:
            case ResourceType.POD:
                await self._take_pod(followed, change)
            case ResourceType.NODE:
                await self._take_node(followed, change)
            case ResourceType.SERVICE:
                if change.type is ChangeType.DELETED:
                    await self._distribution.tell(followed, change)
                    self._state.locations.remove_service(change.key)
                else:
                    self._state.locations.set_service(change.key, change.uid)
                    await self._distribution.tell(followed, change)
            case None if followed is self._state.slices:
                self._note_slice(change)
            case None:
                self._note_claim(change)
            case _:
                await self._distribution.tell(followed, change)

    # --- pods ------------------------------------------------------------------------------------

    async def _take_pod(self, followed: Followed, change: Change) -> None:
        locations = self._state.locations
        if change.type is ChangeType.DELETED:
            node = locations.pod_node(*change.key)
            self._autonomy.note_pod(change.key)
            self._state.drop(locations.remove_pod(change.key))
            await self._distribution.tell(followed, change)
            if node is not None and not locations.has_pod_in(node, change.key.namespace):
                await self._send_services(node, change.key.namespace, Operation.DELETE)
            return
        assert change.now is not None
        view = change.now.view
        assert isinstance(view, PodView)
        if not locations.is_edge_node(view.node):
            # An API server that was restored takes bindings back; then all nodes are compared.
            self._state.drop(locations.remove_pod(change.key))
            return
        self._autonomy.note_pod(change.key)
        is_first = not locations.has_pod_in(view.node, change.key.namespace)
        named: list[Ref] = []
        if not _same_spec(change):
            refs = pod_refs(msgspec.json.decode(change.now.raw))
            pod = PodLocation(change.uid, view.node, refs)
            named = self._companions.newly_named(view.node, refs_of(change.key, pod))
            self._state.drop(locations.set_pod(change.key, pod))
        # Before the pod, whose containers want all of it when they start.
        if is_first:
            await self._send_services(view.node, change.key.namespace, Operation.UPDATE)
        if self.synced.is_set():
            await self._companions.send_named(view.node, named, self._tasks)
        await self._distribution.tell(followed, change)

    async def _send_services(self, node: NodeID, namespace: str, operation: Operation) -> None:
        if self.synced.is_set():
            await self._companions.send_services(node, namespace, operation)

    # --- nodes, slices, claims -------------------------------------------------------------------

    async def _take_node(self, followed: Followed, change: Change) -> None:
        view, node = _view(change), NodeID(change.key.name)
        is_new = self._note_node(node, change.uid, view)
        self._autonomy.note_node(change.key, view)
        if is_new:
            self._adoption.begin(node)
        if view is None and change.before is None:
            await self._distribution.tell_of_end(followed, node, change.uid)
        else:
            await self._distribution.tell(followed, change)
        if view is None:
            self.holds.forget(node)
        if isinstance(view, NodeView) and self.holds.note(view):
            self.absences.wake()
            self.doubts.add([node])
        if is_new:
            self._registered(node)
            self._tasks.create_task(self._adoption.adopt(node), name=f"adopt pods of {node}")

    def note_stray(self, node: NodeID) -> None:
        """Have ``node`` compared when its pods are known; see ``Adoption``."""
        self._adoption.note_stray(node)

    def _note_node(self, node: NodeID, uid: UID, view: ObjectView | None) -> bool:
        """Note a Node as it is now; return whether its pods have to be brought in."""
        locations = self._state.locations
        if isinstance(view, NodeView) and self._state.serves(view):
            is_new = locations.set_node(node, NodeLocation(uid, view.ready))
            # Before the pods are listed for the first time, that list brings them.
            pods = self._state.pods.cache
            return is_new and (len(pods) > 0 or pods.version > 0)
        self._adoption.lost(node, exists=view is not None)
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


def _view(change: Change) -> ObjectView | None:
    """Return the view of what there is after the change; None if it is deleted."""
    if change.type is ChangeType.DELETED or change.now is None:
        return None
    return change.now.view


def _same_spec(change: Change) -> bool:
    """Whether a pod names what it named: its spec is the same as long as its generation is.

    Source: ``metadata.generation`` of pods is set since Kubernetes 1.33; 0 says nothing.
    """
    if change.before is None or change.now is None or change.is_restored:
        return False
    generation = change.now.view.metadata.generation
    return generation > 0 and change.before.view.metadata.generation == generation
