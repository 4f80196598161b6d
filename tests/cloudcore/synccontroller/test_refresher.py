"""Connected nodes are compared, a few at a time. Real: the bus; the test is hub and edges."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cloudcore.edgecontroller.absences import Absences
from cloudcore.edgecontroller.progress import Progress
from cloudcore.kube.listwatch import Interrupted, ListCompleted
from cloudcore.synccontroller import refresher
from cloudcore.synccontroller.doubts import Doubts
from cloudcore.synccontroller.holds import Holds
from cloudcore.synccontroller.refresher import AT_A_TIME, Refresher
from common.beehive.message import Message
from common.capabilities import NONE
from common.names import ModuleName, NodeID, Operation, PeerProtocol
from common.wire import loads
from tests.cloudcore.synccontroller.stage import Stage

PATIENCE_S = 50.0


class Scene:
    def __init__(self) -> None:
        self.stage, self.doubts = Stage(), Doubts()
        stage = self.stage
        self.progress = Progress([stage.state.pods])
        self.progress.note(stage.state.pods, ListCompleted("1"))
        holds = Holds(stage.client.typed, stage.state.locations, stage.metrics)

        async def end(*_: object) -> None:
            raise AssertionError("nothing is absent")

        absences = Absences(stage.client.typed, stage.state, self.progress, holds, end)
        self.everything: list[NodeID] = []

        async def send_everything(node: NodeID) -> None:
            self.everything.append(node)

        self.refresher = Refresher(
            self.doubts,
            stage.state.peers,
            stage.sender,
            ready=(self.progress, absences),
            send_everything=send_everything,
        )

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            return await self.stage.bus.receive(ModuleName.CLOUD_HUB)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.refresher.run())
        yield made
        running.cancel()


async def test_so_many_are_asked_at_a_time_and_the_next_when_one_has_answered(
    scene: Scene,
) -> None:
    nodes = [NodeID(f"n{number}") for number in range(AT_A_TIME + 2)]
    for node in nodes:
        scene.stage.connect(node)
    scene.doubts.add(nodes)
    asked = [await scene.next() for _ in range(AT_A_TIME)]
    assert all(one.operation is Operation.QUERY for one in asked)
    assert await scene.stage.sent() == []
    assert not scene.refresher.answered(NodeID("stranger"))
    for node in nodes[:2]:
        assert scene.refresher.answered(node)
    rest = [await scene.next() for _ in range(2)]
    names = sorted(one.resource.rpartition("/")[2] for one in (*asked, *rest))
    assert names == nodes


async def test_who_does_not_answer_keeps_nobody_waiting_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresher, "ANSWER_S", 0.01)
    nodes = [NodeID(f"n{number}") for number in range(AT_A_TIME * 3)]
    for node in nodes:
        scene.stage.connect(node)
    scene.doubts.add(nodes)
    for _ in nodes:
        await scene.next()


async def test_who_has_no_inventory_is_sent_everything_and_who_is_away_waits(scene: Scene) -> None:
    away, kubeedge, own = NodeID("n1"), NodeID("n2"), NodeID("n3")
    scene.stage.connect(kubeedge, NONE, protocol=PeerProtocol.KUBEEDGE)
    scene.stage.connect(own)
    scene.doubts.add([away, kubeedge, own])
    assert (await scene.next()).resource == f"node/{own}/null/inventory/{own}"
    assert scene.everything == [kubeedge]


async def test_who_cannot_be_asked_has_to_connect_again(scene: Scene) -> None:
    node, peers = NodeID("n1"), scene.stage.state.peers
    scene.stage.connect(node, NONE)
    connected = peers.get(node)
    assert connected is not None
    scene.doubts.add([node])
    command = await scene.next()
    assert (command.operation, command.resource) == (Operation.DISCONNECTED, f"node/{node}")
    assert loads(command.content) == {"connection": connected.connection}
    assert peers.get(node) is None


async def test_nobody_is_asked_before_the_caches_are_in_step(scene: Scene) -> None:
    node = NodeID("n1")
    scene.stage.connect(node)
    scene.progress.note(scene.stage.state.pods, Interrupted())
    scene.doubts.add([node])
    for _ in range(5):
        await asyncio.sleep(0)
    assert await scene.stage.sent() == []
    scene.progress.note(scene.stage.state.pods, ListCompleted("2"))
    await scene.next()
