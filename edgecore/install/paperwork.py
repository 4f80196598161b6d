"""What ``edgecore join`` writes: configuration and unit, and what becomes of a file. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

UNIT: Final = "edgecore.service"

_HEAD: Final = (
    "# Written by `edgecore join`. What is changed here by hand holds after a restart, and after\n"
    "# a later join that does not say otherwise; that keeps this file as edgecore.yaml.bak.\n"
)
_EXEC: Final = "ExecStart="
_STATE: Final = "StateDirectory"
_STATE_ROOT: Final = Path("/var/lib")


class Deed(StrEnum):
    """What is to be done about a file."""

    UNCHANGED = "unchanged"
    """It has the content that it is to have."""
    WRITTEN = "written"
    """It is not there, or is as it was written before."""
    REPLACED = "replaced"
    """Somebody else wrote or changed it: what they wrote is kept beside it."""


def deed(present: bytes | None, wanted: bytes, recorded: str | None) -> Deed:
    """Return what to do about a file.

    Args:
        present: what it has; None where it is not there.
        wanted: what it is to have.
        recorded: the digest of what was written last, if that is known.
    """
    if present == wanted:
        return Deed.UNCHANGED
    if present is None or digest(present) == recorded:
        return Deed.WRITTEN
    return Deed.REPLACED


def digest(content: bytes) -> str:
    """Return what tells whether a file was changed."""
    return hashlib.sha256(content).hexdigest()


def configuration(options: Mapping[str, object]) -> str:
    """Return ``options`` as a file that ``edgecore run --config`` reads, in their order."""
    # JSON is YAML, and has no value that YAML would take for something else.
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in options.items()]
    return _HEAD + "".join(lines)


def changes(present: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """Return a line for each option that is to be another one; none if there were no options."""
    lines = []
    for name, value in wanted.items():
        if present and str(present.get(name)) != str(value):
            before = f"was {present[name]}" if name in present else "was not said"
            lines.append(f"{name}: {value} ({before})")
    return lines


def unit(template: str, command: Sequence[str], data_dir: Path) -> str:
    """Return the unit with ``command`` in it.

    Args:
        template: the unit as it is shipped.
        command: what runs the daemon.
        data_dir: systemd makes it where it is below /var/lib, and leaves it alone elsewhere.
    """
    lines = []
    for line in template.splitlines():
        if line.startswith(_EXEC):
            lines.append(_EXEC + " ".join(map(_quoted, command)))
        elif line.startswith(f"{_STATE}="):
            if data_dir.is_relative_to(_STATE_ROOT):
                lines.append(f"{_STATE}={_quoted(str(data_dir.relative_to(_STATE_ROOT)))}")
        elif line.startswith(_STATE) and not data_dir.is_relative_to(_STATE_ROOT):
            continue
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """Return one word of a unit's command line. Source: systemd.service(5), systemd.syntax(7)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(c in escaped for c in " \t\"'\\;") else escaped
