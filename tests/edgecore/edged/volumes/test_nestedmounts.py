"""Mount points inside volumes: pure, nothing faked."""

from typing import Any

from edgecore.edged.volumes.nestedmounts import nested_mount_points
from tests.edgecore.edged.world import container, pod_object


def nested(*mounts: tuple[str, str], **fields: Any) -> list[str]:
    volume_mounts = [{"name": name, "mountPath": path} for name, path in mounts]
    made = container("c", volumeMounts=volume_mounts)
    return list(nested_mount_points(pod_object("web", containers=[made], **fields), "v"))


def test_what_is_mounted_inside_the_volume_needs_a_directory_there() -> None:
    assert nested(("v", "/etc/v/"), ("w", "/etc/v/in/side"), ("w", "/etc")) == ["in/side"]


def test_of_nested_ones_only_the_outermost_is_in_the_volume() -> None:
    mounts = (("v", "/d"), ("w", "/d/n"), ("x", "/d/n/o"), ("y", "/d/n-2"), ("z", "/d2/n"))
    assert nested(*mounts) == ["n", "n-2"]


def test_each_place_of_the_volume_and_each_container_counts() -> None:
    mounts = [{"name": "v", "mountPath": "/i"}, {"name": "w", "mountPath": "/i/x"}]
    init = container("init", volumeMounts=mounts)
    found = nested(("v", "/a"), ("v", "/b"), ("w", "/b/y"), initContainers=[init])
    assert found == ["x", "y"]


def test_a_pod_without_mounts_has_none() -> None:
    assert list(nested_mount_points(pod_object("web"), "v")) == []
