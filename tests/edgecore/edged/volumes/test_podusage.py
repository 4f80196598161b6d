"""What a pod takes of the disk: real files."""

from pathlib import Path

from edgecore.edged.volumes.podfiles import Plugin, pod_files
from edgecore.edged.volumes.podusage import usage_of
from tests.edgecore.edged.world import container, pod_object

KIB = 1024
VOLUMES = [{"name": "data", "emptyDir": {}}, {"name": "fast", "emptyDir": {"medium": "Memory"}}]


def test_logs_and_volumes_count_and_what_is_in_memory_does_not(tmp_path: Path) -> None:
    pod = pod_object("web", volumes=VOLUMES, containers=[container("c"), container("d")])
    files = pod_files(tmp_path, tmp_path / "logs", pod)
    files.log_path("c", 0).parent.mkdir(parents=True)
    files.log_path("c", 0).write_bytes(b"x" * 100 * KIB)
    for name in ("data", "fast"):
        directory = files.volume_dir(Plugin.EMPTY_DIR, name)
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"x" * 200 * KIB)
    usage = usage_of(files, pod)
    assert usage.logs.keys() == {"c"}
    assert 100 * KIB <= usage.logs["c"] < 150 * KIB
    assert 200 * KIB <= usage.volumes < 250 * KIB
    assert usage.volumes_inodes == 1


def test_a_pod_that_has_nothing_on_the_disk_takes_nothing(tmp_path: Path) -> None:
    pod = pod_object("web", volumes=VOLUMES)
    usage = usage_of(pod_files(tmp_path, tmp_path / "logs", pod), pod)
    assert (usage.logs, usage.volumes, usage.volumes_inodes) == ({}, 0, 0)
