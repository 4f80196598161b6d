"""Numbers that both daemons keep: nothing is dropped or refused in silence (promise P8).

A daemon has one thread that counts, so to count is to add. The instruments of ``prometheus_client``
take a lock and look twice at each number, for the sake of threads that no daemon has: at seven of
these for each message that was a twentieth of what it costs. The library is imported when somebody
asks for the numbers, and not before: an edge that nobody asks does without its MiBs.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from prometheus_client.core import Metric

QUERY_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Collector(Protocol):
    """What can be asked for its numbers, from any thread."""

    def collect(self) -> Iterable["Metric"]:
        """Yield them as Prometheus wants them."""


class Registry(Protocol):
    """Where numbers are shown. A ``CollectorRegistry`` of ``prometheus_client`` is one too."""

    def register(self, collector: Collector) -> None:
        """Show the numbers of ``collector``."""


class Figures:
    """All numbers of a daemon, in the order in which they were made."""

    def __init__(self) -> None:
        """Begin with none."""
        self._collectors: list[Collector] = []

    def __iter__(self) -> Iterator[Collector]:
        """What there is now."""
        return iter(self._collectors.copy())

    def register(self, collector: Collector) -> None:
        """Show the numbers of ``collector``."""
        self._collectors.append(collector)

    def collect(self) -> Iterator["Metric"]:
        """Yield all numbers, as Prometheus wants them."""
        for one in self:
            yield from one.collect()


class About(Struct, frozen=True):
    """What a number is called, and what it means."""

    name: str
    """In base units; of a counter without ``_total``, which is added where it is shown."""
    text: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()

    def family(self, samples: Iterable[tuple[Sequence[str], float]]) -> "Metric":
        """Return ``samples``, which have the values of the labels, as Prometheus wants them."""
        from prometheus_client.core import (  # noqa: PLC0415 - see the top of this module
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        family = (CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily)(
            self.name, self.text, labels=self.labels
        )
        for values, number in samples:
            family.add_metric(values, number)
        return family


class Tally:
    """A counter."""

    def __init__(self, name: str, text: str, registry: Registry) -> None:
        """Show the number as ``<name>_total`` in ``registry``."""
        self.value = 0
        self.about = About(name, text, "counter")
        registry.register(self)

    def inc(self, number: int = 1) -> None:
        """Count ``number`` more."""
        self.value += number

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield self.about.family([((), self.value)])


class TallyByLabel:
    """As many counters as there are values of a label, which the caller knows to be few."""

    def __init__(self, name: str, text: str, label: str, registry: Registry) -> None:
        """Show the numbers as ``<name>_total{<label>=…}`` in ``registry``."""
        self.about = About(name, text, "counter", (label,))
        self._values: dict[str, int] = {}
        registry.register(self)

    def inc(self, value: str, number: int = 1) -> None:
        """Count ``number`` more of ``value``."""
        self._values[value] = self._values.get(value, 0) + number

    def value_of(self, value: str) -> int:
        """Return how many of ``value`` were counted."""
        return self._values.get(value, 0)

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield self.about.family(((one,), number) for one, number in self._values.copy().items())


class TallyByLabels:
    """The same for several labels."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], registry: Registry) -> None:
        """Show the numbers as ``<name>_total{<label>=…,…}`` in ``registry``."""
        self.about = About(name, text, "counter", labels)
        self._values: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def inc(self, *values: str) -> None:
        """Count one more of ``values``, in the order of the labels."""
        self._values[values] = self._values.get(values, 0) + 1

    def value_of(self, *values: str) -> int:
        """Return how many of ``values`` were counted."""
        return self._values.get(values, 0)

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield self.about.family(self._values.copy().items())


class Level:
    """A number that rises and falls."""

    def __init__(self, name: str, text: str, registry: Registry) -> None:
        """Show the number as ``<name>`` in ``registry``."""
        self.value: float = 0
        self.about = About(name, text, "gauge")
        registry.register(self)

    def set(self, number: float) -> None:
        """Have it be ``number``."""
        self.value = number

    def inc(self, number: float = 1) -> None:
        """Let it rise by ``number``."""
        self.value += number

    def dec(self, number: float = 1) -> None:
        """Let it fall by ``number``."""
        self.value -= number

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield self.about.family([((), self.value)])


class LevelByLabel:
    """As many of them as there are values of a label, which the caller knows to be few."""

    def __init__(self, name: str, text: str, label: str, registry: Registry) -> None:
        """Show the numbers as ``<name>{<label>=…}`` in ``registry``."""
        self.about = About(name, text, "gauge", (label,))
        self._values: dict[str, float] = {}
        registry.register(self)

    def set(self, value: str, number: float) -> None:
        """Have the one of ``value`` be ``number``."""
        self._values[value] = number

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield self.about.family(((one,), number) for one, number in self._values.copy().items())


