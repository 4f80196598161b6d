"""Counters of edgecore: those of messages, and those of its one link."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from common.metrics import MessageMetrics


class EdgeMetrics(MessageMetrics):
    """One instance a process: hollow edges share it, so its gauges count edges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Show the metrics in ``registry``."""
        super().__init__(registry, "edgecore")
        self.connected = Gauge(
            "edgecore_connected", "Edges of this process that are connected.", registry=registry
        )
        self.connections = Counter(
            "edgecore_connections", "Connections that were made.", registry=registry
        )
        self.connection_failures = Counter(
            "edgecore_connection_failures",
            "Connections that could not be made or broke, by reason.",
            ["reason"],
            registry=registry,
        )
        self.beats_without_progress = Counter(
            "edgecore_beats_without_progress",
            "Signs of life that could not say that the modules do their work.",
            registry=registry,
        )
        self.transfers = Counter(
            "edgecore_transfers",
            "Large contents that come in chunks: begun, resumed, completed, and what went wrong.",
            ["event"],
            registry=registry,
        )
