"""Facts and readings of the machine that the test runs on."""

import os
from pathlib import Path

from edgecore.edged.node.facts import _disk, _text, read_facts, read_readings


def test_the_machine_is_what_the_kernel_says(tmp_path: Path) -> None:
    facts = read_facts(tmp_path)
    assert facts.cpus == os.cpu_count()
    assert facts.memory_bytes > 2**20
    assert facts.disk_bytes > 0
    assert facts.kernel == os.uname().release
    assert facts.architecture not in {"x86_64", "aarch64"}  # Go's names, as Kubernetes has them
    assert all([facts.os_image, facts.machine_id, facts.system_uuid, facts.boot_id])


def test_what_is_left_is_never_more_than_there_is(tmp_path: Path) -> None:
    readings = read_readings(tmp_path)
    assert readings.memory.capacity == read_facts(tmp_path).memory_bytes
    for amount in (readings.memory, readings.disk, readings.inodes, readings.pids):
        assert 0 <= amount.available <= amount.capacity


def test_images_on_the_same_file_system_are_read_as_such(tmp_path: Path) -> None:
    readings = read_readings(tmp_path, tmp_path)
    assert readings.image_disk is not None
    assert readings.image_disk.capacity == readings.disk.capacity
    assert readings.image_inodes is not None
    assert not readings.dedicated_image_disk


def test_images_on_a_file_system_of_their_own_are_told_apart(tmp_path: Path) -> None:
    readings = read_readings(tmp_path, Path("/proc"))
    assert readings.dedicated_image_disk
    assert readings.image_disk == _disk(Path("/proc"))[0]


def test_a_folder_of_images_that_cannot_be_seen_gives_no_reading(tmp_path: Path) -> None:
    readings = read_readings(tmp_path, tmp_path / "elsewhere")
    assert (readings.image_disk, readings.image_inodes) == (None, None)


def test_a_file_that_a_machine_does_not_have_is_empty() -> None:
    assert _text("/no/such/file") == ""
