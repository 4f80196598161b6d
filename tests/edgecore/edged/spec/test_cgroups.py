"""The cgroups of pods, on those of this machine where they can be written.

Real: the machine's hierarchies of either version, in a cgroup of the test's own; and, where it is
mounted beside version 1, a unified hierarchy without controllers. Faked: a unified hierarchy with
controllers, which is a folder of empty files, so that both versions are judged on every machine.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecore.edged.spec import cgroups
from edgecore.edged.spec.cgroups import HIERARCHY, Cgroups
from edgecore.edged.spec.resources import CgroupLimits

UID = "11-22"
PARENT = f"kubepods/burstable/pod{UID}"
LIMITS = CgroupLimits(1024, 50_000, 64 << 20)
FILES = ("cgroup.controllers", "cgroup.subtree_control", "cpu.weight", "cpu.max", "memory.max")
REAL = {
    "cpu/{}/cpu.shares": "1024",
    "cpu/{}/cpu.cfs_quota_us": "50000",
    "memory/{}/memory.limit_in_bytes": str(64 << 20),
    "{}/cpu.weight": "39",
    "{}/cpu.max": "50000 100000",
    "{}/memory.max": str(64 << 20),
}
"""What stands in which file afterwards, of either version; a machine has some of them."""


def named(root: str) -> str:
    return f"/{root}/{PARENT}"


@pytest.fixture
def root() -> Iterator[str]:
    name = f"edged-test-{os.getpid()}"
    yield name
    for hierarchy in (HIERARCHY, *HIERARCHY.glob("*/")):
        for path, _, _ in os.walk(hierarchy / name, topdown=False):
            Path(path).rmdir()


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """Return a folder with the files that the kernel would make."""
    parts = PARENT.split("/")
    for path in (tmp_path, *(tmp_path.joinpath(*parts[: i + 1]) for i in range(len(parts)))):
        path.mkdir(exist_ok=True)
        for name in FILES:
            (path / name).touch()
        (path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "kubepods" / "besteffort").mkdir()
    for name in FILES:
        (tmp_path / "kubepods" / "besteffort" / name).touch()
    return tmp_path


def text(path: Path) -> str:
    return path.read_text().strip()


def is_writable() -> bool:
    return os.access(HIERARCHY / "memory", os.W_OK) or os.access(
        HIERARCHY / "cgroup.procs", os.W_OK
    )


def test_a_pods_cgroup_is_made_and_removed_on_this_machine(
    root: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = Cgroups(root)
    made.prepare(CgroupLimits(2048, 0, 1 << 30))
    made.ensure(named(root), LIMITS)
    found = {HIERARCHY / file.format(root + "/" + PARENT): value for file, value in REAL.items()}
    there = {file: value for file, value in found.items() if file.exists()}
    if is_writable():
        assert there
        assert made.uids() == {UID}
        assert {file: text(file) for file in there} == there
    else:
        assert caplog.records  # said, and gone on without
    assert made.remove_pod(UID)
    assert made.uids() == set()
    assert made.remove_pod(UID)


def test_limits_are_taken_back_when_they_are_not_wanted_any_more(root: str) -> None:
    made = Cgroups(root)
    for limits in (LIMITS, CgroupLimits(2048)):
        made.ensure(named(root), limits)
    pod = root + "/" + PARENT
    wanted = {
        f"cpu/{pod}/cpu.shares": "2048",
        f"cpu/{pod}/cpu.cfs_quota_us": "-1",
        f"{pod}/cpu.weight": "79",
        f"{pod}/cpu.max": "max 100000",
        f"{pod}/memory.max": "max",
    }
    for file, value in wanted.items():
        if (HIERARCHY / file).exists():
            assert text(HIERARCHY / file) == value


def test_what_the_runtime_made_below_a_pod_goes_with_it_once_it_is_empty(root: str) -> None:
    made = Cgroups(root)
    made.ensure(named(root), LIMITS)
    tops = [top for top in (HIERARCHY, *HIERARCHY.glob("*/")) if (top / root / PARENT).is_dir()]
    for top in tops:
        (top / root / PARENT / "container").mkdir()
    with subprocess.Popen(["/bin/sleep", "60"]) as process:  # somebody who is left behind
        for top in tops:
            (top / root / PARENT / "container" / "cgroup.procs").write_text(str(process.pid))
        assert made.remove_pod(UID) is (not tops)
        process.kill()
    assert made.remove_pod(UID)
    assert not any((top / root / PARENT).exists() for top in tops)


def test_a_unified_hierarchy_gets_weights_and_passes_controllers_on(unified: Path) -> None:
    made = Cgroups(hierarchy=unified)
    made.prepare(CgroupLimits(2048, 0, 1 << 30))
    made.ensure("/" + PARENT, LIMITS)
    made.set_burstable(CgroupLimits(512))
    files = {
        str(path.relative_to(unified)): text(path)
        for path in unified.rglob("*.*")
        if path.name in FILES and path.name != "cgroup.controllers" and text(path)
    }
    passed = files.pop("cgroup.subtree_control")
    assert passed == "+pids"  # the last that was written: each is written by itself
    assert files == {
        "kubepods/cgroup.subtree_control": "+pids",
        "kubepods/cpu.weight": "79",
        "kubepods/cpu.max": "max 100000",
        "kubepods/memory.max": str(1 << 30),
        "kubepods/besteffort/cpu.weight": "1",
        "kubepods/besteffort/cpu.max": "max 100000",
        "kubepods/besteffort/memory.max": "max",
        "kubepods/burstable/cgroup.subtree_control": "+pids",
        "kubepods/burstable/cpu.weight": "20",
        "kubepods/burstable/cpu.max": "max 100000",
        "kubepods/burstable/memory.max": "max",
        f"{PARENT}/cpu.weight": "39",
        f"{PARENT}/cpu.max": "50000 100000",
        f"{PARENT}/memory.max": str(64 << 20),
    }
    assert made.uids() == {UID}


def test_a_machine_without_controllers_is_said_to_be_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Cgroups(hierarchy=tmp_path / "nowhere")
    for _ in range(2):
        made.ensure("/" + PARENT, LIMITS)
    assert [record.message for record in caplog.records] == [
        "cgroups: no cpu limits for pods as a whole",
        "cgroups: no memory limits for pods as a whole",
    ]
    assert made.remove_pod(UID)
    assert made.uids() == set()
    assert list(tmp_path.iterdir()) == []


def test_a_controller_that_cannot_be_passed_on_is_said_once_and_the_rest_is_done(
    unified: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = cgroups._write

    def refuse(path: Path, value: str) -> None:
        if value == "+memory":  # as a kernel does where processes are in the way
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        write(path, value)

    monkeypatch.setattr(cgroups, "_write", refuse)
    made = Cgroups(hierarchy=unified)
    made.prepare(LIMITS)
    made.ensure("/" + PARENT, LIMITS)
    said = [record.message for record in caplog.records]
    assert said == ["cgroups: the controller memory is not for pods"]
    assert text(unified / PARENT / "cpu.weight") == "39"


def test_systemds_slices_are_left_to_systemd(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Cgroups(hierarchy=tmp_path)
    for _ in range(2):
        made.ensure("/kubepods.slice/kubepods-pod1.slice", LIMITS)
    assert len(caplog.records) == 1
    assert made.remove_pod("1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uid", ["", "/../x", "../../x"])
def test_what_cannot_be_a_uid_removes_nothing(unified: Path, uid: str) -> None:
    before = sorted(unified.rglob("*"))
    assert Cgroups(hierarchy=unified).remove_pod(uid)
    assert sorted(unified.rglob("*")) == before
