"""How an edge does, in words and as a shape. Nothing is faked: it is pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edgecore.commands.statusview import (
    CertificateFacts,
    Facts,
    StoreFacts,
    as_table,
    exit_code,
    shape,
)
from edgecore.install.slots import State

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STORE = StoreFacts(5, {"Running": 2}, is_complete=True, time="2026-01-01T11:00:00Z")
CERTIFICATE = CertificateFacts(NOON + timedelta(days=30))


def told(**link: Any) -> dict[str, dict[str, Any]]:
    begun = {"cloud": "cloud:10000", "connected": True, "since": "2026-01-01T11:58:00Z"}
    return {
        "edgecore": {
            "node": "edge-1",
            "version": "1.0",
            "pid": 7,
            "since": "2026-01-01T09:00:00Z",
            "installedIn": "/opt/edge",
        },
        "edgehub": {**begun, "failure": None, "waiting": 2, "time": "2026-01-01T12:00:00Z", **link},
        "metamanager": {"objects": 6, "complete": True, "inStepSince": "2026-01-01T11:59:50Z"},
        "edged": {"pods": {"Failed": 1, "Running": 3}},
    }


def facts(told: dict[str, dict[str, Any]] | None, **more: Any) -> Facts:
    return Facts(
        "edge-1", NOON, **{"store": STORE, "certificate": CERTIFICATE, "told": told, **more}
    )


def test_a_connected_edge_is_told_in_seven_lines() -> None:
    shown = shape(facts(told()))
    assert exit_code(shown) == 0
    assert as_table(shown, NOON).splitlines() == [
        "node         edge-1",
        "edgecore     runs since 2026-01-01T09:00:00Z (3 h), pid 7, version 1.0 in /opt/edge",
        "cloud        connected to cloud:10000 since 2026-01-01T11:58:00Z (2 min)",
        "waiting      2 messages for the cloud",
        "store        6 objects, in step since 2026-01-01T11:59:50Z (10 s)",
        "pods         1 Failed, 3 Running",
        "certificate  good until 2026-01-31T12:00:00Z (30 d)",
    ]
    assert shown["advice"] == []


def test_an_edge_without_its_link_says_why_and_what_to_do() -> None:
    shown = shape(facts(told(connected=False, failure="refused", waiting=0)))
    assert exit_code(shown) == 3
    text = as_table(shown, NOON)
    assert "not connected to cloud:10000 since 2026-01-01T11:58:00Z (2 min): refused" in text
    assert "nothing for the cloud" in text
    assert "to do        pods go on meanwhile" in text


def test_an_edge_that_never_tried_is_connecting() -> None:
    shown = shape(facts(told(connected=False, since=None)))
    assert "connecting to cloud:10000" in as_table(shown, NOON)


def test_an_edge_that_does_not_run_is_told_from_its_disk() -> None:
    shown = shape(facts(None, silence="nobody is there"))
    assert (shown["running"], shown["connected"], exit_code(shown)) == (False, False, 3)
    assert as_table(shown, NOON).splitlines() == [
        "node         edge-1",
        "edgecore     does not run: nobody is there",
        "cloud        last heard of at 2026-01-01T11:00:00Z",
        "store        5 objects",
        "pods         2 Running",
        "certificate  good until 2026-01-31T12:00:00Z (30 d)",
        (
            "to do        start edgecore (systemctl start edgecore); its log says why it has"
            " stopped (journalctl -u edgecore)"
        ),
    ]


def test_a_machine_that_never_joined_is_told_as_such() -> None:
    shown = shape(
        facts(
            None,
            store=StoreFacts(error="there is no edge-store"),
            certificate=CertificateFacts(error="none for edge-1"),
        )
    )
    text = as_table(shown, NOON)
    assert "never heard of" in text
    assert "store        there is no edge-store" in text
    assert "pods         none" in text
    assert "certificate  none for edge-1" in text


@pytest.mark.parametrize(
    ("time", "words"),
    [("2027-01-01T00:00:00Z", "has expired on 2026-01-31"), (None, "good until")],
)
def test_a_certificate_is_judged_by_the_cloud_s_time(time: str | None, words: str) -> None:
    shown = shape(facts(None, store=StoreFacts(5, time=time)))
    assert words in as_table(shown, NOON)


def test_a_store_that_was_not_told_everything_says_so() -> None:
    assert "there may be more" in as_table(shape(facts(None, store=StoreFacts(1))), NOON)


def test_a_clock_that_was_set_back_shows_no_negative_time() -> None:
    assert "(0 s)" in as_table(shape(facts(told(since="2026-01-01T13:00:00Z"))), NOON)


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        (State("2.0"), "slot         2.0"),
        (State("2.0", "1.0"), "slot         2.0; before it 1.0"),
        (State("2.0", "1.0", on_trial=True), "slot         2.0, on trial: it goes back to 1.0"),
        (State("1.0", failed="2.0", why="not ready"), "slot         1.0; 2.0 was left: not ready"),
    ],
)
def test_versions_side_by_side_are_told(slot: State, words: str) -> None:
    shown = shape(facts(told(), slot=slot))
    assert shown["slot"]["current"] == slot.current
    assert words in as_table(shown, NOON)
