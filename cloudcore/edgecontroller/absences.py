"""Ends what lists lack: only once the API server, asked for that very object, has said so.

Absence alone ends nothing on an edge. What concerns no edge is taken for deleted at once; for the
rest each object is asked for by its name, and compared by its UID. What cannot be asked for stays
until it can. How much may be ended at a time: ``cloudcore.synccontroller.holds``.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from cloudcore.edgecontroller.location import Ref, RefType
from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.client import KubeClient
from cloudcore.kube.views import ObjectKey, ObjectView, view_as
from cloudcore.synccontroller.guard import Plan
from cloudcore.synccontroller.holds import Holds
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.names import UID, NodeID, ResourceType

logger = logging.getLogger(__name__)

AT_A_TIME: Final = 16
"""Requests for what is absent that are under way together."""

_COUNTED: Final = frozenset({ResourceType.POD, ResourceType.CONFIGMAP, ResourceType.SECRET})

End = Callable[[Followed, ObjectKey, UID], Awaitable[None]]


class _Verdict(Enum):
    GONE = auto()
    EXISTS = auto()
    UNKNOWN = auto()


class _Absence(Struct, frozen=True):
    followed: Followed
    key: ObjectKey
    uid: UID
    nodes: frozenset[NodeID]
    """The edge nodes that would lose it."""


class Absences:
    """Looks into what is absent whenever it is woken, until all of it is settled."""

    def __init__(
        self, client: KubeClient, state: ClusterState, progress: Progress, holds: Holds, end: End
    ) -> None:
        """Ask by ``client`` for what the caches of ``state`` lack.

        Args:
            client: of the API server.
            state: whose caches say what is absent.
            progress: nothing is judged before all caches are in step.
            holds: judges how much may be ended.
            end: takes an object for deleted, if it still is absent.
        """
        self._client, self._state, self._progress = client, state, progress
        self._holds, self._end = holds, end
        self._woken, self._is_settled = asyncio.Event(), asyncio.Event()
        self._is_settled.set()

    def wake(self) -> None:
        """Look: a list is complete, or a node was released. It does not wait."""
        self._is_settled.clear()
        self._woken.set()

    async def settled(self) -> None:
        """Return as soon as all that has woken this was looked at once."""
        await self._is_settled.wait()

    async def run(self) -> None:
        """Look into absences until cancelled."""
        backoff = Backoff(BackoffPolicy())
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._progress.in_step()
            is_done = await self._look()
            if not self._woken.is_set():
                self._is_settled.set()
            if is_done:
                backoff.reset()
                continue
            try:
                async with asyncio.timeout(backoff.next_s()):
                    await self._woken.wait()
            except TimeoutError:
                self._woken.set()

    async def _look(self) -> bool:
        """Settle what can be settled; return whether that was all."""
        state = self._state
        # Pods first: what they name is theirs as long as they are, and so is their Node.
        order = (state.pods, state.configmaps, state.secrets, state.services, state.nodes)
        absences: list[_Absence] = []
        for followed in (*order, state.slices, state.claims):
            for key, uid in followed.cache.absent():
                nodes = self._losers(followed, key)
                if nodes:
                    absences.append(_Absence(followed, key, uid, nodes))
                else:
                    await self._end(followed, key, uid)
        verdicts = await self._ask(absences)
        gone = [one for one, said in zip(absences, verdicts, strict=True) if said is _Verdict.GONE]
        held = self._holds.admit(self._plans(gone))
        self._holds.keep_back(frozenset(node for one in gone for node in one.nodes & held))
        for one in gone:
            if not one.nodes & held:
                await self._end(one.followed, one.key, one.uid)
        return _Verdict.UNKNOWN not in verdicts

    def _losers(self, followed: Followed, key: ObjectKey) -> frozenset[NodeID]:
        locations = self._state.locations
        nodes: Iterable[NodeID] = ()
        match followed.resource_type:
            case ResourceType.POD:
                node = locations.pod_node(*key)
                nodes = () if node is None else (node,)
            case ResourceType.CONFIGMAP | ResourceType.SECRET as resource_type:
                nodes = locations.nodes_of(Ref(RefType(resource_type), key))
            case ResourceType.SERVICE:
                nodes = locations.nodes_of_service(key)
            case ResourceType.NODE if locations.is_edge_node(NodeID(key.name)):
                nodes = (NodeID(key.name),)
        return frozenset(nodes)

    async def _ask(self, absences: list[_Absence]) -> list[_Verdict]:
        places = asyncio.Semaphore(AT_A_TIME)

        async def ask(one: _Absence) -> _Verdict:
            async with places:
                return await self._verdict(one)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(one), name="absence") for one in absences]
        return [task.result() for task in tasks]

    async def _verdict(self, absence: _Absence) -> _Verdict:
        followed, key, uid = absence.followed, absence.key, absence.uid
        try:
            body = await self._client.find(followed.kind.path(*key))
            if body is None or view_as(body, ObjectView).metadata.uid != uid:
                return _Verdict.GONE
        except RemoteError as error:
            logger.warning(
                "what a list did not have cannot be asked for: it stays",
                extra={
                    "kind": followed.kind.kind,
                    "key": "/".join(key),
                    "code": error.status.code,
                },
            )
            return _Verdict.UNKNOWN
        if followed.cache.is_absent(key, uid):
            followed.cache.present(key)
        return _Verdict.EXISTS

    def _plans(self, gone: list[_Absence]) -> dict[NodeID, Plan]:
        """Return what each node would lose. A service or a Node is no loss to a container."""
        deletions: Counter[NodeID] = Counter()
        ended: Counter[NodeID] = Counter()
        for one in gone:
            if one.followed.resource_type in _COUNTED:
                deletions.update(one.nodes)
            if one.followed.resource_type is ResourceType.POD:
                ended.update(one.nodes)
        pods_of = self._state.locations.pods_of
        return {n: Plan(len(pods_of(n)), ended[n], number) for n, number in deletions.items()}
