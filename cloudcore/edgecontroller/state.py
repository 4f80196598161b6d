"""What the controller knows of the cluster: a cache for each kind, and who needs what. Pure.

What happens to objects the downstream controller alone writes, who is connected ``presence``.
Everybody else reads, but for bodies that were fetched and versions that we wrote ourselves.
"""

from msgspec import Struct

from cloudcore.edgecontroller.location import LocationCache, Ref, RefType
from cloudcore.kube import kinds
from cloudcore.kube.cache import ObjectCache
from cloudcore.kube.kinds import ResourceKind
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ClaimView, NodeView, ObjectKey, ObjectView, PodView, SliceView
from common.capabilities import NONE, Capabilities, Capability
from common.names import NodeID, PeerProtocol, ResourceType


class Followed(Struct, frozen=True):
    """A kind that is listed and watched."""

    kind: ResourceKind
    cache: ObjectCache
    view: type[ObjectView]
    resource_type: ResourceType | None
    """What the edge calls it; None for what is never sent."""


class Peer(Struct, frozen=True):
    """A connected node: how it speaks, and by which connection."""

    protocol: PeerProtocol
    connection: str
    """The id of the connection; each has another one."""

    capabilities: Capabilities = NONE
    """What it can do beyond the first version of our own protocol."""

    since_ms: int = 0
    """When it connected, in milliseconds since the epoch."""


class Peers:
    """Which nodes are connected to this cloudcore, as the hub tells."""

    def __init__(self) -> None:
        self._peers: dict[NodeID, Peer] = {}

    def connected(self, node: NodeID, peer: Peer) -> None:
        """Note that ``node`` is here; an older connection counts no more."""
        self._peers[node] = peer

    def disconnected(self, node: NodeID) -> None:
        """Note that ``node`` is gone."""
        self._peers.pop(node, None)

    def get(self, node: NodeID) -> Peer | None:
        """Return how ``node`` is connected; None where it is not."""
        return self._peers.get(node)

    def nodes(self) -> list[NodeID]:
        """Return the nodes that are connected now."""
        return list(self._peers)

    def is_own(self, node: NodeID) -> bool:
        """Whether ``node`` is connected and speaks our own protocol."""
        peer = self._peers.get(node)
        return peer is not None and peer.protocol is PeerProtocol.CLOUDEDGE_V1

    def can(self, node: NodeID, capability: Capability) -> bool:
        """Whether ``node`` is connected and has that capability."""
        peer = self._peers.get(node)
        return peer is not None and capability in peer.capabilities

    def is_current(self, node: NodeID, connection: str) -> bool:
        """Whether that is still the connection of ``node``."""
        peer = self._peers.get(node)
        return peer is not None and peer.connection == connection


class ClusterState:
    """The caches, by what the edge calls their objects, and the locations."""

    def __init__(self, locations: LocationCache, site_node: NodeID | None = None) -> None:
        """Make an empty state around ``locations``, which others read as well.

        With a ``site_node`` no other node is served: it is an EdgeSite's.
        """
        self.locations, self._site_node = locations, site_node
        self.peers = Peers()
        self.nodes = Followed(
            kinds.NODES, ObjectCache(self._is_served), NodeView, ResourceType.NODE
        )
        self.pods = Followed(kinds.PODS, ObjectCache(self._is_on_edge), PodView, ResourceType.POD)
        self.configmaps = Followed(
            kinds.CONFIGMAPS,
            ObjectCache(lambda one: self._is_named(RefType.CONFIGMAP, one)),
            ObjectView,
            ResourceType.CONFIGMAP,
        )
        self.secrets = Followed(
            kinds.SECRETS,
            ObjectCache(lambda one: self._is_named(RefType.SECRET, one)),
            ObjectView,
            ResourceType.SECRET,
        )
        # Small, and needed at once by a node that gets its first pod in a namespace.
        self.services = Followed(
            kinds.SERVICES, ObjectCache(lambda _: True), ObjectView, ResourceType.SERVICE
        )
        self.slices = Followed(kinds.ENDPOINT_SLICES, ObjectCache(lambda _: False), SliceView, None)
        self.claims = Followed(
            kinds.PERSISTENT_VOLUME_CLAIMS, ObjectCache(lambda _: False), ClaimView, None
        )
        sent: tuple[Followed, ...] = (
            self.nodes,
            self.pods,
            self.configmaps,
            self.secrets,
            self.services,
        )
        self._by_type: dict[str | None, Followed] = {one.resource_type: one for one in sent}

    def followed(self, resource_type: str) -> Followed | None:
        """Return the kind that the edge calls ``resource_type``; None where none is followed."""
        return self._by_type.get(resource_type)

    def drop(self, lost: set[Ref]) -> None:
        """Keep no longer what no edge pod names any more."""
        for ref in lost:
            if ref.type is RefType.CONFIGMAP:
                self.configmaps.cache.drop(ref.key)
            elif ref.type is RefType.SECRET:
                self.secrets.cache.drop(ref.key)

    def serves(self, node: NodeView) -> bool:
        """Whether that is an edge node, and one that is served here."""
        return node.is_edge and self._site_node in (None, node.metadata.name)

    def is_foreign(self, node: NodeID) -> bool:
        """Whether there is a Node of that name, as far as is known, that is no edge node."""
        return ObjectKey("", node) in self.nodes.cache and not self.locations.is_edge_node(node)

    def is_named(self, resource_type: str, key: ObjectKey) -> bool:
        """Whether an edge pod names that ConfigMap or Secret."""
        return self.locations.is_named(Ref(RefType(resource_type), key))

    def _is_served(self, node: RawObject) -> bool:
        assert isinstance(node.view, NodeView)
        return self.serves(node.view)

    def _is_on_edge(self, pod: RawObject) -> bool:
        assert isinstance(pod.view, PodView)
        return self.locations.is_edge_node(pod.view.node)

    def _is_named(self, ref_type: RefType, one: RawObject) -> bool:
        return self.locations.is_named(Ref(ref_type, one.view.metadata.key))
