"""Whom the controller talks to: configuration, so that it also serves an EdgeSite.

Source: KubeEdge EdgeControllerContext (sendModule, receiveModule, responseModule).
"""

from collections.abc import Callable

from msgspec import Struct

from cloudcore.edgecontroller.autonomy import DEFAULT_S
from common.names import ModuleName, NodeID


def _nothing_waits(node: NodeID) -> int:  # noqa: ARG001 - as where there is a hub
    return 0


class ControllerContext(Struct, frozen=True):
    """Modules and the form of resources."""

    send_module: ModuleName = ModuleName.CLOUD_HUB
    """Gets the objects that go down."""

    receive_module: ModuleName = ModuleName.EDGE_CONTROLLER
    """Whose mailbox is read: the controller's own."""

    response_module: ModuleName = ModuleName.CLOUD_HUB
    """Gets the answers to what came up."""

    edge_site: bool = False
    """One node and no hub in between: resources carry no ``node/<id>``."""

    site_node: NodeID | None = None
    """The node of an EdgeSite."""

    backlog: Callable[[NodeID], int] = _nothing_waits
    """How many objects wait for, or await acknowledgement by, a node: none where there is no hub
    between."""

    default_toleration_s: int = DEFAULT_S
    """For how long the API server has pods tolerate a node that is not ready; see ``autonomy``."""
