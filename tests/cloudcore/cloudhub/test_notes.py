"""What is counted and logged of messages. Real: the metrics and the log."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub import closing, notes
from cloudcore.metrics import CloudMetrics
from common.beehive.message import new, raw
from common.names import NodeID, Operation

NODE = NodeID("n1")
SECRET = new("edged", "meta", Operation.UPDATE, "shop/secret/db", raw({"password": "hunter2"}))


@pytest.fixture
def shown() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(shown: CollectorRegistry) -> CloudMetrics:
    return CloudMetrics(shown)


def counted(shown: CollectorRegistry, name: str, reason: str) -> float:
    return shown.get_sample_value(f"cloudcore_{name}_total", {"reason": reason}) or 0.0


def test_an_end_that_somebody_should_look_at_is_counted_and_logged(
    shown: CollectorRegistry, metrics: CloudMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    notes.closed(metrics, NODE, closing.STALLED)
    assert counted(shown, "refusals", "stalled") == 1
    notes.closed(metrics, NODE, closing.GOING_AWAY)
    assert [record.getMessage() for record in caplog.records] == ["connection closed"]


def test_what_is_refused_is_counted_by_its_reason(
    shown: CollectorRegistry, metrics: CloudMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    notes.refused(metrics, NODE, "Forbidden", "none of its own")
    assert counted(shown, "refusals", "Forbidden") == 1
    assert caplog.records[0].__dict__["detail"] == "none of its own"


def test_what_is_dropped_is_counted_and_logged_as_loud_as_it_deserves(
    shown: CollectorRegistry, metrics: CloudMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        notes.dropped(metrics, NODE, "edge_error", SECRET, logging.WARNING)
        notes.dropped(metrics, NODE, "unserved", SECRET, logging.DEBUG)
    assert counted(shown, "messages_dropped", "edge_error") == 1
    assert counted(shown, "messages_dropped", "unserved") == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_no_content_is_ever_logged(metrics: CloudMetrics, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        notes.trace("<", NODE, SECRET)
        notes.dropped(metrics, NODE, "unserved", SECRET, logging.DEBUG)
    assert len(caplog.records) == 2
    assert all("hunter2" not in str(record.__dict__) for record in caplog.records)
    assert caplog.records[0].__dict__["msg_id"] == SECRET.msg_id
