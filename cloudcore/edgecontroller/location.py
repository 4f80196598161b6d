"""LocationCache: which edge node has, and which edge nodes need, what. Pure.

Six maps, kept up to date by each pod, node, service and slice that changes, and at any time equal
to what a computation from scratch would give:

1. the edge nodes and their status;
2. ConfigMap -> nodes;
3. Secret -> nodes (the same is kept for service accounts and claims, for authorisation);
4. the services;
5. service -> endpoints;
6. service -> the pods behind it.

References are counted by pod: an entry goes when the last pod on that node that names it goes.
Only pods on edge nodes are here: when a node becomes one, its pods have to be given again.

Source: KubeEdge cloud/pkg/edgecontroller/manager/location.go, where entries outlive their pods.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, TypeVar

from msgspec import Struct

from cloudcore.kube.views import ObjectKey
from common.names import UID, NodeID, ResourceType
from common.podrefs import PodRefs

K = TypeVar("K")

API_SERVICE: Final = ObjectKey("default", "kubernetes")
"""The service that is the API server: every pod learns of it, as from a kubelet."""


class RefType(StrEnum):
    """What a pod can name; the values are resource types of the wire."""

    CONFIGMAP = "configmap"
    SECRET = "secret"  # noqa: S105 - a resource type, not a password
    SERVICE_ACCOUNT = "serviceaccount"
    CLAIM = "persistentvolumeclaim"


class NodeLocation(Struct, frozen=True):
    """An edge node: which object it is, and the status of its Ready condition."""

    uid: UID
    ready: str = "Unknown"


class PodLocation(Struct, frozen=True):
    """A pod that is bound to a node, and what it names in its own namespace."""

    uid: UID
    node: NodeID
    refs: PodRefs


class SliceLocation(Struct, frozen=True):
    """One EndpointSlice: the service that it belongs to, its addresses and the pods behind them."""

    service: ObjectKey
    addresses: frozenset[str] = frozenset()
    pods: frozenset[ObjectKey] = frozenset()


class Ref(Struct, frozen=True):
    """An object that a pod names."""

    type: RefType
    key: ObjectKey


class LocationCache:
    """See the module's docstring. Written by the downstream controller, read by everybody."""

    def __init__(self) -> None:
        self._nodes: dict[NodeID, NodeLocation] = {}
        self._pods: dict[ObjectKey, PodLocation] = {}
        self._node_pods: dict[NodeID, set[ObjectKey]] = {}
        # How many pods of a node name an object, or live in a namespace.
        self._ref_nodes: dict[Ref, dict[NodeID, int]] = {}
        self._namespace_nodes: dict[str, dict[NodeID, int]] = {}
        self._services: dict[ObjectKey, UID] = {}
        self._namespace_services: dict[str, set[ObjectKey]] = {}
        self._claim_volumes: dict[ObjectKey, str] = {}
        self._volume_claims: dict[str, ObjectKey] = {}
        self._slices: dict[ObjectKey, SliceLocation] = {}
        self._service_slices: dict[ObjectKey, set[ObjectKey]] = {}

    # --- what there is ---------------------------------------------------------------------------

    def set_node(self, node: NodeID, location: NodeLocation) -> bool:
        """Note an edge node; return whether it was none before, so that its pods are missing."""
        is_new = node not in self._nodes
        self._nodes[node] = location
        return is_new

    def remove_node(self, node: NodeID) -> set[Ref]:
        """Forget a node and its pods; return what no pod of any edge node names any more."""
        self._nodes.pop(node, None)
        lost: set[Ref] = set()
        for key in list(self._node_pods.get(node, ())):
            lost |= self.remove_pod(key)
        return lost

    def set_pod(self, key: ObjectKey, pod: PodLocation) -> set[Ref]:
        """Note a pod as it is now; return what no pod of any edge node names any more.

        A pod whose node is no edge node is none of ours, and forgotten if it was.
        """
        if self._pods.get(key) == pod:
            return set()
        before = self._unlink(key)
        if pod.node in self._nodes:
            self._pods[key] = pod
            self._node_pods.setdefault(pod.node, set()).add(key)
            _count(self._namespace_nodes, key.namespace, pod.node)
            for ref in refs_of(key, pod):
                _count(self._ref_nodes, ref, pod.node)
        return {ref for ref in before if ref not in self._ref_nodes}

    def remove_pod(self, key: ObjectKey) -> set[Ref]:
        """Forget a pod; return what no pod of any edge node names any more."""
        return {ref for ref in self._unlink(key) if ref not in self._ref_nodes}

    def set_service(self, key: ObjectKey, uid: UID) -> None:
        """Note a service."""
        self._services[key] = uid
        self._namespace_services.setdefault(key.namespace, set()).add(key)

    def remove_service(self, key: ObjectKey) -> None:
        """Forget a service; its slices have a life of their own."""
        if self._services.pop(key, None) is not None:
            siblings = self._namespace_services[key.namespace]
            siblings.discard(key)
            if not siblings:
                del self._namespace_services[key.namespace]

    def set_slice(self, key: ObjectKey, location: SliceLocation) -> None:
        """Note an EndpointSlice as it is now."""
        self.remove_slice(key)
        self._slices[key] = location
        self._service_slices.setdefault(location.service, set()).add(key)

    def remove_slice(self, key: ObjectKey) -> None:
        """Forget an EndpointSlice."""
        old = self._slices.pop(key, None)
        if old is not None:
            siblings = self._service_slices[old.service]
            siblings.discard(key)
            if not siblings:
                del self._service_slices[old.service]

    def set_claim(self, key: ObjectKey, volume: str) -> None:
        """Note which volume a claim is bound to; empty for none, or for a claim that is gone."""
        old = self._claim_volumes.pop(key, None)
        if old is not None and self._volume_claims.get(old) == key:
            del self._volume_claims[old]
        if volume:
            self._claim_volumes[key] = volume
            self._volume_claims[volume] = key

    # --- who needs it ----------------------------------------------------------------------------

    def nodes(self) -> dict[NodeID, NodeLocation]:
        """Return the edge nodes and their status."""
        return dict(self._nodes)

    def is_edge_node(self, node: NodeID) -> bool:
        """Whether there is a Node of that name with the edge label."""
        return node in self._nodes

    def nodes_of(self, ref: Ref) -> tuple[NodeID, ...]:
        """Return the edge nodes that have a pod which names ``ref``."""
        return tuple(self._ref_nodes.get(ref, ()))

    def nodes_of_configmap(self, key: ObjectKey) -> tuple[NodeID, ...]:
        """Return the edge nodes that have a pod which names the ConfigMap."""
        return self.nodes_of(Ref(RefType.CONFIGMAP, key))

    def nodes_of_secret(self, key: ObjectKey) -> tuple[NodeID, ...]:
        """Return the edge nodes that have a pod which names the Secret."""
        return self.nodes_of(Ref(RefType.SECRET, key))

    def nodes_of_service(self, key: ObjectKey) -> set[NodeID]:
        """Return the edge nodes that run a pod in the service's namespace, which learns of it.

        The API server's goes to all that run any pod.
        """
        if key == API_SERVICE:
            return set(self._node_pods)
        return set(self._namespace_nodes.get(key.namespace, ()))

    def needs_service(self, node: NodeID, key: ObjectKey) -> bool:
        """Whether ``node`` is one of ``nodes_of_service``, at no cost of how many there are."""
        return (
            node in self._node_pods if key == API_SERVICE else self.has_pod_in(node, key.namespace)
        )

    def endpoints_of_service(self, key: ObjectKey) -> frozenset[str]:
        """Return the addresses of a service, from all its slices."""
        return frozenset().union(*(one.addresses for one in self._slices_of(key)))

    def pods_of_service(self, key: ObjectKey) -> frozenset[ObjectKey]:
        """Return the pods behind a service, edge pods or not, from all its slices."""
        return frozenset().union(*(one.pods for one in self._slices_of(key)))

    def services(self) -> dict[ObjectKey, UID]:
        """Return all services."""
        return dict(self._services)

    def services_in(self, namespace: str) -> set[ObjectKey]:
        """Return the services of a namespace."""
        return set(self._namespace_services.get(namespace, ()))

    def services_of(self, node: NodeID) -> set[ObjectKey]:
        """Return the services that ``node`` needs."""
        namespaces = {key.namespace for key in self.pods_of(node)}
        needed = {key for one in namespaces for key in self._namespace_services.get(one, ())}
        if namespaces and API_SERVICE in self._services:
            needed.add(API_SERVICE)
        return needed

    def has_pod_in(self, node: NodeID, namespace: str) -> bool:
        """Whether ``node`` has a pod in ``namespace``."""
        return node in self._namespace_nodes.get(namespace, ())

    # --- what a node has and may -----------------------------------------------------------------

    def names(self, node: NodeID, resource_type: str, namespace: str, name: str) -> bool:
        """Whether a pod of ``node`` names that object.

        Args:
            node: the edge node.
            resource_type: one of ``RefType``, or ``persistentvolume``, which is named by the claim
                that it is bound to; nothing else is ever named.
            namespace: of the object, and so of the pod; without meaning for a volume.
            name: of the object.
        """
        if resource_type == ResourceType.PERSISTENT_VOLUME:
            claim = self._volume_claims.get(name)
            return claim is not None and node in self.nodes_of(Ref(RefType.CLAIM, claim))
        try:
            ref = Ref(RefType(resource_type), ObjectKey(namespace, name))
        except ValueError:
            return False
        return node in self._ref_nodes.get(ref, ())

    def is_named(self, ref: Ref) -> bool:
        """Whether a pod of any edge node names ``ref``."""
        return ref in self._ref_nodes

    def pod_node(self, namespace: str, name: str) -> NodeID | None:
        """Return the edge node of a pod; None where it has none."""
        pod = self._pods.get(ObjectKey(namespace, name))
        return pod.node if pod is not None else None

    def pod_uid(self, namespace: str, name: str) -> UID | None:
        """Return the UID of a pod on an edge node; None where there is none."""
        pod = self._pods.get(ObjectKey(namespace, name))
        return pod.uid if pod is not None else None

    def pods_of(self, node: NodeID) -> tuple[ObjectKey, ...]:
        """Return the pods of an edge node."""
        return tuple(self._node_pods.get(node, ()))

    def named_by(self, node: NodeID) -> set[Ref]:
        """Return everything that the pods of an edge node name."""
        return {ref for key in self.pods_of(node) for ref in refs_of(key, self._pods[key])}

    def _slices_of(self, service: ObjectKey) -> Iterator[SliceLocation]:
        return (self._slices[key] for key in self._service_slices.get(service, ()))

    def _unlink(self, key: ObjectKey) -> list[Ref]:
        """Take a pod out of all maps and return what it named."""
        pod = self._pods.pop(key, None)
        if pod is None:
            return []
        pods = self._node_pods[pod.node]
        pods.discard(key)
        if not pods:
            del self._node_pods[pod.node]
        _uncount(self._namespace_nodes, key.namespace, pod.node)
        refs = list(refs_of(key, pod))
        for ref in refs:
            _uncount(self._ref_nodes, ref, pod.node)
        return refs


def refs_of(key: ObjectKey, pod: PodLocation) -> Iterator[Ref]:
    """Yield everything that a pod names."""
    for ref_type, names in (
        (RefType.CONFIGMAP, pod.refs.configmaps),
        (RefType.SECRET, pod.refs.secrets),
        (RefType.SERVICE_ACCOUNT, pod.refs.service_accounts),
        (RefType.CLAIM, pod.refs.claims),
    ):
        for name in names:
            yield Ref(ref_type, ObjectKey(key.namespace, name))


def _count(counts: dict[K, dict[NodeID, int]], what: K, node: NodeID) -> None:
    by_node = counts.setdefault(what, {})
    by_node[node] = by_node.get(node, 0) + 1


def _uncount(counts: dict[K, dict[NodeID, int]], what: K, node: NodeID) -> None:
    by_node = counts[what]
    by_node[node] -= 1
    if not by_node[node]:
        del by_node[node]
        if not by_node:
            del counts[what]
