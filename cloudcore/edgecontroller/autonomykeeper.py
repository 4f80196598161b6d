"""Has pods of edge nodes stay as long as an annotation says: see ``autonomy``.

It is done when a pod is bound, or an annotation changes, so that a node that goes offline finds it
done. Nothing is kept of what was done: the pod itself tells. Each write names the version that it
was decided for, so that several cloudcores may do the same work: one of them writes, the others are
refused. Whoever is refused for that does nothing, as the newer version comes by the watch and is
judged anew.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Final, Protocol

from cloudcore.edgecontroller import autonomy
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import NodeView, ObjectKey, ObjectView, PodView
from cloudcore.metrics import CloudMetrics
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.names import NodeID

logger = logging.getLogger(__name__)

AT_A_TIME: Final = 8
"""Pods that are being written."""

_LOOKED_AT_ONCE: Final = 64
"""Pods that are judged before others have their turn, when a list has brought thousands."""

_WRITTEN: Final = "written"
_OVERTAKEN: Final = "overtaken"


class PodClient(Protocol):
    """What is asked of the API server."""

    async def patch(self, path: str, body: bytes, *, content_type: str) -> bytes:
        """See ``cloudcore.kube.client``."""


class AutonomyKeeper:
    """Judges pods that have changed, and writes those that are to stay for another time.

    ``note_node`` and ``note_pod`` do not wait. A pod waits once, however often it has changed.
    """

    def __init__(
        self, client: PodClient, state: ClusterState, metrics: CloudMetrics, default_s: int
    ) -> None:
        """Judge what ``state`` has, and write by ``client``.

        Args:
            client: of the API server.
            state: has the pods, and knows which are on a node.
            metrics: counts the writes, and what cannot be understood.
            default_s: seconds that the API server gives to pods by default.
        """
        self._client, self._state, self._default_s = client, state, default_s
        self._writes, self._faulty = metrics.autonomy_writes, metrics.autonomy_faults
        self._said: dict[NodeID, str] = {}
        self._faults: dict[ObjectKey, str] = {}
        self._waiting: OrderedDict[ObjectKey, None] = OrderedDict()
        self._woken = asyncio.Event()
        self._backoff = Backoff(BackoffPolicy())
        self._rest_s = 0.0
        self._is_failing = False

    def note_node(self, key: ObjectKey, view: ObjectView | None) -> None:
        """Take in what a Node says now; None, or a Node that is no edge node, says nothing."""
        node, said = NodeID(key.name), None
        if isinstance(view, NodeView) and self._state.serves(view):
            said = view.metadata.annotations.get(autonomy.AUTONOMY)
        if said == self._said.get(node):
            return
        if said is None:
            del self._said[node]
        else:
            self._said[node] = said
        if self._understood(key, said):
            logger.info("autonomy of a node", extra={"node": node, "autonomy": said})
            for pod in self._state.locations.pods_of(node):
                self.note_pod(pod)

    def note_pod(self, key: ObjectKey) -> None:
        """Have a pod judged that is new, has changed or is gone."""
        self._waiting.setdefault(key)
        self._woken.set()

    async def run(self) -> None:
        """Judge and write until cancelled."""
        places = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                key, patch = await self._next()
                group.create_task(self._serve(key, patch, places), name=f"autonomy {key.name}")

    async def _next(self) -> tuple[ObjectKey, bytes]:
        """Return the next pod that is to be written, and what; pause after failures."""
        looked = 0
        while True:
            if self._rest_s:
                pause_s, self._rest_s = self._rest_s, 0.0
                await asyncio.sleep(pause_s)
            elif not self._waiting:
                self._woken.clear()
                await self._woken.wait()
            else:
                key, _ = self._waiting.popitem(last=False)
                patch = self._judge(key)
                if patch is not None:
                    return key, patch
                looked += 1
                if looked % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _judge(self, key: ObjectKey) -> bytes | None:
        """Return the patch that a pod needs as it is now."""
        one = self._state.pods.cache.get(key)
        node_says = self._said.get(_node_of(one)) if one is not None else None
        if one is None or not autonomy.may_concern(one.raw, node_says):
            self._understood(key, None)
            return None
        pod = autonomy.parse_pod(one.raw)
        says = node_says if pod.says is None else pod.says
        if not self._understood(key, pod.says):
            return None
        try:
            stay = autonomy.parse(says)
        except ValueError:
            return None  # told when the Node was noted
        return autonomy.patch_for(pod, stay, self._default_s)

    def _understood(self, key: ObjectKey, says: str | None) -> bool:
        """Whether what a Node or pod says can be used; if not, it is told once.

        Nothing is changed then: a slip of the pen ends no autonomy.
        """
        try:
            autonomy.parse(says)
        except ValueError as error:
            if self._faults.get(key) != says:
                self._faults[key] = says or ""
                logger.warning(
                    "annotation cannot be used, nothing is changed: %s",
                    error,
                    extra={"key": "/".join(filter(None, key))},
                )
        else:
            self._faults.pop(key, None)
        self._faulty.set(len(self._faults))
        return key not in self._faults

    async def _serve(self, key: ObjectKey, patch: bytes, places: asyncio.Semaphore) -> None:
        try:
            path = kinds.PODS.path(*key)
            await self._client.patch(path, patch, content_type=MERGE_PATCH)
        except RemoteError as error:
            if error.status.is_conflict or error.status.is_not_found:
                self._writes.inc(_OVERTAKEN)
            else:
                self._note_failure(key, error.status.code)
        else:
            self._writes.inc(_WRITTEN)
            self._note_success()
        finally:
            places.release()

    def _note_success(self) -> None:
        self._backoff.reset()
        if self._is_failing:
            self._is_failing = False
            logger.info("autonomy of pods is written again")

    def _note_failure(self, key: ObjectKey, code: int) -> None:
        """Count it and try again after a pause, behind the others; a line for the first one."""
        self._writes.inc(str(code))
        self._rest_s = self._rest_s or self._backoff.next_s()
        self.note_pod(key)
        logger.log(
            logging.DEBUG if self._is_failing else logging.WARNING,
            "autonomy of a pod is not written, it is tried again",
            extra={"key": "/".join(key), "code": code},
        )
        self._is_failing = True


def _node_of(pod: RawObject) -> NodeID:
    assert isinstance(pod.view, PodView)
    return pod.view.node
