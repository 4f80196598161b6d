"""Facts and readings of the machine that the test runs on."""

import os
from pathlib import Path

from edgecore.edged.facts import _text, read_facts, read_readings


def test_the_machine_is_what_the_kernel_says(tmp_path: Path) -> None:
    facts = read_facts(tmp_path)
    assert facts.cpus == os.cpu_count()
    assert facts.memory_bytes > 2**20
    assert facts.disk_bytes > 0
    assert facts.kernel == os.uname().release
    assert facts.architecture not in {"x86_64", "aarch64"}  # Go's names, as Kubernetes has them
    assert all([facts.os_image, facts.machine_id, facts.system_uuid, facts.boot_id])


def test_readings_are_parts_of_the_whole(tmp_path: Path) -> None:
    readings = read_readings(tmp_path)
    assert 0 < readings.memory_available_bytes <= read_facts(tmp_path).memory_bytes
    for part in (readings.disk_free_part, readings.inodes_free_part, readings.pids_free_part):
        assert 0 <= part <= 1


def test_a_file_that_a_machine_does_not_have_is_empty() -> None:
    assert _text("/no/such/file") == ""
