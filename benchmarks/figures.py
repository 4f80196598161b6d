"""A measured figure beside its target and what KubeEdge needs for the same."""

import math
import os
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = resource.getpagesize()
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Lower is better, except where ``at_least``."""

    what: str
    value: float
    unit: str
    target: float | None = None
    to_beat: str = ""
    """KubeEdge's figure for the same, or what was measured of the library behind ours."""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is reached; so it is where there is none."""
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = ["| what | measured | target | to beat | |", "|---|---:|---:|---:|---|"]
    for figure in figures:
        sign = "≥" if figure.at_least else "≤"
        target = "" if figure.target is None else f"{sign} {figure.target:g} {figure.unit}"
        verdict = "" if figure.target is None else ("met" if figure.is_met else "**missed**")
        value = f"{_rounded(figure.value)} {figure.unit}"
        rows.append(f"| {figure.what} | {value} | {target} | {figure.to_beat} | {verdict} |")
    return "\n".join(rows)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that process ``pid`` has used, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Return the resident memory of process ``pid``."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def peak_bytes(pid: int) -> int:
    """Return the most resident memory of process ``pid``, ever or since ``forget_peak``."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak(pid: int) -> None:
    """Have ``peak_bytes`` begin anew. Source: proc_pid_clear_refs(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that ``part`` of ``values`` do not exceed."""
    assert values, "nothing was measured"
    return sorted(values)[math.ceil(len(values) * part) - 1]


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
