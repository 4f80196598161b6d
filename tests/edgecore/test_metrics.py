"""The counters of edgecore, in a registry of their own."""

from prometheus_client import CollectorRegistry

from edgecore.metrics import EdgeMetrics


def test_edges_of_one_process_share_one_gauge() -> None:
    registry = CollectorRegistry()
    metrics = EdgeMetrics(registry)
    metrics.connected.inc()
    metrics.connected.inc()
    metrics.connected.dec()
    assert registry.get_sample_value("edgecore_connected") == 1
    assert registry.get_sample_value("edgecore_connections_total") == 0
