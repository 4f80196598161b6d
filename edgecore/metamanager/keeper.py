"""Where what was decided becomes durable: one decision and its commit at a time.

Batches from the cloud and answers to queries are both judged by what is stored, so nobody may
change that between the judgement and the commit.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from common.beehive.message import Message
from common.errors import StoreError, WireError
from common.names import ResourceType
from common.wire import loads
from edgecore.edgestore.records import Put, StoredObject, Write
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager.decide import Outcome, Plan, decide, decide_answer
from edgecore.metamanager.draft import Draft
from edgecore.metamanager.needs import NEEDED_TYPES, PodNeeds, garbage, pod_needs

logger = logging.getLogger(__name__)


class Keeper:
    """The only writer of objects in an edge-store."""

    def __init__(self, store: EdgeStore) -> None:
        """Write to ``store``; ``load`` comes before anything else."""
        self._store = store
        self._lock = asyncio.Lock()
        self._pods: dict[str, PodNeeds] = {}
        self.may_have_unneeded = asyncio.Event()
        """Set when something was kept that a pod has to need; cleared by ``sweep``."""

    async def load(self) -> None:
        """Learn what the stored pods need, and forget the rows that none of them needs.

        A disk that is full does not keep the stored pods from running: then that comes later.

        Raises:
            StoreError: the store cannot be read.
        """
        for pod in await self._store.list_type(ResourceType.POD):
            try:
                self._pods[pod.key] = pod_needs(loads(pod.value), pod.namespace, pod.uid)
            except WireError as error:  # it was understood when it was stored
                fields = {"key": pod.key, "error": str(error)}
                logger.warning("a stored pod cannot be read", extra=fields)
        self.may_have_unneeded.set()
        try:
            await self.sweep()
        except StoreError as error:
            logger.warning("the store cannot be swept", extra={"error": str(error)})

    async def sweep(self) -> None:
        """Forget the rows that no stored pod needs.

        Most go with the last pod that needs them. But a ConfigMap may also come late, when its pod
        has gone, and cannot be told from one that is early, whose pod is still to come.

        Raises:
            StoreError: the store cannot be written.
        """
        async with self._lock:
            index = self._store.index
            rows = [(k, index.entries[k].uid) for kind in NEEDED_TYPES for k in index.keys(kind)]
            draft = Draft(index, self._pods)
            for key in sorted(garbage(rows, self._pods.values())):
                draft.forget(key)
            await self._store.apply(draft.writes())
            self.may_have_unneeded.clear()

    async def keep(self, messages: Sequence[Message]) -> Plan:
        """Decide on ``messages`` from the cloud; when this returns, the plan's writes are durable.

        Raises:
            StoreError: nothing of it was written, so nothing may be acknowledged.
        """
        async with self._lock:
            plan = decide(messages, self._store.index, self._pods)
            await self._store.apply(plan.writes)
            self._note(plan.pods)
            self._note_kept(plan.writes)
            return plan

    async def keep_answer(self, answer: Message) -> Outcome:
        """Keep the object that answers a query.

        Raises:
            StoreError: it was not kept.
        """
        async with self._lock:
            outcome, writes, pods = decide_answer(answer, self._store.index, self._pods)
            await self._store.apply(writes)
            self._note(pods)
            self._note_kept(writes)
            return outcome

    async def put(self, stored: StoredObject) -> None:
        """Keep what has no versions, such as a token.

        Raises:
            StoreError: it was not kept.
        """
        async with self._lock:
            writes = [Put(stored)]
            await self._store.apply(writes)
            self._note_kept(writes)

    def _note_kept(self, writes: Iterable[Write]) -> None:
        if any(isinstance(w, Put) and w.stored.resource_type in NEEDED_TYPES for w in writes):
            self.may_have_unneeded.set()

    def _note(self, changes: Mapping[str, PodNeeds | None]) -> None:
        for key, needs in changes.items():
            if needs is None:
                self._pods.pop(key, None)
            else:
                self._pods[key] = needs
