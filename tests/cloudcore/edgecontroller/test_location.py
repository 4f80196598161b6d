"""LocationCache: at any time what a computation from scratch gives. Pure."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cloudcore.edgecontroller.location import (
    API_SERVICE,
    LocationCache,
    NodeLocation,
    PodLocation,
    Ref,
    RefType,
    SliceLocation,
)
from cloudcore.kube.views import ObjectKey
from common.names import UID, NodeID
from common.podrefs import PodRefs

NODES = [NodeID(name) for name in ("n1", "n2", "n3")]
NAMESPACES = ("a", "b")
NAMES = ("x", "y", "z")

node_ids = st.sampled_from(NODES)
keys = st.builds(ObjectKey, st.sampled_from(NAMESPACES), st.sampled_from(NAMES))
some_names = st.frozensets(st.sampled_from(NAMES))
refs = st.builds(PodRefs, some_names, some_names, some_names, some_names)
uids = st.sampled_from(["u1", "u2"]).map(UID)
pod_locations = st.builds(PodLocation, uids, node_ids, refs)
slice_locations = st.builds(
    SliceLocation,
    keys,
    st.frozensets(st.sampled_from(["192.0.2.1", "192.0.2.2"])),
    st.frozensets(keys),
)


@dataclass
class Cluster:
    """Everything there is, on edge nodes or not."""

    nodes: dict[NodeID, NodeLocation] = field(default_factory=dict)
    pods: dict[ObjectKey, PodLocation] = field(default_factory=dict)
    services: dict[ObjectKey, UID] = field(default_factory=dict)
    slices: dict[ObjectKey, SliceLocation] = field(default_factory=dict)
    claims: dict[ObjectKey, str] = field(default_factory=dict)

    def edge_pods(self) -> dict[ObjectKey, PodLocation]:
        return {key: pod for key, pod in self.pods.items() if pod.node in self.nodes}

    def names_of(self, ref_type: RefType, pod: PodLocation) -> frozenset[str]:
        return {
            RefType.CONFIGMAP: pod.refs.configmaps,
            RefType.SECRET: pod.refs.secrets,
            RefType.SERVICE_ACCOUNT: pod.refs.service_accounts,
            RefType.CLAIM: pod.refs.claims,
        }[ref_type]

    def nodes_of(self, ref: Ref) -> set[NodeID]:
        return {
            pod.node
            for key, pod in self.edge_pods().items()
            if key.namespace == ref.key.namespace and ref.key.name in self.names_of(ref.type, pod)
        }

    def all_refs(self) -> set[Ref]:
        return {
            Ref(ref_type, ObjectKey(namespace, name))
            for ref_type in RefType
            for namespace in NAMESPACES
            for name in NAMES
        }


class Incremental(RuleBasedStateMachine):
    """Whatever happens to the cluster, the cache says what the cluster says."""

    def __init__(self) -> None:
        super().__init__()
        self.cache, self.cluster = LocationCache(), Cluster()

    def expect_lost(self, lost: set[Ref], before: set[Ref]) -> None:
        after = {ref for ref in self.cluster.all_refs() if self.cluster.nodes_of(ref)}
        assert lost == before - after

    def named(self) -> set[Ref]:
        return {ref for ref in self.cluster.all_refs() if self.cluster.nodes_of(ref)}

    @rule(node=node_ids, uid=uids, ready=st.sampled_from(["True", "False"]))
    def set_node(self, node: NodeID, uid: UID, ready: str) -> None:
        is_new = node not in self.cluster.nodes
        self.cluster.nodes[node] = NodeLocation(uid, ready)
        assert self.cache.set_node(node, NodeLocation(uid, ready)) is is_new
        if is_new:  # as the controller does, by a list of the node's pods
            for key, pod in self.cluster.pods.items():
                if pod.node == node:
                    self.cache.set_pod(key, pod)

    @rule(node=node_ids)
    def remove_node(self, node: NodeID) -> None:
        before = self.named()
        self.cluster.nodes.pop(node, None)
        self.expect_lost(self.cache.remove_node(node), before)

    @rule(key=keys, pod=pod_locations)
    def set_pod(self, key: ObjectKey, pod: PodLocation) -> None:
        before = self.named()
        self.cluster.pods[key] = pod
        self.expect_lost(self.cache.set_pod(key, pod), before)

    @rule(key=keys)
    def remove_pod(self, key: ObjectKey) -> None:
        before = self.named()
        self.cluster.pods.pop(key, None)
        self.expect_lost(self.cache.remove_pod(key), before)

    @rule(key=keys, uid=uids)
    def set_service(self, key: ObjectKey, uid: UID) -> None:
        self.cluster.services[key] = uid
        self.cache.set_service(key, uid)

    @rule(key=keys)
    def remove_service(self, key: ObjectKey) -> None:
        self.cluster.services.pop(key, None)
        self.cache.remove_service(key)

    @rule(key=keys, location=slice_locations)
    def set_slice(self, key: ObjectKey, location: SliceLocation) -> None:
        self.cluster.slices[key] = location
        self.cache.set_slice(key, location)

    @rule(key=keys)
    def remove_slice(self, key: ObjectKey) -> None:
        self.cluster.slices.pop(key, None)
        self.cache.remove_slice(key)

    @rule(key=keys, volume=st.sampled_from(["", "v1", "v2"]))
    def set_claim(self, key: ObjectKey, volume: str) -> None:
        # A volume is bound to one claim, which the API server sees to.
        if volume and volume in self.cluster.claims.values():
            return
        self.cluster.claims[key] = volume
        self.cache.set_claim(key, volume)

    @invariant()
    def knows_the_nodes_and_their_pods(self) -> None:
        pods = self.cluster.edge_pods()
        assert self.cache.nodes() == self.cluster.nodes
        for node in NODES:
            assert self.cache.is_edge_node(node) is (node in self.cluster.nodes)
            assert set(self.cache.pods_of(node)) == {
                k for k, pod in pods.items() if pod.node == node
            }
            assert self.cache.named_by(node) == {
                ref for ref in self.cluster.all_refs() if node in self.cluster.nodes_of(ref)
            }
            for namespace in NAMESPACES:
                assert self.cache.has_pod_in(node, namespace) is any(
                    key.namespace == namespace and pod.node == node for key, pod in pods.items()
                )
        for namespace in NAMESPACES:
            for name in NAMES:
                pod = pods.get(ObjectKey(namespace, name))
                assert self.cache.pod_node(namespace, name) == (pod.node if pod else None)
                assert self.cache.pod_uid(namespace, name) == (pod.uid if pod else None)

    @invariant()
    def knows_who_names_what(self) -> None:
        for ref in self.cluster.all_refs():
            nodes = self.cluster.nodes_of(ref)
            assert set(self.cache.nodes_of(ref)) == nodes
            assert self.cache.is_named(ref) is bool(nodes)
            for node in NODES:
                named = self.cache.names(node, ref.type, ref.key.namespace, ref.key.name)
                assert named is (node in nodes)
        for volume in ("v1", "v2"):
            claims = [key for key, bound in self.cluster.claims.items() if bound == volume]
            for node in NODES:
                assert self.cache.names(node, "persistentvolume", "null", volume) is any(
                    node in self.cluster.nodes_of(Ref(RefType.CLAIM, key)) for key in claims
                )

    @invariant()
    def knows_the_services(self) -> None:
        pods = self.cluster.edge_pods()
        assert self.cache.services() == self.cluster.services
        for namespace in NAMESPACES:
            for name in NAMES:
                key = ObjectKey(namespace, name)
                mine = [one for one in self.cluster.slices.values() if one.service == key]
                backing = {pod for one in mine for pod in one.pods}
                assert self.cache.pods_of_service(key) == backing
                assert self.cache.endpoints_of_service(key) == {
                    address for one in mine for address in one.addresses
                }
                nodes = {
                    pod.node for pod_key, pod in pods.items() if pod_key.namespace == namespace
                }
                assert self.cache.nodes_of_service(key) == nodes
                for node in NODES:
                    assert self.cache.needs_service(node, key) is (node in nodes)
                    needs = key in self.cluster.services and node in nodes
                    assert (key in self.cache.services_of(node)) is needs


TestIncremental = Incremental.TestCase
TestIncremental.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_name_goes_with_the_last_pod_that_names_it() -> None:
    cache, node = LocationCache(), NodeID("n1")
    cache.set_node(node, NodeLocation(UID("u")))
    one, two, conf = ObjectKey("a", "one"), ObjectKey("a", "two"), ObjectKey("a", "conf")
    refs_ = PodRefs(configmaps=frozenset({"conf"}), secrets=frozenset({"db"}))
    for key in (one, two):
        cache.set_pod(key, PodLocation(UID("u"), node, refs_))
    assert cache.nodes_of_configmap(conf) == (node,)
    assert cache.nodes_of_secret(ObjectKey("a", "db")) == (node,)
    assert cache.remove_pod(one) == set()
    assert cache.nodes_of_configmap(conf) == (node,)
    assert Ref(RefType.CONFIGMAP, conf) in cache.remove_pod(two)
    assert cache.nodes_of_configmap(conf) == ()


def test_the_service_of_the_api_server_is_needed_wherever_a_pod_runs() -> None:
    cache, node, idle = LocationCache(), NodeID("n1"), NodeID("n2")
    for each in (node, idle):
        cache.set_node(each, NodeLocation(UID("u")))
    cache.set_service(API_SERVICE, UID("s"))
    cache.set_service(ObjectKey("default", "other"), UID("t"))
    pod = ObjectKey("a", "web")
    cache.set_pod(pod, PodLocation(UID("u"), node, PodRefs()))
    assert cache.nodes_of_service(API_SERVICE) == {node}
    assert [cache.needs_service(n, API_SERVICE) for n in (node, idle)] == [True, False]
    assert cache.services_of(node) == {API_SERVICE}
    assert cache.services_of(idle) == set()
    cache.remove_pod(pod)
    assert cache.services_of(node) == set()


def test_nothing_else_is_ever_named() -> None:
    cache = LocationCache()
    assert not cache.names(NodeID("n1"), "pod", "a", "x")
    assert not cache.names(NodeID("n1"), "", "", "")
