"""What comes and goes with pods. Real: caches, locations, the bus. The API server is in memory."""

import asyncio

from cloudcore.edgecontroller.companions import Companions
from cloudcore.edgecontroller.location import API_SERVICE, Ref, RefType
from cloudcore.kube.views import ObjectKey
from common.capabilities import NONE
from common.names import UID, Operation, PeerProtocol
from tests.cloudcore.synccontroller.stage import NODE, Stage

CONF, DB = (Ref(RefType.CONFIGMAP, ObjectKey("ns", name)) for name in ("conf", "db"))
ACCOUNT = Ref(RefType.SERVICE_ACCOUNT, ObjectKey("ns", "default"))


class Scene:
    def __init__(self) -> None:
        self.stage = stage = Stage()
        stage.add_node()
        stage.connect()
        self.companions = Companions(stage.state, stage.reader, stage.sender)

    async def named(self, *refs: Ref) -> list[tuple[Operation, str]]:
        """What is sent of what a pod names."""
        async with asyncio.TaskGroup() as group:
            await self.companions.send_named(NODE, refs, group)
        return await self.sent()

    async def sent(self) -> list[tuple[Operation, str]]:
        messages = await self.stage.sent()
        assert all(one.header.type == "inventory" for one in messages)
        return [(one.operation, one.resource.split("/", 2)[2]) for one in messages]


def test_what_the_node_has_named_before_is_not_new() -> None:
    scene = Scene()
    scene.stage.add_pod("web", configmaps=("conf",))
    assert scene.companions.newly_named(NODE, [CONF, DB, ACCOUNT]) == [DB]


def test_a_kubeedge_edge_asks_by_itself_and_who_is_away_is_compared_later() -> None:
    scene = Scene()
    scene.stage.connect(NODE, NONE, protocol=PeerProtocol.KUBEEDGE)
    assert scene.companions.newly_named(NODE, [CONF]) == []
    scene.stage.state.peers.disconnected(NODE)
    assert scene.companions.newly_named(NODE, [CONF]) == []


async def test_what_is_kept_is_sent_and_what_does_not_exist_is_not() -> None:
    scene = Scene()
    scene.stage.add_pod("web", configmaps=("conf", "db"))
    scene.stage.add_configmap("conf")
    assert await scene.named(CONF, DB) == [(Operation.UPDATE, "ns/configmap/conf")]


async def test_what_is_not_kept_is_fetched_and_sent_if_it_is_named_still() -> None:
    scene = Scene()
    scene.stage.add_pod("web", configmaps=("conf", "db"))
    for ref in (CONF, DB):
        scene.stage.state.configmaps.cache.drop(scene.stage.add_configmap(ref.key.name))
    scene.stage.client.failures = {"/api/v1/namespaces/ns/configmaps/db": 503}
    assert await scene.named(CONF, DB) == [(Operation.UPDATE, "ns/configmap/conf")]
    scene.stage.client.failures = {}
    scene.stage.client.objects.pop("/api/v1/namespaces/ns/configmaps/db")
    assert await scene.named(DB) == []
    scene.stage.state.configmaps.cache.drop(CONF.key)
    scene.stage.state.locations.remove_pod(ObjectKey("ns", "web"))
    assert await scene.named(CONF) == []


async def test_services_come_with_the_first_pod_and_go_with_the_last() -> None:
    scene = Scene()
    state = scene.stage.state
    for key in (ObjectKey("ns", "front"), ObjectKey("other", "back"), API_SERVICE):
        scene.stage.put(state.services, key, f"uid-{key.name}")
        state.locations.set_service(key, UID(f"uid-{key.name}"))
    pod = scene.stage.add_pod("web")
    await scene.companions.send_services(NODE, "ns", Operation.UPDATE)
    named = ["default/service/kubernetes", "ns/service/front"]
    assert await scene.sent() == [(Operation.UPDATE, one) for one in named]
    await scene.companions.send_services(NODE, "ns", Operation.DELETE)
    assert await scene.sent() == []  # needed still
    state.locations.remove_pod(pod)
    await scene.companions.send_services(NODE, "ns", Operation.DELETE)
    assert await scene.sent() == [(Operation.DELETE, one) for one in named]
    state.peers.disconnected(NODE)
    await scene.companions.send_services(NODE, "ns", Operation.DELETE)
    assert await scene.sent() == []
