"""Counters that both daemons keep: nothing is dropped or refused in silence (promise P8)."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

QUERY_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Tally(Collector):
    """A counter of one event loop: to count is to add.

    A ``Counter`` takes a lock and looks twice at each number, for the sake of threads that no
    daemon has: at seven of these for each message that was a twentieth of what it costs.
    """

    def __init__(self, name: str, about: str, registry: CollectorRegistry) -> None:
        """Show the number as ``<name>_total`` in ``registry``."""
        self.value = 0
        self._name, self._about = name, about
        registry.register(self)

    def inc(self, number: int = 1) -> None:
        """Count ``number`` more."""
        self.value += number

    def collect(self) -> Iterator[Metric]:
        """Yield it as Prometheus wants it; from any thread."""
        yield CounterMetricFamily(self._name, self._about, value=self.value)


class TallyByLabel(Collector):
    """As many tallies as there are values of a label, which the caller knows to be few."""

    def __init__(self, name: str, about: str, label: str, registry: CollectorRegistry) -> None:
        """Show the numbers as ``<name>_total{<label>=…}`` in ``registry``."""
        self._name, self._about, self._label = name, about, label
        self._values: dict[str, int] = {}
        registry.register(self)

    def inc(self, value: str, number: int = 1) -> None:
        """Count ``number`` more of ``value``."""
        self._values[value] = self._values.get(value, 0) + number

    def collect(self) -> Iterator[Metric]:
        """Yield them as Prometheus wants them; from any thread."""
        family = CounterMetricFamily(self._name, self._about, labels=[self._label])
        for value, number in self._values.copy().items():
            family.add_metric([value], number)
        yield family


class MessageMetrics:
    """What happened to messages. One instance a daemon, made by ``app.py``.

    Args:
        registry: where the metrics are shown; one a daemon, not the process-wide default.
        prefix: ``cloudcore`` or ``edgecore``.
    """

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.received = TallyByLabel(
            f"{prefix}_messages_received",
            "Messages from the peer, by operation.",
            "operation",
            registry,
        )
        self.sent = TallyByLabel(
            f"{prefix}_messages_sent",
            "Messages written to the peer, by operation.",
            "operation",
            registry,
        )
        self.acknowledged = Tally(
            f"{prefix}_messages_acknowledged",
            "Messages that the peer acknowledged.",
            registry,
        )
        self.superseded = Tally(
            f"{prefix}_messages_superseded",
            "Versions of objects that a newer one replaced before delivery.",
            registry,
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
        self.received_bytes = Tally(
            f"{prefix}_received_bytes", "Bytes of messages from the peer.", registry
        )
        self.sent_bytes = Tally(f"{prefix}_sent_bytes", "Bytes of messages to the peer.", registry)
        self.query_seconds = Histogram(
            f"{prefix}_request_seconds",
            "Time from a request to its answer, by resource type.",
            ["type"],
            buckets=QUERY_BUCKETS_S,
            registry=registry,
        )
