"""Ask whether a pinned package has a known vulnerability: ``python -m deploy.audit FILE``.

The network is not its business: where nobody can be asked, it says so in one line and is content.
Of one package is asked first, since a mirror of a package index often has no such data.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)", re.MULTILINE)
_PROGRAM: Final = (sys.executable, "-m", "pip_audit")
_TIMEOUT_S: Final = 300.0


@dataclass(slots=True)
class Findings:
    """What is known of packages."""

    known: int = 0
    """Packages of which anything is known."""

    faults: list[str] = field(default_factory=list)
    """A line for each vulnerability."""


def pins(requirements: str) -> list[str]:
    """Return what a file of requirements pins: ``name==version``."""
    return _PIN.findall(requirements)


def findings(report: dict[str, Any]) -> Findings:
    """Return what pip-audit's ``report`` says."""
    found = Findings()
    for one in report.get("dependencies", ()):
        if "skip_reason" in one:
            continue
        found.known += 1
        for fault in one.get("vulns", ()):
            mended = ", ".join(fault.get("fix_versions", ())) or "no version"
            found.faults.append(
                f"{one['name']} {one['version']}: {fault['id']}, mended in {mended}"
            )
    return found


def ask(packages: Sequence[str], program: Sequence[str] = _PROGRAM) -> Findings | None:
    """Return what is known of ``packages``; None where that cannot be asked."""
    with tempfile.TemporaryDirectory() as folder:
        listed, report = Path(folder, "listed.txt"), Path(folder, "report.json")
        listed.write_text("".join(f"{one}\n" for one in packages))
        command = [*program, f"--requirement={listed}", f"--output={report}", "--format=json"]
        command += ["--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=5"]
        try:
            # It ends with 1 for a vulnerability and for a failure alike; only then is no report.
            subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - as given
            return findings(json.loads(report.read_text()))
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None


def main(requirements: Path, program: Sequence[str] = _PROGRAM) -> int:
    """Print what is known, and return 1 if anything is wrong with a package."""
    packages = pins(requirements.read_text())
    first = ask(packages[:1], program)
    found = ask(packages, program) if first is not None and first.known else None
    if found is None:
        print("audit skipped: what is known of packages cannot be had here")  # noqa: T201 - a command
        return 0
    print(f"audit: {found.known} of {len(packages)} packages known,", end=" ")  # noqa: T201 - as above
    print(*(found.faults or ["none is vulnerable"]), sep="\n  ")  # noqa: T201 - as above
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
