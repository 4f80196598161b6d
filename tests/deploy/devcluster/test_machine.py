"""What this machine can do; the machine is real, what it lacks is pretended."""

import os
import sys
from pathlib import Path

import pytest

from deploy.devcluster import machine, remains
from deploy.devcluster.machine import (
    ContainerEngineError,
    missing_packages,
    program,
    run,
    snapshotter,
    why_not,
)

containers = pytest.mark.usefixtures("containers_run")


def test_what_is_not_installed_is_named_as_debian_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "find_program", lambda _: None)
    monkeypatch.setattr(machine, "CNI_PROGRAMS", tmp_path)
    everything = ["busybox-static", "containerd", "containernetworking-plugins", "iproute2"]
    assert missing_packages() == [*everything, "iptables", "runc"]
    assert why_not() == f"not installed: {', '.join(missing_packages())}"


@containers
def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = remains.find_program
    monkeypatch.setattr(
        machine, "find_program", lambda name: None if name == "runc" else real(name)
    )
    assert missing_packages() == ["runc"]


@containers
def test_only_root_runs_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not() == "not root"


@containers
def test_a_busybox_that_needs_libraries_is_no_good(monkeypatch: pytest.MonkeyPatch) -> None:
    real = remains.find_program
    monkeypatch.setattr(
        machine, "find_program", lambda name: sys.executable if name == "busybox" else real(name)
    )
    assert missing_packages() == ["busybox-static"]


@containers
def test_a_machine_without_cgroups_runs_no_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    assert why_not() == f"no cgroups to write to at {tmp_path}"


@containers
def test_what_the_machine_refuses_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise ContainerEngineError("mount: permission denied")

    monkeypatch.setattr(machine, "run", refuse)
    assert why_not() == "mount: permission denied"


@containers
def test_overlays_are_used_where_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert snapshotter(tmp_path) == "overlayfs"
    real = machine.run

    def refuse_overlay(name: str, *arguments: str) -> None:
        if "overlay" in arguments:
            raise ContainerEngineError("mount: wrong fs type")
        real(name, *arguments)

    monkeypatch.setattr(machine, "run", refuse_overlay)
    assert snapshotter(tmp_path) == "native"
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_told_with_its_words() -> None:
    with pytest.raises(ContainerEngineError, match=r"ls /nowhere: .*No such file"):
        run("ls", "/nowhere")
    with pytest.raises(ContainerEngineError, match="not installed: no-such-program"):
        program("no-such-program")
