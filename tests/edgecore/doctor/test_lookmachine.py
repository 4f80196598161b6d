"""Looking at a machine: made-up folders of the kernel; this kernel's clock; no engine at all."""

import os
from pathlib import Path

import pytest

from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.doctor import lookmachine


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_cgroups_of_version_2_name_their_controllers(tmp_path: Path) -> None:
    write(tmp_path / "sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
    assert lookmachine.cgroups(tmp_path) == (True, 2)
    write(tmp_path / "sys/fs/cgroup/cgroup.controllers", "cpu pids\n")
    assert lookmachine.cgroups(tmp_path) == (False, 2)


def test_cgroups_of_version_1_have_a_folder_each(tmp_path: Path) -> None:
    assert lookmachine.cgroups(tmp_path) == (False, 0)
    write(tmp_path / "sys/fs/cgroup/cpu/tasks", "")
    assert lookmachine.cgroups(tmp_path) == (False, 1)
    write(tmp_path / "sys/fs/cgroup/memory/tasks", "")
    assert lookmachine.cgroups(tmp_path) == (True, 1)


def test_configurations_of_cni_are_found_by_their_endings(tmp_path: Path) -> None:
    for name in ("20-b.conf", "10-a.conflist", "README"):
        write(tmp_path / name, "")
    assert lookmachine.cni_files(tmp_path) == ("10-a.conflist", "20-b.conf")
    assert lookmachine.cni_files(tmp_path / "none") == ()


def test_kubelet_and_kube_proxy_are_found_among_the_processes(tmp_path: Path) -> None:
    for number, name in enumerate(("kubelet", "bash", "kube-proxy", "kubelet")):
        write(tmp_path / str(number) / "comm", f"{name}\n")
    write(tmp_path / "self", "")
    (tmp_path / "77").mkdir()  # has just ended
    assert lookmachine.strangers(tmp_path) == ("kube-proxy", "kubelet")


def test_the_kernel_says_whether_its_clock_is_kept_right() -> None:
    assert lookmachine.is_time_synchronized() in (True, False, None)


@pytest.mark.parametrize("endpoint", ["unix:///nowhere/e.sock", "ftp://x"])
async def test_an_engine_that_is_not_there_is_away(endpoint: str) -> None:
    engine = await lookmachine.look_at_engine(endpoint)
    assert engine.is_away
    assert engine.error


def test_all_of_it_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    settings = EdgeCoreSettings(
        cloud="c", runtime=RuntimeName.CRI, runtime_endpoint="unix:///nowhere/e.sock"
    )
    machine = lookmachine.look(tmp_path, settings, tmp_path)
    assert machine.engine is not None
    assert machine.is_root == (os.geteuid() == 0)
    assert (machine.cgroup_version, machine.strangers, machine.running_version) == (0, (), "")
    assert machine.installed_version
    assert lookmachine.look(tmp_path, None, tmp_path).engine is None
