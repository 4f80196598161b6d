"""Judge the units of systemd as systemd does: ``python -m deploy.units``, or ``make units``.

Nothing is started. ``systemd-analyze`` reads each unit, and says what it does not know and how much
of the machine the service could reach, from 0 (nothing) to 10 (everything).
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "systemd"
UNITS: Final = ("cloudcore.service", "edgecore.service")

NEWER_KEYS: Final = frozenset({"RestartSteps", "RestartMaxDelaySec"})
"""Known from systemd 254 on; older ones say that they ignore them."""

_PROGRAM: Final = "systemd-analyze"
_LIMIT_S: Final = 60.0
_LEVEL: Final = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
_UNKNOWN: Final = re.compile(r"Unknown key(?: name)? '(\w+)'")


def faults(unit: Path) -> list[str]:
    """Return what systemd does not understand in ``unit``.

    Left out is that the daemon is not installed on this machine.

    Raises:
        OSError: there is no ``systemd-analyze``.
    """
    lines = _analyze("verify", "--man=no", str(unit)).splitlines()
    return [line for line in lines if line.strip() and not _is_foreseen(line)]


def exposure(unit: Path) -> float:
    """Return how much of the machine the service of ``unit`` could reach, from 0 to 10.

    Raises:
        OSError: there is no ``systemd-analyze``.
        ValueError: it does not say.
    """
    output = _analyze("security", "--offline=yes", "--no-pager", str(unit))
    found = _LEVEL.search(output)
    if found is None:
        raise ValueError(f"{unit.name}: {output[-200:]}")
    return float(found[1])


def main() -> int:
    """Print what is to be said of each unit; return 1 if one has a fault."""
    code = 0
    for name in UNITS:
        for line in faults(FOLDER / name):
            code = 1
            print(line, file=sys.stderr)  # noqa: T201 - what it is for
        print(f"{name}: exposure {exposure(FOLDER / name)} of 10")  # noqa: T201 - as above
    return code


def _is_foreseen(line: str) -> bool:
    unknown = _UNKNOWN.search(line)
    return "is not executable" in line or (unknown is not None and unknown[1] in NEWER_KEYS)


def _analyze(*arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - arguments of our own
        [_PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_LIMIT_S,
        check=False,
        text=True,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
