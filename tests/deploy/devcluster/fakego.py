"""A stand-in for ``go`` that compiles nothing: it records how it was called and writes a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCRIPT: Final = """#!/bin/sh
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit 0; fi
echo "$@" >>"{calls}"
{before}
echo "go: downloading example.org/module v1.0.0" >&2
echo "example.org/package" >&2
while [ $# -gt 0 ]; do
    if [ "$1" = -o ]; then echo built >"$2"; fi
    shift
done
exit {exit_code}
"""


@dataclass(frozen=True, slots=True)
class FakeGo:
    """The folder to put on PATH, and the calls so far."""

    folder: Path

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def install(self, *, version: str = "1.99.0", before: str = ":", exit_code: int = 0) -> None:
        """Write the script; ``before`` is shell that runs ahead of the pretended build."""
        self.folder.mkdir(exist_ok=True)
        go = self.folder / "go"
        go.write_text(
            _SCRIPT.format(
                version=version,
                calls=self.folder / "calls",
                before=before,
                exit_code=exit_code,
            )
        )
        go.chmod(0o755)
