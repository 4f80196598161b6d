"""Counters of edgecore: those of messages, and those of its one link."""

from typing import Final

from common.metrics import Level, MessageMetrics, Registry, Spread, Tally, TallyByLabel

STORE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
POD_BUCKETS_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class EdgeMetrics(MessageMetrics):
    """One instance a process: hollow edges share it, so its gauges count edges."""

    def __init__(self, registry: Registry) -> None:
        """Show the metrics in ``registry``."""
        super().__init__(registry, "edgecore")
        self.connected = Level(
            "edgecore_connected", "Edges of this process that are connected.", registry
        )
        self.events = TallyByLabel(
            "edgecore_events",
            "What happened to pods and to the node, by the reason of the Event: Started, BackOff,"
            " Unhealthy, Evicted and so on.",
            "reason",
            registry,
        )
        self.pod_start_seconds = Spread(
            "edgecore_pod_start_seconds",
            "Time from the first sight of a pod until it runs, with pulling its images.",
            POD_BUCKETS_S,
            registry,
        )
        self.queries = TallyByLabel(
            "edgecore_queries",
            "Questions of the modules for an object or a list, by the code of the answer; 503 and"
            " 504 where only the cloud has it, and is away.",
            "code",
            registry,
        )
        self.store_seconds = Spread(
            "edgecore_store_write_seconds",
            "Time until messages of the cloud are durable, with all waiting for the disk.",
            STORE_BUCKETS_S,
            registry,
        )
        self.connections = Tally("edgecore_connections", "Connections that were made.", registry)
        self.connection_failures = TallyByLabel(
            "edgecore_connection_failures",
            "Connections that could not be made or broke, by reason.",
            "reason",
            registry,
        )
        self.beats_without_progress = Tally(
            "edgecore_beats_without_progress",
            "Signs of life that could not say that the modules do their work.",
            registry,
        )
        self.transfers = TallyByLabel(
            "edgecore_transfers",
            "Large contents that come in chunks: begun, resumed, completed, and what went wrong.",
            "event",
            registry,
        )
