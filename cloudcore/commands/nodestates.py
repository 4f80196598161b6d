"""How each edge node does, from what the API server holds of it. Pure.

Its Node, its Lease and its record of certificates together tell by which cloudcore it is connected,
or since when it is not: who renews the Lease writes that into it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from cloudcore.edgecontroller.autonomy import AUTONOMY
from cloudcore.edgecontroller.leaseform import (
    BACKLOG,
    CLOUDCORE,
    CONNECTED_SINCE,
    DURATION_S,
    renewal_in,
)
from cloudcore.trust.ledgerentry import Entry
from common.clock import parse_rfc3339, rfc3339
from common.names import NodeID
from common.output import Tone

Object = Mapping[str, Any]

HEAD: Final = (
    "NODE",
    "READY",
    "CLOUDCORE",
    "CONNECTED-SINCE",
    "OFFLINE-SINCE",
    "BACKLOG",
    "AUTONOMY",
    "CERTIFICATE-UNTIL",
    "VERSION",
)
TONES: Final = {
    "True": Tone.GOOD,
    "False": Tone.BAD,
    "Unknown": Tone.DOUBTFUL,
    "revoked": Tone.BAD,
}


class NodeState(Struct, frozen=True):
    """One edge node."""

    node: NodeID
    ready: str
    """The status of its Ready condition: ``True``, ``False`` or ``Unknown``."""

    cloudcore: str | None
    """Host or pod of the cloudcore that it is connected to; None where it is offline, or connected
    to one that does not say."""

    connected_since: datetime | None
    offline_since: datetime | None
    """When it was heard of last; None while it is connected, and where it never was."""

    backlog: int | None
    """Objects that it has not acknowledged, 0 where it is in step; None where that is not known."""

    autonomy: str
    certificate_until: datetime | None
    is_revoked: bool
    version: str
    """As its Node says, of Kubernetes and of its own."""


def node_states(
    nodes: Iterable[Object],
    leases: Mapping[NodeID, Object],
    entries: Mapping[NodeID, Entry],
    now: datetime,
) -> list[NodeState]:
    """Return the states of ``nodes``, by name.

    Args:
        nodes: Nodes, as the API server has them.
        leases: their Leases.
        entries: the ledger of certificates.
        now: the time of day by the clock that also judges renewals.
    """
    made = (_state(node, leases, entries, now) for node in nodes)
    return sorted(made, key=lambda state: state.node)


def row(state: NodeState) -> list[str]:
    """Return the cells of a table."""
    until = "revoked" if state.is_revoked else _text(state.certificate_until)
    return [
        state.node,
        state.ready,
        state.cloudcore or "",
        _text(state.connected_since),
        _text(state.offline_since),
        "" if state.backlog is None else str(state.backlog),
        state.autonomy,
        until,
        state.version,
    ]


def item(state: NodeState) -> dict[str, Any]:
    """Return what programs read."""
    return {
        "node": state.node,
        "ready": state.ready,
        "cloudcore": state.cloudcore,
        "connectedSince": _text(state.connected_since) or None,
        "offlineSince": _text(state.offline_since) or None,
        "backlog": state.backlog,
        "autonomy": state.autonomy or None,
        "certificateUntil": _text(state.certificate_until) or None,
        "certificateRevoked": state.is_revoked,
        "version": state.version or None,
    }


def summary(states: Sequence[NodeState]) -> str:
    """Return what all ``states`` come to, for whoever has a thousand of them."""
    ready = sum(state.ready == "True" for state in states)
    offline = sum(state.offline_since is not None for state in states)
    behind = sum(bool(state.backlog) for state in states)
    return f"{len(states)} nodes: {ready} ready, {offline} offline, {behind} not in step"


def _state(
    node: Object, leases: Mapping[NodeID, Object], entries: Mapping[NodeID, Entry], now: datetime
) -> NodeState:
    metadata, status = node["metadata"], node.get("status") or {}
    name = NodeID(metadata["name"])
    lease, entry = leases.get(name, {}), entries.get(name)
    renewed = renewal_in(dict(lease.get("spec") or {}))
    notes = (lease.get("metadata") or {}).get("annotations") or {}
    is_connected = renewed is not None and now - renewed < timedelta(seconds=DURATION_S)
    said = notes if is_connected else {}
    conditions = status.get("conditions") or ()
    return NodeState(
        node=name,
        ready=next((c["status"] for c in conditions if c["type"] == "Ready"), "Unknown"),
        cloudcore=said.get(CLOUDCORE),
        connected_since=_moment(said.get(CONNECTED_SINCE)),
        offline_since=None if is_connected else renewed,
        backlog=_number(said.get(BACKLOG)),
        autonomy=(metadata.get("annotations") or {}).get(AUTONOMY, ""),
        certificate_until=entry.not_after if entry is not None and entry.serial else None,
        is_revoked=entry is not None and entry.is_shut_out,
        version=(status.get("nodeInfo") or {}).get("kubeletVersion", ""),
    )


def _text(moment: datetime | None) -> str:
    return "" if moment is None else rfc3339(moment)


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
