"""What this machine is and how it fares, read from small files of the kernel."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "riscv64": "riscv64",
    "i686": "386",
}
_UNKNOWN_ID: Final = "0" * 8


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What does not change while the machine runs. Sizes in bytes."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Readings:
    """How much is left."""

    memory_available_bytes: int
    disk_free_part: float
    """0 to 1, as the two below."""
    inodes_free_part: float
    pids_free_part: float


def read_facts(data_dir: Path) -> NodeFacts:
    """Return what this machine is; the disk is the one that ``data_dir`` is on."""
    disk = os.statvfs(data_dir)
    machine_id = _first_line("/etc/machine-id") or _UNKNOWN_ID
    machine = platform.machine()
    return NodeFacts(
        cpus=os.cpu_count() or 1,
        memory_bytes=_memory()["MemTotal"],
        disk_bytes=disk.f_blocks * disk.f_frsize,
        architecture=_ARCHITECTURES.get(machine, machine),
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=machine_id,
        system_uuid=_first_line("/sys/class/dmi/id/product_uuid") or machine_id,
        boot_id=_first_line("/proc/sys/kernel/random/boot_id") or _UNKNOWN_ID,
    )


def read_readings(data_dir: Path) -> Readings:
    """Return how much of everything is left at this moment."""
    disk = os.statvfs(data_dir)
    threads = int(_first_line("/proc/loadavg").split()[3].partition("/")[2])
    limit = int(_first_line("/proc/sys/kernel/pid_max"))
    return Readings(
        memory_available_bytes=_memory()["MemAvailable"],
        disk_free_part=disk.f_bavail / disk.f_blocks if disk.f_blocks else 1.0,
        inodes_free_part=disk.f_favail / disk.f_files if disk.f_files else 1.0,
        pids_free_part=max(0.0, 1 - threads / limit),
    )


def _memory() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"


def _first_line(path: str) -> str:
    return _text(path).partition("\n")[0].strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # not on every machine, or for root only
        return ""
