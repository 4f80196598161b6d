"""What this machine takes at the moment, read from small files of the kernel.

Source: https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgecore.edged.local.stats import FilesystemStats, NodeStats
from edgecore.edged.runtime.images import FilesystemUsage

_PROC: Final = Path("/proc")
_BUSY: Final = (0, 1, 2, 5, 6, 7)
"""Of the times in ``/proc/stat``: user, nice, system, irq, softirq, steal; guests are in user."""


def read_node_stats(
    data_dir: Path, now: datetime, images: FilesystemUsage | None = None, proc: Path = _PROC
) -> NodeStats:
    """Return what the machine takes; a few small reads that never wait.

    Args:
        data_dir: on the file system of volumes and logs.
        now: the time of day.
        images: where the runtime's images are and what they take; None where it has none.
        proc: the kernel's files.

    Raises:
        OSError: a file system cannot be asked.
    """
    stat = {line.split()[0]: line.split()[1:] for line in (proc / "stat").read_text().splitlines()}
    ticks = sum(int(stat["cpu"][index]) for index in _BUSY)
    memory = _memory(proc)
    return NodeStats(
        at=now,
        booted_at=datetime.fromtimestamp(int(stat["btime"][0]), UTC),
        cpu_core_ns=ticks * 10**9 // os.sysconf("SC_CLK_TCK"),
        memory_available=memory["MemAvailable"],
        memory_usage=memory["MemTotal"] - memory["MemFree"],
        memory_working_set=memory["MemTotal"] - memory["MemAvailable"],
        memory_rss=memory.get("AnonPages", 0),
        max_pids=_max_pids(proc),
        processes=int((proc / "loadavg").read_text().split()[3].partition("/")[2]),
        filesystem=filesystem_stats(data_dir),
        image_filesystem=_images(images),
    )


def filesystem_stats(path: Path) -> FilesystemStats:
    """Return how full the file system is that ``path`` is on."""
    disk = os.statvfs(path)
    return FilesystemStats(
        available=disk.f_bavail * disk.f_frsize,
        capacity=disk.f_blocks * disk.f_frsize,
        used=(disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        inodes_free=disk.f_ffree,
        inodes=disk.f_files,
        inodes_used=disk.f_files - disk.f_ffree,
    )


def _images(images: FilesystemUsage | None) -> FilesystemStats | None:
    if images is None:
        return None
    disk = filesystem_stats(images.mountpoint)
    return FilesystemStats(
        available=disk.available,
        capacity=disk.capacity,
        used=images.used_bytes,
        inodes_free=disk.inodes_free,
        inodes=disk.inodes,
        inodes_used=images.inodes_used,
    )


def _memory(proc: Path) -> dict[str, int]:
    lines = (line.split() for line in (proc / "meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}


def _max_pids(proc: Path) -> int:
    limits = (proc / "sys/kernel" / name for name in ("pid_max", "threads-max"))
    return min(int(limit.read_text()) for limit in limits)
