"""Who is to be compared. Real: an event loop; nothing is faked."""

import asyncio

from cloudcore.synccontroller.doubts import Doubts
from common.names import NodeID

A, B = NodeID("a"), NodeID("b")


async def test_a_node_is_taken_once_however_often_it_is_doubted() -> None:
    doubts = Doubts()
    doubts.add([])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(doubts.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        doubts.add([B, A])
        doubts.add([A])
    assert doubts.take() == [A, B]
    assert doubts.take() == []
    doubts.add([B])
    await doubts.wait()
    assert doubts.take() == [B]
