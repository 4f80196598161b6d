"""How a container's configuration is put together: pure."""

from pathlib import Path
from typing import Any

import pytest

from edgecore.edged.fields import NodeView
from edgecore.edged.objects import MissingError, Objects
from edgecore.edged.podfiles import Prepared, container_config, pod_files
from edgecore.edged.runtime.spec import ContainerConfig, Mount
from tests.edgecore.edged.world import container, pod_object

VOLUMES = [
    {"name": "conf", "configMap": {"name": "web"}},
    {"name": "tmp", "emptyDir": {}},
]
PATHS = {"conf": Path("/v/conf"), "tmp": Path("/v/tmp")}


def config(paths: Any = None, **fields: Any) -> ContainerConfig:
    made = container(
        "c", "run", "$(A)", args=["$(A)$(B)"], env=[{"name": "A", "value": "1"}], **fields
    )
    pod = pod_object("web", containers=[made], volumes=VOLUMES)
    prepared = Prepared(Objects("default"), PATHS if paths is None else paths)
    result, skipped = container_config(pod, made, 3, prepared, NodeView("n1", "ip"), Path("/log"))
    assert skipped == ()
    return result


def test_command_and_args_are_expanded_with_the_containers_variables() -> None:
    made = config(workingDir="/w")
    assert (made.command, made.args) == (("run", "1"), ("1$(B)",))
    assert (made.env, made.working_dir, made.attempt) == ((("A", "1"),), "/w", 3)


def test_volumes_of_objects_are_read_only_whatever_the_mount_says() -> None:
    mounts = [
        {"name": "conf", "mountPath": "/conf"},
        {"name": "tmp", "mountPath": "/tmp/x", "subPath": "in/side"},
        {"name": "tmp", "mountPath": "/ro", "readOnly": True, "subPathExpr": "a$(A)"},
    ]
    assert config(volumeMounts=mounts).mounts == (
        Mount("conf", Path("/v/conf"), "/conf", read_only=True),
        Mount("tmp", Path("/v/tmp/in/side"), "/tmp/x"),
        Mount("tmp", Path("/v/tmp/a1"), "/ro", read_only=True),
    )


@pytest.mark.parametrize("sub_path", ["../x", "/etc", "a/../../b"])
def test_a_path_out_of_the_volume_is_refused(sub_path: str) -> None:
    with pytest.raises(MissingError, match="invalid subPath"):
        config(volumeMounts=[{"name": "tmp", "mountPath": "/x", "subPath": sub_path}])


def test_a_runtime_that_wants_no_files_gets_no_mounts() -> None:
    assert config(paths={}, volumeMounts=[{"name": "tmp", "mountPath": "/x"}]).mounts == ()


def test_each_pod_has_directories_of_its_own() -> None:
    one, other = (pod_files(Path("/d"), pod_object("web", uid)) for uid in ("u1", "u2"))
    assert one.volumes_dir == Path("/d/pods/u1")
    assert one.log_path("c", 2) == Path("/d/logs/pods/default_web_u1/c/2.log")
    assert other != one
