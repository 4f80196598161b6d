"""What a doctor found: a verdict for each thing looked at, and how to fix it. Pure.

Whoever looks makes ``Finding``s of facts; here they become what people and programs read.
"""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from common.output import Tone, printable, to_json

EXIT_FOUND_FAILURE: Final = 3
"""Exit code where something fails. 1 and 2 say that the doctor itself could not work."""

_WIDTH: Final = 6  # of a verdict's column
_RESET: Final = "\x1b[0m"


class Verdict(StrEnum):
    """What somebody has to do about a finding."""

    OK = "OK"
    """Nothing."""
    WARN = "WARN"
    """It works, but not for ever, or not well; or it could not be looked at."""
    FAIL = "FAIL"
    """It does not work."""


_TONES: Final = {Verdict.OK: Tone.GOOD, Verdict.WARN: Tone.DOUBTFUL, Verdict.FAIL: Tone.BAD}


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    """What: the same words each time, so that programs may look for them."""
    verdict: Verdict
    found: str
    """What there is, in words. Never a secret."""
    fix: str = ""
    """What to do; empty where nothing is to be done."""


def exit_code(findings: Sequence[Finding]) -> int:
    """Return how the process ends: 0 unless something fails."""
    return EXIT_FOUND_FAILURE if _count(findings)[Verdict.FAIL] else 0


def as_text(findings: Sequence[Finding], *, has_colours: bool) -> str:
    """Return ``findings`` for people: a line each, its fix below it, and the sum at the end."""
    lines: list[str] = []
    for finding in findings:
        verdict = finding.verdict.value.ljust(_WIDTH)
        if has_colours:
            verdict = f"{_TONES[finding.verdict]}{verdict}{_RESET}"
        lines.append(f"{verdict}{printable(finding.name)}: {printable(finding.found)}")
        if finding.fix:
            lines.append(f"{'':{_WIDTH}}fix: {printable(finding.fix)}")
    count = _count(findings)
    lines.append(", ".join(f"{count[verdict]} {verdict}" for verdict in Verdict))
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """Return ``findings`` for programs: ``findings`` in order, and ``verdict``, the worst."""
    shown = [
        {"name": f.name, "verdict": f.verdict.value, "found": f.found, "fix": f.fix}
        for f in findings
    ]
    return to_json({"verdict": worst(findings).value, "findings": shown})


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the worst verdict; OK where nothing was looked at."""
    severity = list(Verdict)
    return max((f.verdict for f in findings), key=severity.index, default=Verdict.OK)


def _count(findings: Sequence[Finding]) -> Counter[Verdict]:
    return Counter(finding.verdict for finding in findings)
