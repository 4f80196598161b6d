"""Both daemons count the same things under their own names. Real prometheus_client."""

from prometheus_client import CollectorRegistry, generate_latest

from common.metrics import MessageMetrics


def test_each_daemon_counts_under_its_own_name() -> None:
    registry = CollectorRegistry()
    metrics = MessageMetrics(registry, "edgecore")
    metrics.dropped.inc("late_reply")
    metrics.received_bytes.inc(10)
    shown = generate_latest(registry).decode()
    assert 'edgecore_messages_dropped_total{reason="late_reply"} 1.0' in shown
    assert "edgecore_received_bytes_total 10.0" in shown


def test_two_daemons_in_one_process_do_not_share_counters() -> None:
    one, other = (MessageMetrics(CollectorRegistry(), "edgecore") for _ in range(2))
    one.acknowledged.inc()
    assert other.acknowledged.value == 0


def test_what_is_counted_by_operation_is_shown_by_operation() -> None:
    registry = CollectorRegistry()
    metrics = MessageMetrics(registry, "edgecore")
    for operation in ("query", "query", "insert"):
        metrics.sent.inc(operation)
    shown = generate_latest(registry).decode()
    assert 'edgecore_messages_sent_total{operation="query"} 2.0' in shown
    assert 'edgecore_messages_sent_total{operation="insert"} 1.0' in shown


def test_what_is_counted_is_a_counter_for_prometheus() -> None:
    registry = CollectorRegistry()
    metrics = MessageMetrics(registry, "edgecore")
    metrics.acknowledged.inc(3)
    shown = generate_latest(registry).decode()
    assert "# TYPE edgecore_messages_acknowledged_total counter" in shown
    assert registry.get_sample_value("edgecore_messages_acknowledged_total") == 3
