"""What is told of each edge node. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudcore.commands.nodestates import HEAD, item, node_states, row, summary
from cloudcore.edgecontroller.autonomy import AUTONOMY
from cloudcore.edgecontroller.leaseform import BACKLOG, CLOUDCORE, CONNECTED_SINCE
from cloudcore.trust.ledgerentry import Entry
from common.clock import rfc3339_micro
from common.names import NodeID

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NODE = NodeID("shop-1")
ENTRY = Entry("ab", datetime(2027, 11, 26, tzinfo=UTC))
NOTES = {CLOUDCORE: "cloud-0", CONNECTED_SINCE: "2026-11-26T11:00:00Z", BACKLOG: "3"}


def node(name: str = NODE, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {AUTONOMY: "forever"}},
        "status": {
            "conditions": [
                {"type": "DiskPressure", "status": "False"},
                {"type": "Ready", "status": ready},
            ],
            "nodeInfo": {"kubeletVersion": "v1.36.3-cloudedge-0.1.0"},
        },
    }


def lease(age_s: float, notes: dict[str, str] | None = None) -> dict[str, Any]:
    renewed = rfc3339_micro(NOW - timedelta(seconds=age_s))
    return {"metadata": {"annotations": notes or NOTES}, "spec": {"renewTime": renewed}}


def shown(found: dict[str, Any] | None, entry: Entry | None = ENTRY) -> dict[str, Any]:
    leases = {} if found is None else {NODE: found}
    entries = {} if entry is None else {NODE: entry}
    (state,) = node_states([node()], leases, entries, NOW)
    assert len(row(state)) == len(HEAD)
    return item(state)


def test_a_node_that_is_connected_says_where_and_since_when() -> None:
    assert shown(lease(39)) == {
        "node": NODE,
        "ready": "True",
        "cloudcore": "cloud-0",
        "connectedSince": "2026-11-26T11:00:00Z",
        "offlineSince": None,
        "backlog": 3,
        "autonomy": "forever",
        "certificateUntil": "2027-11-26T00:00:00Z",
        "certificateRevoked": False,
        "version": "v1.36.3-cloudedge-0.1.0",
    }


def test_of_a_node_that_is_gone_only_when_it_was_heard_of_last_is_told() -> None:
    said = shown(lease(41))
    assert said["offlineSince"] == "2026-11-26T11:59:19Z"
    assert (said["cloudcore"], said["connectedSince"], said["backlog"]) == (None, None, None)


def test_a_node_that_never_had_a_lease_is_neither_connected_nor_gone() -> None:
    said = shown(None, None)
    assert (said["connectedSince"], said["offlineSince"]) == (None, None)
    assert said["certificateUntil"] is None


def test_a_clock_that_is_behind_takes_nobody_for_gone() -> None:
    assert shown(lease(-3))["cloudcore"] == "cloud-0"


@pytest.mark.parametrize(
    "notes", [{CONNECTED_SINCE: "soon", BACKLOG: "-1"}, {"other": "note"}, {BACKLOG: "many"}]
)
def test_what_others_have_written_into_a_lease_breaks_nothing(notes: dict[str, str]) -> None:
    said = shown(lease(1, notes))
    assert (said["connectedSince"], said["backlog"], said["offlineSince"]) == (None, None, None)


def test_a_table_has_a_word_in_each_column_and_says_who_is_shut_out() -> None:
    revoked = Entry("ab", ENTRY.not_after, revoked_at=NOW)
    states = node_states(
        [node("shop-2", "Unknown"), node(), {"metadata": {"name": "new"}}],
        {NODE: lease(1), NodeID("shop-2"): lease(100)},
        {NODE: ENTRY, NodeID("shop-2"): revoked},
        NOW,
    )
    assert [row(state) for state in states] == [
        ["new", "Unknown", "", "", "", "", "", "", ""],
        [
            "shop-1",
            "True",
            "cloud-0",
            "2026-11-26T11:00:00Z",
            "",
            "3",
            "forever",
            "2027-11-26T00:00:00Z",
            "v1.36.3-cloudedge-0.1.0",
        ],
        [
            "shop-2",
            "Unknown",
            "",
            "",
            "2026-11-26T11:58:20Z",
            "",
            "forever",
            "revoked",
            "v1.36.3-cloudedge-0.1.0",
        ],
    ]
    assert summary(states) == "3 nodes: 1 ready, 1 offline, 1 not in step"
    assert item(states[2])["certificateRevoked"] is True
