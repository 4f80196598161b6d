"""Counters of edgecore: those of messages, and those of its one link."""

from common.metrics import Level, MessageMetrics, Registry, Tally, TallyByLabel


class EdgeMetrics(MessageMetrics):
    """One instance a process: hollow edges share it, so its gauges count edges."""

    def __init__(self, registry: Registry) -> None:
        """Show the metrics in ``registry``."""
        super().__init__(registry, "edgecore")
        self.connected = Level(
            "edgecore_connected", "Edges of this process that are connected.", registry
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
