"""The protocol of runtimes: the types in it, and that those that we have keep to it."""

from pathlib import Path

from edgecore.edged.runtime.base import Runtime, RuntimeVersion
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.process import ProcessRuntime
from edgecore.edged.runtime.spec import ContainerConfig


def test_the_runtimes_keep_to_the_protocol(tmp_path: Path) -> None:
    runtimes: list[Runtime] = [HollowRuntime(), ProcessRuntime(tmp_path)]
    assert [runtime.scheme for runtime in runtimes] == ["hollow", "process"]


def test_a_version_is_shown_as_kubernetes_shows_it() -> None:
    assert str(RuntimeVersion("process", "1.0")) == "process://1.0"


def test_the_environment_is_not_shown_where_a_config_is_logged() -> None:
    config = ContainerConfig("c", 0, "img", "h", Path("/log"), env=(("PASSWORD", "hunter2"),))
    assert "hunter2" not in repr(config)
