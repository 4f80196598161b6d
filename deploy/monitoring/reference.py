"""Write the list of all metrics: ``python -m deploy.monitoring.reference``.

It starts nothing: the numbers describe themselves as soon as they are made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.kube.figures import RequestFigures
from cloudcore.metrics import CloudMetrics
from common.metrics import About, Figures, show_process
from edgecore.figures import Facts
from edgecore.metrics import EdgeMetrics

REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"

_HEAD: Final = """\
# Metrics

Written by `make metrics`; do not edit. Both daemons serve them at `/metrics` of
`--monitor-address`, and so does the socket `edgecore.sock` in the data folder of an edge. Of a
counter, `…_total` is what Prometheus calls it; of a histogram there are `…_bucket`, `…_sum` and
`…_count`. How to use them is in [how-to/monitor.md](../how-to/monitor.md).
"""

_SUFFIXES: Final = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A metric, as the reference has it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def samples(self) -> tuple[str, ...]:
        """What its time series are called."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


def of_cloudcore() -> list[Entry]:
    """Return all metrics of cloudcore."""
    figures = Figures()
    CloudMetrics(figures)
    RequestFigures(figures)
    SessionRegistry(1, figures)
    show_process(figures, "cloudcore")
    return list(_entries(figures))


def of_edgecore() -> list[Entry]:
    """Return all metrics of edgecore."""
    figures = Figures()
    EdgeMetrics(figures)
    Facts(
        pods=dict,
        offline_s=float,
        waiting=int,
        objects=int,
        runtime_fault=str,
        clock_offset_s=float,
        pending=dict,
        store=Path(),
        certificate=Path(),
    ).show(figures)
    show_process(figures, "edgecore")
    return list(_entries(figures))


def render() -> str:
    """Return the reference."""
    parts = [_HEAD]
    for title, entries in (("cloudcore", of_cloudcore()), ("edgecore", of_edgecore())):
        parts.append(f"\n## {title}\n\n| metric | kind | labels | |\n|---|---|---|---|\n")
        parts += [
            f"| `{one.samples[0] if one.kind == 'counter' else one.name}` | {one.kind} |"
            f" {', '.join(f'`{label}`' for label in one.labels)} | {one.text} |\n"
            for one in sorted(entries, key=lambda one: one.name)
        ]
    return "".join(parts)


def _entries(figures: Figures) -> Iterator[Entry]:
    for one in figures:
        about = getattr(one, "about", None)
        if isinstance(about, About):
            yield Entry(about.name, about.kind, about.labels, about.text)
        else:  # of the library, which has no labels
            for family in one.collect():
                yield Entry(family.name, family.type, (), family.documentation)


if __name__ == "__main__":
    REFERENCE.write_text(render(), encoding="utf-8")
