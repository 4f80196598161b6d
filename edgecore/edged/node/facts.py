"""What this machine is and how it fares, read from small files of the kernel."""

import os
import platform
from pathlib import Path
from typing import Final

from msgspec import Struct

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "riscv64": "riscv64",
    "i686": "386",
}
_UNKNOWN_ID: Final = "0" * 8


class NodeFacts(Struct, frozen=True):
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


class Amount(Struct, frozen=True):
    """How much of something is left, and how much of it there is."""

    available: int
    capacity: int


class Readings(Struct, frozen=True):
    """How much is left of everything that pods share."""

    memory: Amount
    """Bytes. Available is the kernel's own estimate."""
    disk: Amount
    """Bytes of the file system that volumes and logs are on."""
    inodes: Amount
    pids: Amount
    """Tasks, which is what the kernel gives process ids to."""
    image_disk: Amount | None = None
    """Bytes of the file system that images are on; None where there are no images."""
    image_inodes: Amount | None = None
    dedicated_image_disk: bool = False
    """Whether images are on a file system of their own."""


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


def read_readings(data_dir: Path, images_dir: Path | None = None) -> Readings:
    """Return how much of everything is left at this moment; a few small reads that never wait.

    Memory is ``MemAvailable``, not what the root control group leaves, as kubelet reckons: there a
    page cache that is in use counts as taken, so that a pod may be evicted for what the kernel
    would have given back; and it reads the same under both versions of control groups.

    Args:
        data_dir: on the file system of volumes and logs.
        images_dir: where the runtime says that images are; None where there are none, or where it
            did not say so yet.
    """
    memory = _memory()
    disk, inodes = _disk(data_dir)
    image_disk, image_inodes, dedicated = None, None, False
    if images_dir is not None:
        try:
            image_disk, image_inodes = _disk(images_dir)
            dedicated = images_dir.stat().st_dev != data_dir.stat().st_dev
        except OSError:  # the runtime may live in a mount namespace of its own
            image_disk, image_inodes = None, None
    return Readings(
        Amount(memory["MemAvailable"], memory["MemTotal"]),
        disk,
        inodes,
        _pids(),
        image_disk,
        image_inodes,
        dedicated,
    )


def _disk(path: Path) -> tuple[Amount, Amount]:
    """Return the bytes and the inodes of the file system that ``path`` is on."""
    disk = os.statvfs(path)
    # A file system without a fixed number of inodes says 0, and never runs short of them.
    inodes = Amount(disk.f_favail, disk.f_files)
    return Amount(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize), inodes


def _pids() -> Amount:
    tasks = int(_first_line("/proc/loadavg").split()[3].partition("/")[2])
    limits = ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max")
    limit = min(int(_first_line(path)) for path in limits)
    return Amount(max(0, limit - tasks), limit)


def _memory() -> dict[str, int]:
    """Return the first lines of what the kernel says of memory, in bytes."""
    lines = _text("/proc/meminfo").split("\n", 3)[:3]
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in map(str.split, lines)}


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