class Reading:
    """A number that is found out when somebody asks, without a label or with one."""

    def __init__(
        self,
        about: About,
        registry: Registry,
        read: Callable[[], float | Mapping[str, float] | None] = lambda: None,
    ) -> None:
        """Show what ``read`` returns in ``registry``.

        Args:
            about: the number; with one label, ``read`` returns a number for each of its values.
            registry: where it is shown.
            read: asked in another thread: it looks at what is there, and changes nothing. None
                where there is no number at present. May be set later, as ``read``.
        """
        self.about, self.read = about, read
        registry.register(self)

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        found = self.read()
        if isinstance(found, Mapping):
            yield self.about.family(((value,), number) for value, number in found.items())
        else:
            yield self.about.family([] if found is None else [((), found)])


class Spread:
    """A histogram."""

    def __init__(
        self, name: str, text: str, buckets: tuple[float, ...], registry: Registry
    ) -> None:
        """Show the numbers as ``<name>_bucket``, ``…_sum`` and ``…_count`` in ``registry``."""
        self.about = About(name, text, "histogram")
        self._buckets = buckets
        self._cells = _Cells(buckets)
        registry.register(self)

    @property
    def count(self) -> int:
        """How many numbers there were."""
        return sum(self._cells.counts)

    def observe(self, number: float) -> None:
        """Count ``number``."""
        self._cells.observe(number, self._buckets)

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield _histogram(self.about, self._buckets, {(): self._cells})


class SpreadByLabel:
    """As many histograms as there are values of a label, which the caller knows to be few."""

    def __init__(
        self, name: str, text: str, label: str, buckets: tuple[float, ...], registry: Registry
    ) -> None:
        """Show the numbers as ``<name>_bucket{<label>=…}`` and so on in ``registry``."""
        self.about = About(name, text, "histogram", (label,))
        self._buckets = buckets
        self._cells: dict[tuple[str, ...], _Cells] = {}
        registry.register(self)

    def observe(self, value: str, number: float) -> None:
        """Count ``number`` for ``value`` of the label."""
        cells = self._cells.get((value,))
        if cells is None:
            cells = self._cells[(value,)] = _Cells(self._buckets)
        cells.observe(number, self._buckets)

    @contextmanager
    def time(self, value: str) -> Iterator[None]:
        """Count the seconds that the context lasts for ``value`` of the label."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.observe(value, time.perf_counter() - began_s)

    def collect(self) -> Iterator["Metric"]:
        """See ``Collector``."""
        yield _histogram(self.about, self._buckets, self._cells.copy())


class _Cells:
    """One histogram: how many there were up to each bound, and beyond the last."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.counts = [0] * (len(buckets) + 1)
        self.total = 0.0

    def observe(self, number: float, buckets: tuple[float, ...]) -> None:
        self.counts[bisect_left(buckets, number)] += 1
        self.total += number


def _histogram(
    about: About, bounds: tuple[float, ...], cells: Mapping[tuple[str, ...], _Cells]
) -> "Metric":
    from prometheus_client.core import (  # noqa: PLC0415 - see the top of this module
        HistogramMetricFamily,
    )

    family = HistogramMetricFamily(about.name, about.text, labels=about.labels)
    for values, one in cells.items():
        so_far, buckets = 0, []
        for bound, count in zip((*map(str, bounds), "+Inf"), one.counts.copy(), strict=True):
            so_far += count
            buckets.append((bound, so_far))
        family.add_metric(values, buckets, one.total)
    return family


class _Process:
    """What the system knows of this process."""

    def collect(self) -> Iterable["Metric"]:
        """See ``Collector``."""
        from prometheus_client import (  # noqa: PLC0415 - see the top of this module
            ProcessCollector,
        )

        return ProcessCollector(registry=None).collect()


def show_process(registry: Registry, prefix: str) -> None:
    """Show which build runs, and what it takes of the machine."""

    def build() -> dict[str, float]:
        from importlib.metadata import version  # noqa: PLC0415 - it brings half a MiB along

        return {version("cloudedge"): 1.0}

    about = About(f"{prefix}_build_info", "1, of the version.", "gauge", ("version",))
    Reading(about, registry, build)
    registry.register(_Process())


class MessageMetrics:
    """What happened to messages. One instance a daemon, made by ``app.py``.

    Args:
        registry: where the metrics are shown; one a daemon, not the process-wide default.
        prefix: ``cloudcore`` or ``edgecore``.
    """

    def __init__(self, registry: Registry, prefix: str) -> None:
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
        self.dropped = TallyByLabel(
            f"{prefix}_messages_dropped",
            "Messages that went nowhere, by reason.",
            "reason",
            registry,
        )
        self.refused = TallyByLabel(
            f"{prefix}_refusals",
            "Connections and messages that were refused, by reason.",
            "reason",
            registry,
        )
        self.received_bytes = Tally(
            f"{prefix}_received_bytes", "Bytes of messages from the peer.", registry
        )
        self.sent_bytes = Tally(f"{prefix}_sent_bytes", "Bytes of messages to the peer.", registry)
        self.query_seconds = SpreadByLabel(
            f"{prefix}_request_seconds",
            "Time from a request to its answer, by resource type.",
            "type",
            QUERY_BUCKETS_S,
            registry,
        )
