"""What the controller knows of the cluster. Pure."""

import json
from typing import Any

import msgspec
import pytest

from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.edgecontroller.state import ClusterState, Followed, Peer, Peers
from cloudcore.kube.listwatch import ObjectChanged, RawObject
from cloudcore.kube.views import ObjectKey, view_as
from common.capabilities import Capability
from common.names import UID, NodeID, PeerProtocol
from common.podrefs import PodRefs

NODE = NodeID("n1")


def take(followed: Followed, name: str, *, namespace: str = "a", **rest: Any) -> None:
    metadata = {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "1"}
    raw = json.dumps({"metadata": metadata | rest.pop("metadata", {}), **rest}).encode()
    followed.cache.apply(ObjectChanged(RawObject(view_as(raw, followed.view), msgspec.Raw(raw))))


@pytest.fixture
def state() -> ClusterState:
    locations = LocationCache()
    locations.set_node(NODE, NodeLocation(UID("u")))
    names = PodRefs(configmaps=frozenset({"named"}), secrets=frozenset({"named"}))
    locations.set_pod(ObjectKey("a", "web"), PodLocation(UID("p"), NODE, names))
    return ClusterState(locations)


def test_only_what_the_edge_needs_is_kept(state: ClusterState) -> None:
    for followed in (state.configmaps, state.secrets):
        take(followed, "named")
        take(followed, "other")
        take(followed, "named", namespace="b")
        assert [one.view.metadata.key for one in followed.cache.kept()] == [("a", "named")]
        assert len(followed.cache) == 3
    take(state.pods, "here", spec={"nodeName": NODE})
    take(state.pods, "elsewhere", spec={"nodeName": "worker"})
    take(state.pods, "pending", spec={})
    assert [one.view.metadata.name for one in state.pods.cache.kept()] == ["here"]
    take(state.nodes, NODE, metadata={"labels": {"node-role.kubernetes.io/edge": ""}})
    take(state.nodes, "worker")
    assert [one.view.metadata.name for one in state.nodes.cache.kept()] == [NODE]


def test_at_an_edgesite_no_other_node_is_served() -> None:
    """P4: without a node in front of a resource, it would get what is others'."""
    state, label = ClusterState(LocationCache(), NODE), {"node-role.kubernetes.io/edge": ""}
    take(state.nodes, NODE, metadata={"labels": label})
    take(state.nodes, "another", metadata={"labels": label})
    assert [one.view.metadata.name for one in state.nodes.cache.kept()] == [NODE]


def test_what_no_pod_names_any_more_is_dropped(state: ClusterState) -> None:
    for followed in (state.configmaps, state.secrets):
        take(followed, "named")
    state.drop(state.locations.remove_pod(ObjectKey("a", "web")))
    assert list(state.configmaps.cache.kept()) == list(state.secrets.cache.kept()) == []


def test_kinds_are_found_by_what_the_edge_calls_them(state: ClusterState) -> None:
    assert state.followed("pod") is state.pods
    assert state.followed("secret") is state.secrets
    assert state.followed("endpoints") is None
    assert state.is_named("configmap", ObjectKey("a", "named"))
    assert not state.is_named("secret", ObjectKey("b", "named"))


def test_a_node_that_is_there_without_the_label_is_foreign(state: ClusterState) -> None:
    take(state.nodes, "worker", namespace="")
    assert state.is_foreign(NodeID("worker"))
    assert not state.is_foreign(NODE)
    assert not state.is_foreign(NodeID("unknown"))


def test_peers_are_known_by_their_newest_connection() -> None:
    peers = Peers()
    assert not peers.is_own(NODE)
    peers.connected(NODE, Peer(PeerProtocol.CLOUDEDGE_V1, "1"))
    assert peers.is_own(NODE)
    assert peers.is_current(NODE, "1")
    peers.connected(NODE, Peer(PeerProtocol.KUBEEDGE, "2"))
    assert not peers.is_own(NODE)
    assert not peers.is_current(NODE, "1")
    peers.disconnected(NODE)
    peers.disconnected(NODE)
    assert not peers.is_current(NODE, "2")


def test_a_peer_can_what_its_connection_agreed_on() -> None:
    peers = Peers()
    assert peers.get(NODE) is None
    assert not peers.can(NODE, Capability.DIGEST)
    peer = Peer(PeerProtocol.CLOUDEDGE_V1, "1", frozenset({Capability.DIGEST}))
    peers.connected(NODE, peer)
    assert (peers.get(NODE), peers.nodes()) == (peer, [NODE])
    assert peers.can(NODE, Capability.DIGEST)
    assert not peers.can(NODE, Capability.BEATS)
