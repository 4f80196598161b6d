"""What was read before its stream has told of it. Real: the caches, filled by hand."""

import msgspec

from cloudcore.edgecontroller.ahead import Ahead
from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.edgecontroller.state import ClusterState, Followed
from cloudcore.kube.listwatch import (
    Bookmarked,
    ListCompleted,
    ListStarted,
    ObjectChanged,
    PageListed,
    RawObject,
)
from cloudcore.kube.views import ObjectKey, view_as
from common.names import UID, NodeID
from common.podrefs import PodRefs

NODE = NodeID("n1")
KEY = ObjectKey("default", "conf")


class Scene:
    """A node with a pod that names a ConfigMap; the caches know everything up to version 10."""

    def __init__(self) -> None:
        locations = LocationCache()
        locations.set_node(NODE, NodeLocation(UID("n")))
        refs = PodRefs(configmaps=frozenset({KEY.name}))
        locations.set_pod(ObjectKey("default", "web"), PodLocation(UID("p"), NODE, refs))
        self.state, self.ahead = ClusterState(locations), Ahead(locations)
        for followed in (self.state.configmaps, self.state.pods):
            self.list_without(followed, "10")

    def list_without(self, followed: Followed, version: str) -> None:
        for event in (ListStarted(), PageListed([]), ListCompleted(version)):
            followed.cache.apply(event)


def read(followed: Followed, version: str, *, uid: str = "u1", node: str = "") -> RawObject:
    metadata = {
        "namespace": KEY.namespace,
        "name": KEY.name,
        "uid": uid,
        "resourceVersion": version,
    }
    raw = msgspec.json.encode({"metadata": metadata, "spec": {"nodeName": node}})
    return RawObject(view_as(raw, followed.view), msgspec.Raw(raw))


def test_what_a_list_passes_over_makes_its_holders_doubtful() -> None:
    scene = Scene()
    configmaps = scene.state.configmaps
    scene.ahead.note(configmaps, read(configmaps, "11"))
    scene.list_without(configmaps, "12")
    assert scene.ahead.caught_up(configmaps, by_list=True) == {NODE}
    assert len(scene.ahead) == 0


def test_a_pod_makes_its_node_doubtful() -> None:
    scene = Scene()
    scene.ahead.note(scene.state.pods, read(scene.state.pods, "11", node=NODE))
    scene.list_without(scene.state.pods, "12")
    assert scene.ahead.caught_up(scene.state.pods, by_list=True) == {NODE}


def test_what_the_stream_tells_of_needs_no_comparison() -> None:
    scene = Scene()
    configmaps = scene.state.configmaps
    scene.ahead.note(configmaps, read(configmaps, "11"))
    configmaps.cache.apply(Bookmarked("12"))
    assert scene.ahead.caught_up(configmaps, by_list=False) == set()
    assert len(scene.ahead) == 0


def test_what_the_list_has_needs_none_and_another_of_its_name_does() -> None:
    for uid, doubtful in (("u1", set[NodeID]()), ("u2", {NODE})):
        scene = Scene()
        configmaps = scene.state.configmaps
        scene.ahead.note(configmaps, read(configmaps, "11"))
        listed = read(configmaps, "12", uid=uid)
        for event in (ListStarted(), PageListed([listed]), ListCompleted("13")):
            configmaps.cache.apply(event)
        assert scene.ahead.caught_up(configmaps, by_list=True) == doubtful


def test_it_is_remembered_until_the_cache_is_as_far() -> None:
    scene = Scene()
    configmaps = scene.state.configmaps
    scene.ahead.note(configmaps, read(configmaps, "20"))
    scene.list_without(configmaps, "12")
    assert scene.ahead.caught_up(configmaps, by_list=True) == set()
    assert scene.ahead.caught_up(scene.state.pods, by_list=True) == set()
    assert len(scene.ahead) == 1


def test_what_the_cache_knows_is_not_ahead_of_it() -> None:
    scene = Scene()
    configmaps = scene.state.configmaps
    scene.ahead.note(configmaps, read(configmaps, "9"))
    configmaps.cache.apply(ObjectChanged(read(configmaps, "11")))
    scene.ahead.note(configmaps, read(configmaps, "12"))
    assert len(scene.ahead) == 0
