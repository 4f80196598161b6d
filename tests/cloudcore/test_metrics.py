"""The counters of cloudcore, in a registry of their own. Real prometheus_client."""

from prometheus_client import CollectorRegistry, generate_latest

from cloudcore.metrics import CloudMetrics


def test_what_happens_to_objects_is_shown_as_one_law() -> None:
    registry = CollectorRegistry()
    metrics = CloudMetrics(registry)
    metrics.offered.inc(5)
    metrics.acknowledged.inc(2)
    metrics.superseded.inc()
    metrics.dropped.inc("disconnected", 2)
    shown = generate_latest(registry).decode()
    assert "cloudcore_messages_offered_total 5.0" in shown
    assert "cloudcore_messages_acknowledged_total 2.0" in shown
    assert "cloudcore_messages_superseded_total 1.0" in shown
    assert 'cloudcore_messages_dropped_total{reason="disconnected"} 2.0' in shown


def test_what_nodes_cost_is_shown_by_quantile() -> None:
    registry = CollectorRegistry()
    metrics = CloudMetrics(registry)
    for quantile, size in ((0.5, 1e6), (1.0, 4e6)):
        metrics.node_day_bytes.set(str(quantile), size)
    shown = generate_latest(registry).decode()
    assert 'cloudcore_node_day_bytes{quantile="0.5"} 1e+06' in shown
    assert 'cloudcore_node_day_bytes{quantile="1.0"} 4e+06' in shown


def test_leases_and_comparisons_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = CloudMetrics(registry)
    metrics.lease_writes.inc("renewed")
    metrics.lease_seconds.observe(0.02)
    metrics.divergence.inc()
    metrics.held_resyncs.set(3)
    shown = generate_latest(registry).decode()
    assert 'cloudcore_lease_writes_total{outcome="renewed"} 1.0' in shown
    assert 'cloudcore_lease_seconds_bucket{le="0.025"} 1.0' in shown
    assert "cloudcore_divergence_total 1.0" in shown
    assert "cloudcore_resyncs_held 3.0" in shown


def test_two_cloudcores_in_one_process_do_not_share_counters() -> None:
    one, other = CollectorRegistry(), CollectorRegistry()
    CloudMetrics(one).offered.inc()
    CloudMetrics(other)
    assert other.get_sample_value("cloudcore_messages_offered_total") == 0
