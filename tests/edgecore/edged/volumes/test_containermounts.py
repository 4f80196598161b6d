"""A container's mounts on a real disk, with real bind mounts."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecore.edged.objects import MissingError
from edgecore.edged.runtime.spec import Mount, Propagation
from edgecore.edged.volumes.containermounts import Sources, container_mounts, write_etc_hosts
from edgecore.edged.volumes.mounts import Mounter, unmount_below
from edgecore.edged.volumes.podfiles import PodFiles
from tests.edgecore.edged.world import container, pod_object

VOLUMES: list[dict[str, Any]] = [
    {"name": "conf", "configMap": {"name": "web"}},
    {"name": "tmp", "emptyDir": {}},
    {"name": "down", "downwardAPI": {}},
]


@pytest.fixture(autouse=True)
def _nothing_stays(tmp_path: Path) -> Iterator[None]:
    yield
    unmount_below(tmp_path)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    paths = {volume["name"]: tmp_path / volume["name"] for volume in VOLUMES}
    for path in paths.values():
        path.mkdir()
    return Sources(PodFiles(tmp_path / "pod", tmp_path / "log"), paths, Mounter())


def mounts_of(
    sources: Sources, *volume_mounts: dict[str, Any], attempt: int = 0, **spec: Any
) -> list[Mount]:
    """Return the mounts but that of the termination message."""
    made = container("c", volumeMounts=list(volume_mounts))
    pod = pod_object("web", containers=[made], volumes=VOLUMES, **spec)
    *mounts, message = container_mounts(pod, made, attempt, {"A": "1", "E": ""}, sources)
    assert message.container_path == "/dev/termination-log"
    return mounts


def test_volumes_of_objects_are_read_only_whatever_the_mount_says(sources: Sources) -> None:
    paths = sources.paths
    assert mounts_of(
        sources,
        {"name": "conf", "mountPath": "/conf", "readOnly": False},
        {"name": "down", "mountPath": "relative"},
        {"name": "tmp", "mountPath": "/tmp/x"},
        {"name": "tmp", "mountPath": "/ro", "readOnly": True},
    ) == [
        Mount("conf", paths["conf"], "/conf", read_only=True),
        Mount("down", paths["down"], "/relative", read_only=True),
        Mount("tmp", paths["tmp"], "/tmp/x"),
        Mount("tmp", paths["tmp"], "/ro", read_only=True),
    ]


def test_sub_paths_are_made_and_named_by_variables(sources: Sources) -> None:
    one, two = mounts_of(
        sources,
        {"name": "tmp", "mountPath": "/a", "subPath": "in/side"},
        {"name": "tmp", "mountPath": "/b", "subPathExpr": "of/$(A)/$$(B)"},
    )
    assert one == Mount("tmp", sources.files.subpath("tmp", "c", 0), "/a")
    assert two == Mount("tmp", sources.files.subpath("tmp", "c", 1), "/b")
    (two.host_path / "file").touch()
    assert (sources.paths["tmp"] / "of/1/$(B)/file").exists()
    assert (sources.paths["tmp"] / "in/side").is_dir()


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"subPath": "/etc"}, "must not be an absolute path"),
        ({"subPath": "../x"}, "must not contain '..'"),
        ({"subPathExpr": "a/../$(A)"}, "must not contain '..'"),
        ({"subPath": "a\0b"}, "unable to provision SubPath"),
        ({"subPathExpr": "$(Z)$(E)$(A)$$(B)"}, "missing value for E, Z$"),
        ({"subPath": "link"}, 'failed to prepare subPath for volumeMount "tmp" of container "c"$'),
        ({"name": "none"}, 'cannot find volume "none" to mount into container "c"'),
        ({"mountPropagation": "Both"}, 'invalid MountPropagation mode: "Both"'),
        ({"recursiveReadOnly": "Enabled"}, "but it is not read-only"),
        ({"recursiveReadOnly": "Enabled", "readOnly": True}, "not supported by this node"),
        ({"recursiveReadOnly": "Perhaps", "readOnly": True}, "unknown recursive read-only mode"),
        (
            {
                "recursiveReadOnly": "IfPossible",
                "readOnly": True,
                "mountPropagation": "HostToContainer",
            },
            "not compatible with propagation",
        ),
    ],
)
def test_what_cannot_be_mounted_is_refused(
    sources: Sources, mount: dict[str, Any], words: str
) -> None:
    (sources.paths["tmp"] / "link").symlink_to("/etc")
    with pytest.raises(MissingError, match=words):
        mounts_of(sources, {"name": "tmp", "mountPath": "/x", **mount})


@pytest.mark.parametrize("mode", ["Disabled", "IfPossible"])
def test_a_wish_for_recursion_may_be_left_out_where_the_pod_says_so(
    sources: Sources, mode: str
) -> None:
    wish = {"name": "tmp", "mountPath": "/x", "readOnly": True, "recursiveReadOnly": mode}
    assert mounts_of(sources, wish) == [Mount("tmp", sources.paths["tmp"], "/x", read_only=True)]


@pytest.mark.parametrize("mode", Propagation)
def test_propagation_is_handed_on(sources: Sources, mode: Propagation) -> None:
    [mount] = mounts_of(sources, {"name": "tmp", "mountPath": "/x", "mountPropagation": mode.value})
    assert mount.propagation is mode


def test_a_hosts_file_is_mounted_where_there_is_one_of_the_pod(sources: Sources) -> None:
    assert mounts_of(sources) == []
    write_etc_hosts(sources.files, b"127.0.0.1 localhost\n")
    hosts = Mount("", sources.files.hosts_path, "/etc/hosts")
    assert mounts_of(sources) == [hosts]
    assert mounts_of(sources, hostNetwork=True) == []
    aliases = [{"ip": "192.0.2.1", "hostnames": ["a"]}]
    assert mounts_of(sources, hostNetwork=True, hostAliases=aliases) == [hosts]
    own = {"name": "tmp", "mountPath": "/etc/hosts"}
    assert mounts_of(sources, own) == [Mount("tmp", sources.paths["tmp"], "/etc/hosts")]


def test_a_changed_hosts_file_is_the_same_file(sources: Sources) -> None:
    write_etc_hosts(sources.files, b"old")
    path = sources.files.hosts_path
    before = path.stat()
    write_etc_hosts(sources.files, b"old")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    write_etc_hosts(sources.files, b"new, and longer")
    assert path.read_bytes() == b"new, and longer"
    assert path.stat().st_ino == before.st_ino
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nobody_else_gets_into_the_pods_directory(sources: Sources) -> None:
    mounts_of(sources)
    assert stat.S_IMODE(sources.files.pod_dir.stat().st_mode) == 0o700


def test_each_start_writes_its_termination_message_to_a_new_file(sources: Sources) -> None:
    made = container("c", terminationMessagePath="last/words")
    pod = pod_object("web", containers=[made])
    for attempt in range(12):
        [message] = container_mounts(pod, made, attempt, {}, sources)
        path = sources.files.termination_path("c", attempt)
        assert message == Mount("", path, "/last/words")
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"", 0o666)
        path.write_bytes(b"bye")
    [again] = container_mounts(pod, made, 11, {}, sources)
    assert again.host_path.read_bytes() == b""
    kept = sorted(int(path.name, 16) for path in again.host_path.parent.iterdir())
    assert kept == list(range(2, 12))
