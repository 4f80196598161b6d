"""What the cloud asks of an edge by way of the hub: an inventory, a digest, or to come again."""

from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import Peer
from common.beehive.message import new, raw
from common.names import (
    CLUSTER_SCOPE,
    GroupName,
    ModuleName,
    NodeID,
    Operation,
    ResourceType,
)
from common.resource import build_resource


async def ask_inventory(sender: Sender, node: NodeID) -> None:
    """Ask ``node`` to list what it holds; it comes as any inventory does."""
    resource = build_resource(
        node, CLUSTER_SCOPE, ResourceType.INVENTORY, node, edge_site=sender.context.edge_site
    )
    await sender.send_answer(
        new(ModuleName.EDGE_CONTROLLER, GroupName.RESOURCE, Operation.QUERY, resource)
    )


async def ask_digest(sender: Sender, node: NodeID) -> None:
    """Have the hub tell ``node`` to send a digest with its next beat."""
    resource = f"node/{node}"
    await sender.send_answer(
        new(ModuleName.EDGE_CONTROLLER, GroupName.RESOURCE, Operation.KEEPALIVE, resource)
    )


async def ask_to_return(sender: Sender, node: NodeID, peer: Peer) -> None:
    """Have the hub end a connection; the edge makes a new one, and begins with an inventory."""
    await sender.send_answer(
        new(
            ModuleName.EDGE_CONTROLLER,
            GroupName.RESOURCE,
            Operation.DISCONNECTED,
            f"node/{node}",
            raw({"connection": peer.connection}),
        )
    )
