"""Who may open a connection: a pure judgement of the WebSocket handshake.

Unlike KubeEdge's, whose refused connections stay open and dead, every refusal is an HTTP response
that says why and what to do (cloud/pkg/cloudhub/handler/message_handler.go, HandleConnection).
"""

from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from common import capabilities
from common.capabilities import Capabilities
from common.names import (
    AUTHORITY_HEADER,
    CLUSTER_HEADER,
    EDGE_NODE_LABEL,
    REVOKED,
    VERSION_HEADER,
    NodeID,
    PeerProtocol,
    node_user,
)

CONNECTION_USE_HEADER: Final = "ConnectionUse"
NODE_ID_HEADER: Final = "node_id"
_USE: Final = "msg"


class Refusal(Struct, frozen=True):
    """Why a connection or a request is refused."""

    status: HTTPStatus
    reason: str
    """The counter's label."""

    text: str
    """For whoever runs the edge: what is wrong, and what to do."""


UNTRUSTED: Final = Refusal(
    HTTPStatus.FORBIDDEN,
    "untrusted",
    "the certificate is by no authority that is trusted here any more. Enrol this edge again with a"
    " new token.",
)
"""TLS has let it in, by what was trusted when it began."""

STOPPING: Final = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "stopping",
    "this cloudcore stops. Connect to another one, or again in a while.",
)
"""Whoever it is: a connection would be ended as soon as it is there."""


class Handshake(Struct, frozen=True):
    """A client that asks for a connection."""

    certificate_node: NodeID | None
    """The node in its certificate; None where that is not a node's."""

    node_ids: Sequence[str]
    """All values of the header ``node_id``."""

    uses: Sequence[str]
    """All values of ``ConnectionUse``: KubeEdge's edge adds one with each attempt to connect."""

    is_connected: bool
    """The node has a connection, which this one will replace."""

    is_revoked: bool = False
    """The certificate was revoked."""


class Terms(Struct, frozen=True):
    """What this cloudcore says to edges that speak our own protocol."""

    capabilities: Capabilities = capabilities.ALL
    """What it is able to do."""

    cluster: str = ""
    """UID of its cluster, for edges that belong to one; nothing is said of it where empty."""

    authority: Callable[[], str] | None = None
    """Returns the fingerprint of the authority that signs now; None where nothing is said of it."""

    version: str = ""
    """Of this cloudcore; nothing is said of it where empty."""

    def headers(self, agreed: Capabilities) -> Iterator[tuple[str, str]]:
        """Yield what the response has to say where ``agreed`` holds for the connection."""
        if agreed:
            yield capabilities.HEADER, capabilities.render(agreed)
        if self.cluster:
            yield CLUSTER_HEADER, self.cluster
        if self.authority is not None:
            yield AUTHORITY_HEADER, self.authority()
        if self.version:
            yield VERSION_HEADER, self.version


def judge(handshake: Handshake, *, is_edge: bool, has_room: bool) -> Refusal | None:
    """Return why ``handshake`` is refused, or None.

    Args:
        handshake: what the client showed.
        is_edge: its node has the edge label, or is not registered yet.
        has_room: the hub has fewer nodes than it may have.
    """
    node = handshake.certificate_node
    if node is None:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "not_a_node",
            "the client certificate is not a node's: its subject must be O=system:nodes,"
            f" CN={node_user(NodeID('NAME'))}. Enrol this edge again with a new token.",
        )
    if handshake.is_revoked:
        return Refusal(HTTPStatus.FORBIDDEN, REVOKED, revoked_text(node))
    if set(handshake.node_ids) != {node}:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "node_id_mismatch",
            f"the certificate is that of node {node}, so the header {NODE_ID_HEADER} must say"
            " the same. Use this node's name, or enrol the edge under the other one.",
        )
    if set(handshake.uses) != {_USE}:
        return Refusal(
            HTTPStatus.BAD_REQUEST,
            "connection_use",
            f"the header {CONNECTION_USE_HEADER}: {_USE} is required.",
        )
    if not is_edge:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "not_an_edge_node",
            f"Node {node} exists without the label {EDGE_NODE_LABEL}. If it is to be an edge"
            f" node: kubectl label node {node} {EDGE_NODE_LABEL}=",
        )
    if not has_room and not handshake.is_connected:
        return Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "node_limit",
            "this cloudcore has as many nodes as it may have. Raise its --node-limit, or connect"
            " to another one.",
        )
    return None


def revoked_text(node: NodeID) -> str:
    """Return what an edge is told whose certificate was revoked."""
    return (
        f"the certificate of {node} is revoked: enrol this edge anew, with a new token that is"
        f" bound to its name (`cloudcore token create --node-name {node}`)"
    )


def select_protocol(offered: Sequence[str]) -> PeerProtocol:
    """Return our own protocol where the client offers it; KubeEdge's edges offer none."""
    own = PeerProtocol.CLOUDEDGE_V1
    return own if own in offered else PeerProtocol.KUBEEDGE
