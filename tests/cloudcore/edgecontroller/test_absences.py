"""What lists lack. Real: caches, locations, holds. The API server is in memory.

On the real one, with the nodes being told: ``test_downstream``.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cloudcore.edgecontroller import absences
from cloudcore.edgecontroller.absences import Absences
from cloudcore.edgecontroller.progress import Progress
from cloudcore.edgecontroller.state import Followed
from cloudcore.kube.listwatch import Interrupted, ListCompleted
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.holds import Holds
from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import UID, NodeID, ResourceType
from tests.cloudcore.synccontroller.stage import NODE, Stage, released_node

PATIENCE_S = 50.0


class Scene:
    def __init__(self) -> None:
        self.stage = stage = Stage()
        self.state = state = stage.state
        stage.add_node()
        self.progress = Progress([state.pods])
        self.progress.note(state.pods, ListCompleted("1"))
        self.holds = Holds(stage.client.typed, state.locations, stage.metrics)
        self.ended: list[str] = []
        self.absences = Absences(stage.client.typed, state, self.progress, self.holds, self._end)

    async def _end(self, followed: Followed, key: ObjectKey, uid: UID) -> None:
        for change in followed.cache.end_absent(key, uid):
            self.ended.append(f"{followed.kind.plural}/{key.name}")
            if followed.resource_type is ResourceType.POD:
                self.state.locations.remove_pod(change.key)

    async def look(self) -> list[str]:
        """What is ended by one look."""
        self.absences.wake()
        async with asyncio.timeout(PATIENCE_S):
            await self.absences.settled()
        ended, self.ended = sorted(self.ended), []
        return ended


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    # Pauses are long enough for a test to go on before what failed is tried again by itself.
    monkeypatch.setattr(absences, "Backoff", lambda _: Backoff(BackoffPolicy(first_s=0.2)))
    made = Scene()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.absences.run())
        yield made
        running.cancel()


async def test_what_the_api_server_says_is_gone_is_ended(scene: Scene) -> None:
    web, conf = scene.stage.add_pod("web", configmaps=("conf",)), scene.stage.add_configmap("conf")
    scene.stage.lose(scene.state.configmaps, conf)
    assert await scene.look() == ["configmaps/conf"]
    scene.stage.lose(scene.state.pods, web)
    assert await scene.look() == ["pods/web"]
    assert await scene.look() == []


async def test_what_exists_stays_and_what_was_replaced_is_ended(scene: Scene) -> None:
    web, db = scene.stage.add_pod("web"), scene.stage.add_pod("db")
    kept = {
        key: scene.stage.client.objects.pop(scene.state.pods.kind.path(*key)) for key in (web, db)
    }
    scene.stage.relist(scene.state.pods)
    for key, body in kept.items():
        scene.stage.client.objects[scene.state.pods.kind.path(*key)] = body
    kept[db]["metadata"]["uid"] = "another"
    assert await scene.look() == ["pods/db"]
    assert scene.state.pods.cache.absent() == []
    assert scene.state.pods.cache.identity(web) is not None


async def test_nobody_is_asked_for_what_concerns_no_edge(scene: Scene) -> None:
    scene.stage.put(scene.state.configmaps, ObjectKey("ns", "unnamed"), "u")
    scene.stage.put(scene.state.claims, ObjectKey("ns", "claim"), "u")
    scene.stage.put(scene.state.pods, ObjectKey("ns", "elsewhere"), "u", node="n9")
    scene.stage.put(scene.state.nodes, ObjectKey("", "n9"), "u")
    for followed in (scene.state.configmaps, scene.state.claims, scene.state.pods):
        scene.stage.relist(followed)
    asked = len(scene.stage.client.requests)
    assert await scene.look() == [
        "configmaps/unnamed",
        "persistentvolumeclaims/claim",
        "pods/elsewhere",
    ]
    assert len(scene.stage.client.requests) == asked


async def test_services_and_nodes_are_asked_for_as_well(scene: Scene) -> None:
    service = ObjectKey("ns", "front")
    scene.stage.add_pod("web")
    scene.stage.put(scene.state.services, service, "u")
    scene.state.locations.set_service(service, UID("u"))
    scene.stage.lose(scene.state.services, service)
    scene.stage.lose(scene.state.nodes, ObjectKey("", NODE))
    assert await scene.look() == ["nodes/n1", "services/front"]
    assert len(scene.stage.client.made("GET")) == 2


async def test_what_cannot_be_asked_for_stays_until_it_can(scene: Scene) -> None:
    web, db = scene.stage.add_pod("web"), scene.stage.add_pod("db")
    scene.stage.lose(scene.state.pods, web, db)
    scene.stage.client.failures = {scene.state.pods.kind.path(*web): 503}
    assert await scene.look() == ["pods/db"]
    assert scene.state.locations.pods_of(NODE) == (web,)
    scene.stage.client.failures = {}
    async with asyncio.timeout(PATIENCE_S):
        while not scene.ended:  # noqa: ASYNC110 - it tries again by itself, and tells nobody
            await asyncio.sleep(0.01)
    assert scene.ended == ["pods/web"]


async def test_nothing_is_judged_before_all_caches_are_in_step(scene: Scene) -> None:
    web = scene.stage.add_pod("web")
    scene.stage.lose(scene.state.pods, web)
    scene.progress.note(scene.state.pods, Interrupted())
    scene.absences.wake()
    for _ in range(10):
        await asyncio.sleep(0)
    assert scene.ended == []
    scene.progress.note(scene.state.pods, ListCompleted("2"))
    assert await scene.look() == ["pods/web"]


async def test_what_was_heard_of_meanwhile_is_left_to_that(scene: Scene) -> None:
    web = scene.stage.add_pod("web")
    scene.stage.lose(scene.state.pods, web)
    scene.stage.add_pod("web")
    assert await scene.look() == []


async def test_too_many_pods_are_held_with_what_they_name_until_the_node_is_released(
    scene: Scene,
) -> None:
    pods = [scene.stage.add_pod(f"p{number}", configmaps=("conf",)) for number in range(8)]
    conf = scene.stage.add_configmap("conf")
    scene.stage.lose(scene.state.pods, *pods)
    scene.stage.lose(scene.state.configmaps, conf)
    for _ in range(2):
        assert await scene.look() == []
    assert scene.holds.is_held(NODE)
    assert len(scene.state.locations.pods_of(NODE)) == 8
    scene.holds.note(released_node())
    assert await scene.look() == ["configmaps/conf", *(f"pods/p{n}" for n in range(8))]
    assert not scene.holds.is_held(NODE)


async def test_what_many_nodes_share_stays_until_all_of_them_are_released(scene: Scene) -> None:
    nodes = [NodeID(f"m{number}") for number in range(20)]
    for node in nodes:
        scene.stage.add_node(node)
    for node in nodes[:3]:
        scene.stage.add_pod(f"on-{node}", node, configmaps=("conf",))
    scene.stage.lose(scene.state.configmaps, scene.stage.add_configmap("conf"))
    for node in nodes[:3]:
        assert await scene.look() == []
        assert scene.holds.is_held(node)
        scene.holds.note(released_node(node))
    assert await scene.look() == ["configmaps/conf"]
