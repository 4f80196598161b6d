"""What the machine takes: the real kernel's files, and made-up ones for the figures."""

import os
from datetime import UTC, datetime
from pathlib import Path

from edgecore.edged.local.nodeusage import filesystem_stats, read_node_stats
from edgecore.edged.runtime.images import FilesystemUsage
from tests.edgecore.edged.bus import START

FILES = {
    "stat": "cpu  100 20 30 1000 50 3 2 1 90 9\ncpu0 1 2 3\nintr 1 2\nctxt 5\nbtime 1000\n",
    "meminfo": "MemTotal: 100 kB\nMemFree: 30 kB\nMemAvailable: 60 kB\nAnonPages: 7 kB\nHuge: 0\n",
    "loadavg": "0.00 0.01 0.05 2/345 6789\n",
    "sys/kernel/pid_max": "32768\n",
    "sys/kernel/threads-max": "1000\n",
}


def made_up(directory: Path) -> Path:
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def test_the_figures_are_those_of_the_kernel(tmp_path: Path) -> None:
    made = read_node_stats(tmp_path, START, proc=made_up(tmp_path))
    assert made.at == START
    assert made.booted_at == datetime.fromtimestamp(1000, UTC)
    assert made.cpu_core_ns == 156 * 10**9 // os.sysconf("SC_CLK_TCK")
    assert made.memory_available == 60 * 1024
    assert made.memory_usage == 70 * 1024
    assert made.memory_working_set == 40 * 1024
    assert made.memory_rss == 7 * 1024
    assert (made.processes, made.max_pids) == (345, 1000)
    assert made.image_filesystem is None


def test_a_real_machine_gives_figures_that_can_be(tmp_path: Path) -> None:
    made = read_node_stats(tmp_path, datetime.now(UTC))
    assert made.booted_at < made.at
    assert made.cpu_core_ns > 0
    assert 0 < made.memory_working_set < made.memory_working_set + made.memory_available
    assert 0 < made.processes < made.max_pids


def test_file_systems_are_asked_how_full_they_are(tmp_path: Path) -> None:
    disk = filesystem_stats(tmp_path)
    assert 0 < disk.available <= disk.capacity
    assert disk.used <= disk.capacity
    assert disk.inodes_used + disk.inodes_free == disk.inodes


def test_of_images_the_runtime_says_what_they_take(tmp_path: Path) -> None:
    usage = FilesystemUsage(tmp_path, 12345, 67)
    images = read_node_stats(tmp_path, START, usage).image_filesystem
    assert images is not None
    assert (images.used, images.inodes_used) == (12345, 67)
    assert images.capacity == filesystem_stats(tmp_path).capacity
