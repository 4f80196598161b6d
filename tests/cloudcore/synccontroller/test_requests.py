"""What the cloud asks of an edge. Real: the bus; the test is the hub."""

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.state import Peer
from cloudcore.synccontroller.requests import ask_digest, ask_inventory, ask_to_return
from common.names import Operation, PeerProtocol
from common.wire import loads
from tests.cloudcore.synccontroller.stage import NODE, Stage


async def test_the_hub_gets_a_query_for_the_node_and_a_wish_of_its_own() -> None:
    stage = Stage()
    await ask_inventory(stage.sender, NODE)
    await ask_digest(stage.sender, NODE)
    query, wish = await stage.sent()
    assert (query.operation, query.resource) == (Operation.QUERY, "node/n1/null/inventory/n1")
    assert (query.route.source, query.route.group) == ("edgecontroller", "resource")
    assert bytes(query.content) == b"null"
    assert (wish.operation, wish.resource) == (Operation.KEEPALIVE, "node/n1")


async def test_at_an_edgesite_the_resource_has_no_node() -> None:
    stage = Stage(ControllerContext(edge_site=True, site_node=NODE))
    await ask_inventory(stage.sender, NODE)
    (query,) = await stage.sent()
    assert query.resource == "null/inventory/n1"


async def test_the_hub_is_told_which_connection_to_end() -> None:
    stage = Stage()
    await ask_to_return(stage.sender, NODE, Peer(PeerProtocol.CLOUDEDGE_V1, "c7"))
    (command,) = await stage.sent()
    assert (command.operation, command.resource) == (Operation.DISCONNECTED, "node/n1")
    assert loads(command.content) == {"connection": "c7"}
