"""The files of one container's log: their names, their order, and which of them have to go. Pure.

A container writes to ``0.log``. Rotated, that becomes ``0.log.20261124-070809``, and later
``0.log.20261124-070809.gz``. The process runtime, which rotates by itself, counts: ``0.log.1`` is
newer than ``0.log.2``.

Source: Kubernetes pkg/kubelet/logs/container_log_manager.go.
"""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

COMPRESSED: Final = ".gz"
TEMPORARY: Final = ".tmp"

_TIME_FORMAT: Final = "%Y%m%d-%H%M%S"
_TIME: Final = re.compile(r"\d{8}-\d{6}")
_NUMBER: Final = re.compile(r"\d{1,4}")
_LOG: Final = re.compile(r"(\d{1,9})\.log(\..*)?")


def starts_logged(names: Iterable[str]) -> int:
    """Return how often a container was started, as far as the names of all its logs tell.

    An engine may lose what it knew of containers; the next log is still to be a new one.

    Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go (calcRestartCountByLogDir).
    """
    found = (_LOG.fullmatch(name) for name in names)
    return max((int(match[1]) + 1 for match in found if match), default=0)


class Rotation(Struct, frozen=True):
    """What is to be done with the older files before the newest one is moved away."""

    remove: tuple[str, ...]
    """What was left over by an interrupted rotation, and the oldest where there are too many."""
    compress: tuple[str, ...]


def plan_rotation(log: str, names: Iterable[str], max_files: int) -> Rotation:
    """Return what becomes of the rotated files of ``log`` when it is rotated once more.

    Args:
        log: name of the file that the container writes to.
        names: of all files beside it.
        max_files: how many there may be afterwards, the one that is written to among them.
    """
    found = [name for name in names if _suffix(log, name) is not None]
    kept = rotated(log, found)
    # The newest one is moved to a name of its own, and a new one begins.
    excess = kept[: max(0, len(kept) - max(0, max_files - 2))]
    stale = [name for name in found if name not in kept]
    compress = [name for name in kept if name not in excess and not name.endswith(COMPRESSED)]
    return Rotation(tuple(sorted(stale) + excess), tuple(compress))


def rotated(log: str, names: Collection[str]) -> list[str]:
    """Return those of ``names`` that are rotated files of ``log``, oldest first.

    A file that was compressed already, but is still there itself, is not among them.
    """
    suffixes = {name: _suffix(log, name) for name in names}
    found = [name for name, suffix in suffixes.items() if suffix and name + COMPRESSED not in names]
    return sorted(found, key=lambda name: _age(suffixes[name] or ""))


def rotated_name(log: str, names: Iterable[str], now: datetime) -> str:
    """Return what the file that is written to is moved to: a name after those of all others.

    That it is the later one shows in the name also where the clock was set back meanwhile.
    """
    stamps = [(_suffix(log, name) or "").removesuffix(COMPRESSED) for name in names]
    latest = max((stamp for stamp in stamps if _TIME.fullmatch(stamp)), default="")
    stamp = now.astimezone(UTC).strftime(_TIME_FORMAT)
    return f"{log}.{max(stamp, _after(latest))}"


def _after(stamp: str) -> str:
    """Return the stamp a second later; empty for one that is no time."""
    try:
        moment = datetime.strptime(stamp, _TIME_FORMAT).replace(tzinfo=UTC)
        return (moment + timedelta(seconds=1)).strftime(_TIME_FORMAT)
    except (ValueError, OverflowError):
        return ""


def _suffix(log: str, name: str) -> str | None:
    """Return the part of ``name`` that makes it a rotated file of ``log``.

    It is empty for what an interrupted compression left, and None for other files.
    """
    prefix, suffix = name[: len(log) + 1], name[len(log) + 1 :]
    if prefix != f"{log}.":
        return None
    if suffix.endswith(TEMPORARY):
        return ""
    stamp = suffix.removesuffix(COMPRESSED)
    return suffix if _TIME.fullmatch(stamp) or _NUMBER.fullmatch(stamp) else None


def _age(suffix: str) -> tuple[str, int]:
    """Return what sorts rotated files, oldest first."""
    stamp = suffix.removesuffix(COMPRESSED)
    return ("", -int(stamp)) if _NUMBER.fullmatch(stamp) else (stamp, 0)
