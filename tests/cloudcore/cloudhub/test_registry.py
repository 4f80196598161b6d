"""Which node has which session. The sessions' connections are real, see ``stage``."""

from common.names import NodeID
from tests.cloudcore.cloudhub.stage import Stage, until


async def test_the_registry_knows_who_is_connected(stage: Stage) -> None:
    registry = stage.registry
    async with stage.edge("n1"), stage.edge("n2"):
        assert len(registry) == 2
        assert {session.node for session in registry} == {"n1", "n2"}
        assert stage.session("n1").node == "n1"
        assert registry.get(NodeID("n3")) is None
        assert registry.has_room()
        assert stage.counted("connected_nodes") == 2
    await until(lambda: stage.counted("connected_nodes") == 0)


async def test_an_older_session_that_ends_late_does_not_take_the_newer_one_along(
    stage: Stage,
) -> None:
    async with stage.edge("n1") as older:
        before = stage.session("n1")
        async with stage.edge("n1") as newer:
            await older.closed()
            assert stage.session("n1") is not before
            assert not stage.registry.remove(before)
            assert await newer.is_served()


async def test_the_registry_knows_how_much_is_on_its_way_to_a_node(stage: Stage) -> None:
    registry, node = stage.registry, NodeID("n1")
    assert registry.backlog(node) == 0
    async with stage.edge(node) as edge:
        assert registry.backlog(node) == 0
        await stage.controller.tell(node, 1)
        message = await edge.receive()
        assert registry.backlog(node) == 1
        assert stage.counted("queued_messages") == 1
        await edge.acknowledge(message)
        await until(lambda: registry.backlog(node) == 0)
