"""Which nodes have followed to the newest authority, and who would be left behind. Pure."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from cloudcore.trust.ledgerentry import Entry
from common.names import NodeID


class Behind(Struct, frozen=True):
    """A node that has not got the newest authority."""

    node: NodeID
    has_certificate: bool
    """It was given a certificate by the newest authority. So it has yet to connect with that, or
    it is an edge of KubeEdge, which does not say what it trusts."""

    until: datetime | None
    """Its certificate is good until then; None where none is known."""

    ready: str
    """What its Node's condition says: ``True``, ``False`` or ``Unknown``; "" without a Node."""


def behind(
    entries: Mapping[NodeID, Entry],
    nodes: Mapping[NodeID, str],
    newest: str,
    may_return_from: datetime,
) -> list[Behind]:
    """Return the nodes that have not got the newest authority, by name.

    Nobody waits for nodes that are revoked, or whose Node is gone and whose certificate is too old
    to be renewed.

    Args:
        entries: the ledger.
        nodes: all edge nodes, and what each one's condition Ready says.
        newest: fingerprint of the newest authority.
        may_return_from: a certificate that ended before cannot be renewed any more.
    """
    found = []
    for node in sorted(entries.keys() | nodes.keys()):
        entry = entries.get(node)
        if entry is None:
            found.append(Behind(node, has_certificate=False, until=None, ready=nodes[node]))
            continue
        is_gone = node not in nodes and entry.not_after < may_return_from
        if entry.authority == newest or entry.is_shut_out or is_gone:
            continue
        has_certificate, ready = entry.issuer == newest, nodes.get(node, "")
        found.append(Behind(node, has_certificate, entry.not_after, ready))
    return found
