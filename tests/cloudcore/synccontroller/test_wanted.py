"""What a node should have. Pure; the cluster is made by hand."""

from cloudcore.edgecontroller.location import API_SERVICE
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.wanted import is_wanted, wanted
from common.inventory import content_hash
from common.names import UID, NodeID
from tests.cloudcore.synccontroller.stage import NODE, Stage


def test_it_is_the_node_its_pods_what_they_name_and_services_where_these_are_known() -> None:
    stage = Stage()
    assert list(wanted(stage.state, NODE, services=True)) == []
    stage.add_node()
    stage.add_pod("web", configmaps=("conf", "missing"))
    stage.add_configmap("conf", data="x")
    stage.add_configmap("other")
    for key in (ObjectKey("ns", "front"), ObjectKey("elsewhere", "back"), API_SERVICE):
        stage.put(stage.state.services, key, f"uid-{key.name}")
        stage.state.locations.set_service(key, UID(f"uid-{key.name}"))
    items = {
        (str(one.resource_type), one.key.name): one
        for one in wanted(stage.state, NODE, services=True)
    }
    assert set(items) == {
        ("node", "n1"),
        ("pod", "web"),
        ("configmap", "conf"),
        ("service", "front"),
        ("service", "kubernetes"),
    }
    conf = stage.state.configmaps.cache.get(ObjectKey("ns", "conf"))
    assert conf is not None
    assert items["configmap", "conf"].content == content_hash(conf.raw)
    kubeedge = [one.resource_type for one in wanted(stage.state, NODE, services=False)]
    assert sorted(kubeedge) == ["configmap", "node", "pod"]


def test_of_what_is_not_kept_the_content_is_not_known() -> None:
    stage = Stage()
    stage.add_node()
    stage.add_pod("web", configmaps=("conf",))
    key = stage.add_configmap("conf")
    stage.state.configmaps.cache.drop(key)
    (item,) = (one for one in wanted(stage.state, NODE, services=True) if one.key == key)
    assert (item.uid, item.version, item.content) == ("uid-conf", "10", None)


def test_what_was_wanted_may_be_so_no_more() -> None:
    stage = Stage()
    stage.add_node()
    web = stage.add_pod("web", configmaps=("conf",))
    stage.add_configmap("conf")
    front = ObjectKey("ns", "front")
    stage.put(stage.state.services, front, "uid-front")
    stage.state.locations.set_service(front, UID("uid-front"))
    items = list(wanted(stage.state, NODE, services=True))

    def still() -> list[str]:
        state = stage.state
        named = []
        for item in items:
            followed = state.followed(item.resource_type)
            assert followed is not None
            now = followed.cache.get(item.key)
            assert now is not None
            if is_wanted(state, NODE, item, now):
                named.append(item.key.name)
        return sorted(named)

    assert still() == ["conf", "front", "n1", "web"]
    stage.move_pod(web, NodeID("n2"))
    assert still() == ["n1"]
    stage.state.locations.remove_node(NODE)
    assert still() == []
