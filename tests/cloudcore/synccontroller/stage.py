"""What tests of comparisons share: a cluster that is made by hand, and an API server in memory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from prometheus_client import CollectorRegistry

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState, Followed, Peer
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import (
    ListCompleted,
    ListStarted,
    ObjectChanged,
    PageListed,
    RawObject,
    WatchEvent,
)
from cloudcore.kube.views import NodeView, ObjectKey, view_as
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.message import Message
from common.capabilities import ALL, Capability
from common.errors import RemoteError
from common.names import (
    EDGE_NODE_LABEL,
    UID,
    GroupName,
    ModuleName,
    NodeID,
    PeerProtocol,
)
from common.podrefs import PodRefs
from common.status import failure

NODE = NodeID("n1")


@dataclass
class FakeClient:
    """An API server that has objects by path; ``failures`` are the codes of requests that fail."""

    objects: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    version: int = 100

    @property
    def typed(self) -> KubeClient:
        return cast("KubeClient", self)

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        self._admit("GET", path)
        if params is not None:
            return _json({"metadata": {"resourceVersion": str(self.version)}, "items": []})
        if path not in self.objects:
            raise RemoteError(failure(404, path))
        return _json(self.objects[path])

    async def find(self, path: str) -> bytes | None:
        self._admit("GET", path)
        return _json(self.objects[path]) if path in self.objects else None

    async def create(self, path: str, body: bytes) -> bytes:
        self._admit("POST", path)
        made = json.loads(body)
        path = f"{path}/{made['metadata']['name']}"
        if path in self.objects:
            raise RemoteError(failure(409, path))
        return self._put(path, made)

    async def update(self, path: str, body: bytes) -> bytes:
        self._admit("PUT", path)
        made = json.loads(body)
        before = self.objects[path]["metadata"]["resourceVersion"]
        if made["metadata"]["resourceVersion"] != before:
            raise RemoteError(failure(409, path))
        return self._put(path, made)

    async def patch(self, path: str, body: bytes, *, content_type: str) -> bytes:
        self._admit("PATCH", path)
        assert content_type == "application/merge-patch+json"
        return body

    def made(self, method: str) -> list[str]:
        """The paths of the requests of that method."""
        return [path for made, path in self.requests if made == method]

    def _put(self, path: str, made: dict[str, Any]) -> bytes:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = made
        return _json(made)

    def _admit(self, method: str, path: str) -> None:
        self.requests.append((method, path))
        code = self.failures.get(path, self.failures.get("*"))
        if code is not None:
            raise RemoteError(failure(code, path))


def released_node(node: NodeID = NODE) -> NodeView:
    """A Node that somebody has annotated, so that what is held is released."""
    metadata = {
        "name": node,
        "uid": f"uid-{node}",
        "resourceVersion": "11",
        "annotations": {"cloudedge.io/release-resync": "true"},
    }
    return view_as(_json({"metadata": metadata}), NodeView)


class Stage:
    """A controller's state, and a hub of which the test reads the mailbox."""

    def __init__(self, context: ControllerContext | None = None) -> None:
        self.client = FakeClient()
        self.state = ClusterState(LocationCache())
        self.metrics = CloudMetrics(CollectorRegistry())
        self.bus = MessageContext()
        self.bus.add_module(ModuleName.CLOUD_HUB, GroupName.CLOUD_HUB)
        self.sender = Sender(self.bus, context or ControllerContext(), self.metrics)
        self.reader = ObjectReader(self.client.typed, self.state)

    def connect(
        self,
        node: NodeID = NODE,
        capabilities: frozenset[Capability] = ALL,
        *,
        protocol: PeerProtocol = PeerProtocol.CLOUDEDGE_V1,
        connection: str = "c1",
    ) -> None:
        self.state.peers.connected(node, Peer(protocol, connection, capabilities))

    def add_node(self, node: NodeID = NODE) -> None:
        self.state.locations.set_node(node, NodeLocation(UID(f"uid-{node}")))
        self.put(self.state.nodes, ObjectKey("", node), f"uid-{node}")

    def add_pod(
        self, name: str, node: NodeID = NODE, *, configmaps: tuple[str, ...] = ()
    ) -> ObjectKey:
        key, refs = ObjectKey("ns", name), PodRefs(configmaps=frozenset(configmaps))
        self.state.locations.set_pod(key, PodLocation(UID(f"uid-{name}"), node, refs))
        self.put(self.state.pods, key, f"uid-{name}", node=node)
        return key

    def move_pod(self, key: ObjectKey, node: NodeID) -> None:
        """Have another pod of that name, on another node."""
        self.add_node(node)
        uid = UID("uid-of-another")
        self.state.locations.set_pod(key, PodLocation(uid, node, PodRefs()))
        self.put(self.state.pods, key, uid, version="20", node=node)

    def add_configmap(self, name: str, *, version: str = "10", data: str = "") -> ObjectKey:
        key = ObjectKey("ns", name)
        self.put(self.state.configmaps, key, f"uid-{name}", version=version, data=data)
        return key

    def put(
        self,
        followed: Followed,
        key: ObjectKey,
        uid: str,
        *,
        version: str = "10",
        node: str = "",
        data: str = "",
    ) -> RawObject:
        """Have an object, in the API server and in the cache."""
        metadata: dict[str, Any] = {"name": key.name, "uid": uid, "resourceVersion": version}
        if key.namespace:
            metadata["namespace"] = key.namespace
        if followed is self.state.nodes:
            metadata["labels"] = {EDGE_NODE_LABEL: ""}
        made = {
            "kind": followed.kind.kind,
            "apiVersion": "v1",
            "metadata": metadata,
            "spec": {"nodeName": node},
            "data": {"v": data},
        }
        self.client.objects[followed.kind.path(*key)] = made
        raw = _json(made)
        one = RawObject(view_as(raw, followed.view), msgspec.Raw(raw))
        followed.cache.apply(ObjectChanged(one))
        return one

    def lose(self, followed: Followed, *keys: ObjectKey) -> None:
        """Have the API server lose objects, of which a list then tells."""
        for key in keys:
            self.client.objects.pop(followed.kind.path(*key), None)
        self.relist(followed)

    def relist(self, followed: Followed) -> None:
        """Take in a list of what the API server has of a kind that has kept bodies only."""
        kept = [
            one
            for one in followed.cache.kept()
            if followed.kind.path(*one.view.metadata.key) in self.client.objects
        ]
        events: list[WatchEvent] = [ListStarted(), PageListed(kept), ListCompleted("10")]
        for event in events:
            followed.cache.apply(event)

    async def sent(self) -> list[Message]:
        """What was sent to the hub since the last call."""
        messages: list[Message] = []
        while self.bus.pending()[ModuleName.CLOUD_HUB]:
            messages += await self.bus.receive_batch(ModuleName.CLOUD_HUB, limit=1000)
        return messages


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
