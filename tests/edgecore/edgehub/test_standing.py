"""How the link stands, as it is told. Nothing is faked: it is pure."""

from datetime import UTC, datetime, timedelta

from edgecore.edgehub.standing import Standing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


def test_before_anything_was_tried_there_is_no_since() -> None:
    assert Standing("cloud:1").tell(0, None) == {
        "cloud": "cloud:1",
        "connected": False,
        "since": None,
        "failure": None,
        "version": None,
        "waiting": 0,
        "time": None,
    }


def test_a_connection_is_told_with_what_waits_and_the_cloud_s_time() -> None:
    standing = Standing("cloud:1")
    standing.failed(NOON, "refused")
    standing.connected(LATER, "1.2.3")
    told = standing.tell(3, LATER)
    assert told["connected"] is True
    assert (told["since"], told["failure"]) == ("2026-01-01T12:05:00Z", None)
    assert told["version"] == "1.2.3"
    standing.failed(LATER, "gone")
    assert standing.tell(0, None)["version"] == "1.2.3", "it is known still"
    assert (told["waiting"], told["time"]) == (3, "2026-01-01T12:05:00Z")


def test_an_edge_is_offline_since_its_first_failure_and_tells_the_last_reason() -> None:
    standing = Standing("cloud:1")
    standing.connected(NOON)
    standing.failed(NOON, "silent")
    standing.failed(LATER, "refused")
    told = standing.tell(0, None)
    assert told["connected"] is False
    assert (told["since"], told["failure"]) == ("2026-01-01T12:00:00Z", "refused")


def test_how_long_an_edge_is_offline_is_never_negative_and_0_with_a_link() -> None:
    standing = Standing("cloud:1")
    assert standing.offline_s(NOON) == 0
    standing.failed(NOON, "refused")
    assert standing.offline_s(LATER) == 300
    assert standing.offline_s(NOON - timedelta(days=1)) == 0
    standing.connected(LATER)
    assert standing.offline_s(LATER) == 0
