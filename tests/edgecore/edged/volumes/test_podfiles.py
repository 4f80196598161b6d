"""Where a pod's files are: pure, nothing faked."""

from pathlib import Path

from edgecore.edged.volumes.podfiles import Plugin, PodFiles, pod_files
from tests.edgecore.edged.world import pod_object

FILES = pod_files(Path("/var/lib/kubelet"), Path("/var/log/pods"), pod_object("web", "u1"))
POD_DIR = Path("/var/lib/kubelet/pods/u1")


def test_the_layout_is_kubelets() -> None:
    assert PodFiles(POD_DIR, Path("/var/log/pods/default_web_u1")) == FILES
    assert FILES.log_path("c", 2) == Path("/var/log/pods/default_web_u1/c/2.log")
    assert FILES.hosts_path == POD_DIR / "etc-hosts"
    assert [FILES.volume_dir(plugin, "v").parent.name for plugin in Plugin] == [
        "kubernetes.io~configmap",
        "kubernetes.io~secret",
        "kubernetes.io~projected",
        "kubernetes.io~downward-api",
        "kubernetes.io~empty-dir",
    ]
    assert FILES.volume_dir(Plugin.SECRET, "v") == POD_DIR / "volumes/kubernetes.io~secret/v"
    assert FILES.ready_path("v") == POD_DIR / "plugins/kubernetes.io~empty-dir/v/ready"
    assert FILES.subpath("v", "c", 3) == POD_DIR / "volume-subpaths/v/c/3"


def test_each_start_has_a_termination_message_of_its_own() -> None:
    paths = [FILES.termination_path("c", attempt) for attempt in (0, 17, 2**32 - 1)]
    assert [path.name for path in paths] == ["00000000", "00000011", "ffffffff"]
    assert {path.parent for path in paths} == {POD_DIR / "containers/c"}


def test_each_pod_has_directories_of_its_own() -> None:
    other = pod_files(Path("/var/lib/kubelet"), Path("/var/log/pods"), pod_object("web", "u2"))
    assert other.pod_dir != FILES.pod_dir
    assert other.log_dir != FILES.log_dir
