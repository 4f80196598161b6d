"""Everything for a node, in slices. Real: the bus. API server and hub are in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.synccontroller import everything
from cloudcore.synccontroller.everything import SLICE, Everything
from common.beehive.message import Message
from common.capabilities import NONE
from common.names import ModuleName, NodeID, Operation, PeerProtocol
from tests.cloudcore.synccontroller.stage import NODE, Stage

PATIENCE_S = 50.0


class Scene:
    def __init__(self) -> None:
        self.waiting = 0
        self.looked = asyncio.Event()
        self.stage = Stage(ControllerContext(backlog=self._backlog))
        stage = self.stage
        stage.add_node()
        stage.connect(NODE, NONE, protocol=PeerProtocol.KUBEEDGE)
        self.everything = Everything(
            stage.state, stage.reader, stage.sender, stage.sender.context.backlog
        )

    def _backlog(self, node: NodeID) -> int:
        assert node == NODE
        self.looked.set()
        return self.waiting

    async def take(self, count: int) -> list[Message]:
        async with asyncio.timeout(PATIENCE_S):
            return [await self.stage.bus.receive(ModuleName.CLOUD_HUB) for _ in range(count)]


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(everything, "LOOK_S", 0.001)
    made = Scene()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.everything.run())
        await asyncio.sleep(0)
        yield made
        running.cancel()


async def test_all_that_a_node_should_have_is_sent_names_before_pods(scene: Scene) -> None:
    scene.stage.add_pod("web", configmaps=("conf",))
    scene.stage.add_configmap("conf")
    scene.everything.send(NODE)
    sent = await scene.take(3)
    assert all(one.operation is Operation.UPDATE for one in sent)
    assert [one.resource for one in sent] == [
        "node/n1/null/node/n1",
        "node/n1/ns/configmap/conf",
        "node/n1/ns/pod/web",
    ]


async def test_a_slice_waits_until_the_one_before_has_gone_out(scene: Scene) -> None:
    for number in range(SLICE * 2):
        scene.stage.add_pod(f"p{number:03}")
    scene.waiting = SLICE
    scene.everything.send(NODE)
    await scene.take(SLICE)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(3):
            scene.looked.clear()
            await scene.looked.wait()
    assert await scene.stage.sent() == []
    scene.waiting = SLICE - 1
    await scene.take(SLICE + 1)


async def test_a_node_that_goes_is_sent_no_more_and_one_that_comes_again_all_anew(
    scene: Scene,
) -> None:
    for number in range(SLICE):
        scene.stage.add_pod(f"p{number:03}")
    scene.waiting = SLICE
    scene.everything.send(NODE)
    await scene.take(SLICE)
    scene.everything.send(NODE)
    again = await scene.take(SLICE)
    assert again[0].resource == "node/n1/null/node/n1"
    scene.stage.state.peers.disconnected(NODE)
    scene.waiting = 0
    async with asyncio.timeout(PATIENCE_S):
        await scene.everything._sending[NODE]
    assert await scene.stage.sent() == []


async def test_what_becomes_another_nodes_while_it_waits_is_not_sent(scene: Scene) -> None:
    keys = [scene.stage.add_pod(f"p{number:03}") for number in range(SLICE + 1)]
    scene.waiting = SLICE
    scene.everything.send(NODE)
    await scene.take(SLICE)
    sending = scene.everything._sending[NODE]
    scene.stage.move_pod(keys[-1], NodeID("n2"))
    scene.waiting = 0
    (last,) = await scene.take(1)
    assert last.resource == f"node/n1/ns/pod/{keys[-2].name}"
    async with asyncio.timeout(PATIENCE_S):
        await sending
    assert await scene.stage.sent() == []
    assert scene.stage.metrics.resyncs.value_of("everything") == 1


async def test_what_cannot_be_read_is_counted_and_left_to_the_edge_to_ask_for(
    scene: Scene,
) -> None:
    stage = scene.stage
    stage.add_pod("web", configmaps=("conf", "gone"))
    for name in ("conf", "gone"):
        stage.state.configmaps.cache.drop(stage.add_configmap(name))
    stage.client.failures = {"/api/v1/namespaces/ns/configmaps/conf": 503}
    stage.client.objects.pop("/api/v1/namespaces/ns/configmaps/gone")
    scene.everything.send(NODE)
    assert [one.resource for one in await scene.take(2)][1] == "node/n1/ns/pod/web"
    assert stage.metrics.dropped.value_of("resync_failed") == 1
