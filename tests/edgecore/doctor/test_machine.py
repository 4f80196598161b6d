"""Judgements of a machine. Nothing is faked: it is pure."""

import pytest
from msgspec.structs import replace

from common.checks import Finding, Verdict
from edgecore.doctor.machine import Engine, Machine, judge

ENGINE = Engine("unix:///e.sock", version="containerd 2.0")
MACHINE = Machine(
    is_root=True,
    has_memory_cgroup=True,
    cgroup_version=2,
    engine=ENGINE,
    cni_files=("10-net.conflist",),
    cni_dir="/etc/cni/net.d",
    is_time_synchronized=True,
    running_version="1.0",
    installed_version="1.0",
)


def found(machine: Machine, name: str) -> Finding:
    (finding,) = [one for one in judge(machine) if one.name == name]
    return finding


def test_a_machine_in_order_has_nothing_to_mend() -> None:
    findings = list(judge(MACHINE))
    assert len(findings) == 6
    assert all(one.verdict is Verdict.OK and not one.fix for one in findings)


def test_a_machine_without_an_engine_is_not_asked_for_what_engines_need() -> None:
    names = [one.name for one in judge(replace(MACHINE, engine=None, is_root=False))]
    assert names == ["other node agents", "time service", "edgecore"]


def test_a_raspberry_pi_without_the_memory_controller_is_told_its_fix() -> None:
    finding = found(replace(MACHINE, has_memory_cgroup=False), "cgroups")
    assert finding.verdict is Verdict.FAIL
    assert "cgroup_enable=memory" in finding.fix


def test_without_cgroups_nothing_runs() -> None:
    machine = replace(MACHINE, cgroup_version=0, has_memory_cgroup=False)
    assert found(machine, "cgroups").verdict is Verdict.FAIL


def test_who_is_not_root_is_told() -> None:
    assert found(replace(MACHINE, is_root=False), "user").verdict is Verdict.WARN


@pytest.mark.parametrize("is_away", [True, False])
def test_an_engine_that_is_away_or_not_ready_fails(*, is_away: bool) -> None:
    engine = Engine("unix:///e.sock", "in its words", is_away=is_away)
    finding = found(replace(MACHINE, engine=engine), "container engine")
    assert finding.verdict is Verdict.FAIL
    assert "in its words" in finding.found
    assert ("start it" in finding.fix) == is_away


def test_no_cni_configuration_matters_only_where_the_engine_lacks_its_network() -> None:
    none = replace(MACHINE, cni_files=())
    assert found(none, "CNI").verdict is Verdict.OK
    broken = replace(none, engine=replace(ENGINE, error="NetworkPluginNotReady"))
    assert found(broken, "CNI").verdict is Verdict.FAIL


@pytest.mark.parametrize("name", ["kubelet", "kube-proxy"])
def test_another_agent_beside_is_told_and_never_refused(name: str) -> None:
    finding = found(replace(MACHINE, strangers=(name,)), "other node agents")
    assert finding.verdict is Verdict.WARN
    assert finding.fix


@pytest.mark.parametrize("state", [False, None])
def test_a_clock_that_nobody_keeps_right_is_told(*, state: bool | None) -> None:
    assert found(replace(MACHINE, is_time_synchronized=state), "time service").verdict is (
        Verdict.WARN
    )


@pytest.mark.parametrize(
    ("running", "words"), [("", "does not run"), ("0.9", "0.9 runs, and 1.0 is installed")]
)
def test_an_edgecore_that_does_not_run_or_is_an_older_one_is_told(running: str, words: str) -> None:
    finding = found(replace(MACHINE, running_version=running), "edgecore")
    assert finding.verdict is Verdict.WARN
    assert words in finding.found


@pytest.mark.parametrize(
    ("cloud", "verdict"),
    [
        ("1.0", Verdict.OK),
        ("1.1.7", Verdict.OK),
        ("1.2", Verdict.WARN),
        ("2.0", Verdict.WARN),
        ("odd", Verdict.WARN),
    ],
)
def test_versions_further_apart_than_is_tested_are_told(cloud: str, verdict: Verdict) -> None:
    finding = found(replace(MACHINE, cloud_version=cloud), "versions")
    assert finding.verdict is verdict
    assert f"cloudcore {cloud}" in finding.found
