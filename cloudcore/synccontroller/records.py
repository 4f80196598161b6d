"""Ends pods on KubeEdge edges that were deleted while these were away.

Such an edge cannot say what it has. So the pods that it was sent stand in a ConfigMap, one for each
connected KubeEdge node, which is written a few seconds after they have changed, and by no other
cloudcore than the one to which the node is connected. When the node comes back, whatever stands
there and does not exist any more, as the API server says of each, is deleted on it.

Source: KubeEdge keeps an ObjectSync for each object and node, written with each acknowledgement.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.sender import Sender, skeleton
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.views import ObjectKey, PodView, view_as
from cloudcore.synccontroller.diff import Item
from cloudcore.synccontroller.everything import delivery_of
from cloudcore.synccontroller.guard import Plan
from cloudcore.synccontroller.holds import Holds
from cloudcore.synccontroller.podrecord import PodRecord, parse_record
from common.errors import RemoteError
from common.names import UID, NodeID, Operation, PeerProtocol, ResourceType

logger = logging.getLogger(__name__)

NAMESPACE: Final = "kubeedge"
LOOK_S: Final = 5.0
"""How long a change waits for others to be written with it."""

AT_A_TIME: Final = 8
_LABEL: Final = "cloudedge.io/pods-of-node"
_MAX_NAME: Final = 253


class _Meta(msgspec.Struct):
    resourceVersion: str  # noqa: N815 - the API's spelling


class _ConfigMap(msgspec.Struct):
    metadata: _Meta
    data: dict[str, str] = {}


class _Kept(Struct):
    """What is known of one node's record."""

    connection: str
    record: PodRecord = field(default_factory=lambda: PodRecord({}))
    version: str | None = None
    """Of the ConfigMap; empty where there is none, None where nobody has looked."""

    written: dict[str, str] = field(default_factory=dict)
    is_told: bool = False
    """Whether the node was told, since it has connected, what had ended before."""


class Records:
    """One for all KubeEdge nodes."""

    def __init__(
        self,
        client: KubeClient,
        state: ClusterState,
        sender: Sender,
        progress: Progress,
        holds: Holds,
    ) -> None:
        """Keep records by ``client``; ``holds`` judges how much may be ended by them."""
        self._client, self._state, self._sender = client, state, sender
        self._progress, self._holds = progress, holds
        self._kept: dict[NodeID, _Kept] = {}

    async def run(self) -> None:
        """Keep the records until cancelled; what changed in the last seconds is then lost."""
        while True:
            await self._progress.in_step()
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Bring all records up to date once."""
        now_s = asyncio.get_running_loop().time()
        places = asyncio.Semaphore(AT_A_TIME)
        here = {
            node: peer.connection
            for node in self._state.peers.nodes()
            if (peer := self._state.peers.get(node)) is not None
            and peer.protocol is PeerProtocol.KUBEEDGE
        }
        async with asyncio.TaskGroup() as group:
            for node in {*here, *self._kept}:
                task = self._serve(node, here.get(node), now_s, places)
                group.create_task(task, name=f"record of {node}")

    async def _serve(
        self, node: NodeID, connection: str | None, now_s: float, places: asyncio.Semaphore
    ) -> None:
        kept = self._kept.get(node)
        if connection is not None:
            if kept is None or kept.connection != connection:
                kept = self._kept[node] = _Kept(connection)
            excess = kept.record.update(self._pods_of(node), now_s)
            if excess:
                self._sender.metrics.dropped.inc("pod_record_full", excess)
                logger.error("more pods than a record takes", extra={"node": node})
        assert kept is not None
        try:
            if self._is_due(node, kept):
                async with places:
                    await self._settle(node, kept, is_here=connection is not None)
        except RemoteError as error:  # tried again the next time
            logger.warning(
                "the record of a node's pods cannot be kept",
                extra={"node": node, "code": error.status.code, "reason": error.status.message},
            )
            if error.status.code in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                kept.version = None  # somebody else has written it, or removed it
            return
        if connection is None:
            del self._kept[node]

    def _is_due(self, node: NodeID, kept: _Kept) -> bool:
        return (
            not kept.is_told or kept.record.data() != kept.written or self._holds.is_released(node)
        )

    async def _settle(self, node: NodeID, kept: _Kept, *, is_here: bool) -> None:
        if kept.version is None:
            await self._read(node, kept)
        if is_here and not kept.is_told and not self._holds.is_held(node):
            kept.is_told = await self._tell(node, kept.record)
        if kept.is_told:
            await self._holds.settled(node)
        if kept.record.data() != kept.written:
            await self._write(node, kept)

    async def _tell(self, node: NodeID, record: PodRecord) -> bool:
        """Delete on ``node`` what has ended; return False where that is held."""
        current = self._pods_of(node)
        gone = {
            uid: key
            for uid, key in record.ended(current).items()
            if await self._is_gone(node, uid, key)
        }
        if node in self._holds.admit({node: Plan(len(record), len(gone), len(gone))}):
            return False
        for uid, key in gone.items():
            delivery = delivery_of(node, Operation.DELETE, Item(ResourceType.POD, key, uid, ""))
            content = skeleton(kinds.PODS.kind, kinds.PODS.api_version, delivery, uid)
            await self._sender.send_object(delivery, content, "")
        if gone:
            logger.info("pods ended while a node was away", extra={"node": node, "n": len(gone)})
        return True

    async def _is_gone(self, node: NodeID, uid: UID, key: ObjectKey) -> bool:
        body = await self._client.find(kinds.PODS.path(*key))
        if body is None:
            return True
        view = view_as(body, PodView)
        return view.metadata.uid != uid or view.node != node

    def _pods_of(self, node: NodeID) -> dict[UID, ObjectKey]:
        locations = self._state.locations
        pods = ((locations.pod_uid(*key), key) for key in locations.pods_of(node))
        return {uid: key for uid, key in pods if uid is not None}

    async def _read(self, node: NodeID, kept: _Kept) -> None:
        body = await self._client.find(kinds.CONFIGMAPS.path(NAMESPACE, name_of(node)))
        if body is None:
            kept.version, kept.written = "", PodRecord({}).data()
            return
        found = msgspec.json.decode(body, type=_ConfigMap)
        kept.version, kept.written = found.metadata.resourceVersion, found.data
        kept.record.merge(parse_record(found.data))

    async def _write(self, node: NodeID, kept: _Kept) -> None:
        data = kept.record.data()
        body = msgspec.json.encode(self._configmap(node, data, kept.version))
        if kept.version:
            answer = await self._client.update(
                kinds.CONFIGMAPS.path(NAMESPACE, name_of(node)), body
            )
        else:
            answer = await self._client.create(kinds.CONFIGMAPS.path(NAMESPACE), body)
        kept.version = msgspec.json.decode(answer, type=_ConfigMap).metadata.resourceVersion
        kept.written = data

    def _configmap(
        self, node: NodeID, data: Mapping[str, str], version: str | None
    ) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": name_of(node),
            "namespace": NAMESPACE,
            "labels": {_LABEL: ""},
        }
        if version:
            metadata["resourceVersion"] = version
        identity = self._state.nodes.cache.identity(ObjectKey("", node))
        if identity is not None:  # the record goes with its Node
            owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": identity[0]}
            metadata["ownerReferences"] = [owner]
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def name_of(node: NodeID) -> str:
    """Return the name of the ConfigMap that has the record of ``node``."""
    name = f"pods-of-{node}"
    if len(name) <= _MAX_NAME:
        return name
    return f"pods-of-{hashlib.sha256(node.encode()).hexdigest()}"
