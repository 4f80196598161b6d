"""Counters that both daemons keep: nothing is dropped or refused in silence (promise P8)."""

from prometheus_client import CollectorRegistry, Counter, Histogram

QUERY_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class ByLabel:
    """A counter with one label, whose few parts are looked up once: that costs more than to count.

    ``labels`` is used as that of a ``Counter``.
    """

    def __init__(self, counter: Counter) -> None:
        """Look into ``counter``."""
        self._counter = counter
        self._parts: dict[str, Counter] = {}

    def labels(self, value: str) -> Counter:
        """Return the part of ``value``."""
        part = self._parts.get(value)
        if part is None:
            part = self._parts[value] = self._counter.labels(value)
        return part


class MessageMetrics:
    """What happened to messages. One instance a daemon, made by ``app.py``.

    Args:
        registry: where the metrics are shown; one a daemon, not the process-wide default.
        prefix: ``cloudcore`` or ``edgecore``.
    """

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.received = ByLabel(
            Counter(
                f"{prefix}_messages_received",
                "Messages from the peer, by operation.",
                ["operation"],
                registry=registry,
            )
        )
        self.sent = ByLabel(
            Counter(
                f"{prefix}_messages_sent",
                "Messages written to the peer, by operation.",
                ["operation"],
                registry=registry,
            )
        )
        self.acknowledged = Counter(
            f"{prefix}_messages_acknowledged",
            "Messages that the peer acknowledged.",
            registry=registry,
        )
        self.superseded = Counter(
            f"{prefix}_messages_superseded",
            "Versions of objects that a newer one replaced before delivery.",
            registry=registry,
        )
        self.dropped = Counter(
            f"{prefix}_messages_dropped",
            "Messages that went nowhere, by reason.",
            ["reason"],
            registry=registry,
        )
        self.refused = Counter(
            f"{prefix}_refusals",
            "Connections and messages that were refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.received_bytes = Counter(
            f"{prefix}_received_bytes", "Bytes of messages from the peer.", registry=registry
        )
        self.sent_bytes = Counter(
            f"{prefix}_sent_bytes", "Bytes of messages to the peer.", registry=registry
        )
        self.query_seconds = Histogram(
            f"{prefix}_request_seconds",
            "Time from a request to its answer, by resource type.",
            ["type"],
            buckets=QUERY_BUCKETS_S,
            registry=registry,
        )
