"""The difference between what a node holds and what it should, and how much of it is done.

Real: caches, holds, the bus. The API server is in memory; on the real one: ``test_resync``.
"""

import pytest

from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ObjectKey
from cloudcore.synccontroller.comparison import Comparison
from cloudcore.synccontroller.diff import Item
from cloudcore.synccontroller.holds import Holds
from cloudcore.synccontroller.wanted import wanted
from common.errors import RemoteError
from common.names import UID, NodeID, Operation, ResourceType
from tests.cloudcore.synccontroller.stage import NODE, Stage, released_node

POD, CONFIGMAP = ResourceType.POD, ResourceType.CONFIGMAP


class Scene:
    def __init__(self, pods: int = 1) -> None:
        self.stage = stage = Stage()
        stage.add_node()
        stage.connect()
        self.pods = [stage.add_pod(f"p{number}", configmaps=("conf",)) for number in range(pods)]
        self.conf = stage.add_configmap("conf")
        self.holds = Holds(stage.client.typed, stage.state.locations, stage.metrics)
        self.comparison = Comparison(stage.state, stage.reader, stage.sender, self.holds)
        self.held = list(wanted(stage.state, NODE, services=True))

    async def compare(self) -> tuple[dict[str, int], list[tuple[Operation, str]]]:
        answer = await self.comparison.compare(NODE, self.held)
        sent = await self.stage.sent()
        assert all(one.header.type == "inventory" for one in sent)
        return answer, [(one.operation, one.resource.split("/", 2)[2]) for one in sent]

    def forget(self, *keys: ObjectKey) -> None:
        """Have pods that neither the caches nor the API server knows."""
        for key in keys:
            self.stage.client.objects.pop(f"/api/v1/namespaces/{key.namespace}/pods/{key.name}")
            self.stage.state.drop(self.stage.state.locations.remove_pod(key))


async def test_who_is_in_step_is_sent_nothing() -> None:
    assert await Scene().compare() == ({"updated": 0, "deleted": 0}, [])


async def test_another_content_of_the_same_version_is_sent() -> None:
    scene = Scene()
    scene.held = [one._replace(content=1) if one.key == scene.conf else one for one in scene.held]
    answer, sent = await scene.compare()
    assert answer == {"updated": 1, "deleted": 0}
    assert sent == [(Operation.UPDATE, "ns/configmap/conf")]


async def test_without_a_hash_on_either_side_the_version_is_enough() -> None:
    scene = Scene()
    held = scene.held
    scene.held = [one._replace(content=None) for one in held]
    assert (await scene.compare())[1] == []
    scene.held = held
    scene.stage.state.configmaps.cache.drop(scene.conf)
    assert (await scene.compare())[1] == []


async def test_few_pods_may_all_end() -> None:
    scene = Scene(pods=7)
    scene.forget(*scene.pods)
    answer, sent = await scene.compare()
    assert answer == {"updated": 0, "deleted": 8}
    assert sent[-1] == (Operation.DELETE, "ns/configmap/conf")


async def test_of_many_pods_more_than_half_are_held_until_the_node_is_released() -> None:
    scene = Scene(pods=8)
    scene.forget(*scene.pods[:5])
    replaced = Item(POD, ObjectKey("ns", "p7"), UID("older"), "3")
    scene.held = [replaced if one.key.name == "p7" else one for one in scene.held]
    answer, sent = await scene.compare()
    assert (answer, sent) == ({"updated": 0, "deleted": 0}, [])
    assert scene.holds.is_held(NODE)
    assert scene.holds.note(released_node())
    answer, sent = await scene.compare()
    assert answer == {"updated": 1, "deleted": 6}
    assert sent[-1] == (Operation.INSERT, "ns/pod/p7")
    assert not scene.holds.is_held(NODE)


async def test_what_the_caches_lack_and_the_api_server_has_is_sent_with_nothing_lost() -> None:
    scene = Scene()
    scene.stage.state.drop(scene.stage.state.locations.remove_pod(scene.pods[0]))
    answer, sent = await scene.compare()
    assert answer == {"updated": 1, "deleted": 0}
    assert sent == [(Operation.UPDATE, "ns/pod/p0")]


async def test_what_becomes_another_nodes_while_it_is_compared_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    scene.held = []

    async def judge(*_: object) -> tuple[list[Item], list[tuple[Item, RawObject]]]:
        scene.stage.move_pod(scene.pods[0], NodeID("n2"))
        return [], []

    monkeypatch.setattr(scene.comparison, "_judge", judge)
    answer, sent = await scene.compare()
    assert answer == {"updated": 1, "deleted": 0}
    assert sent == [(Operation.UPDATE, "null/node/n1")], "nor what that pod has named"


async def test_where_the_api_server_cannot_be_asked_nothing_is_deleted() -> None:
    scene = Scene(pods=2)
    scene.forget(*scene.pods)
    scene.stage.client.failures = {"*": 503}
    with pytest.raises(RemoteError):
        await scene.compare()
    assert await scene.stage.sent() == []
