"""Judge the machine: cgroups, engine, CNI, who else runs pods on it, time service. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from common.checks import Finding, Verdict

_MINOR: Final = re.compile(r"(\d+)\.(\d+)")
_RASPBERRY: Final = (
    "on a Raspberry Pi, add cgroup_enable=memory cgroup_memory=1 to the one line of"
    " /boot/firmware/cmdline.txt (/boot/cmdline.txt before 2023) and reboot; elsewhere, see that"
    " the kernel has CONFIG_MEMCG and is not booted with cgroup_disable=memory"
)
_STRANGERS: Final = {
    "kubelet": "it and edgecore would end each other's pods: stop and disable it",
    "kube-proxy": "it cannot reach the API server when offline: keep its DaemonSet off edge nodes",
}


class Engine(Struct, frozen=True):
    """The container engine."""

    endpoint: str
    error: str = ""
    """Why it does not answer, or cannot run pods."""
    is_away: bool = False
    """Whether nobody answered at all."""
    version: str = ""


class Machine(Struct, frozen=True):
    """All of it."""

    is_root: bool
    has_memory_cgroup: bool
    cgroup_version: int
    """0 where none is mounted."""
    engine: Engine | None = None
    """None where the pods are not run by one."""
    cni_files: tuple[str, ...] = ()
    cni_dir: str = ""
    strangers: tuple[str, ...] = ()
    """Programs that run here and do what edgecore does."""
    is_time_synchronized: bool | None = None
    """By the kernel; None where it does not say."""
    running_version: str = ""
    """Of the edgecore that runs; "" where none does."""
    installed_version: str = ""
    cloud_version: str = ""
    """Of the cloudcore that edgecore was connected to last; "" where that is not known."""


def judge(machine: Machine) -> Iterator[Finding]:
    """Yield what is to be said of the machine."""
    if machine.engine is not None:
        if not machine.is_root:
            yield Finding("user", Verdict.WARN, "not root", "run edgecore, and this, as root")
        yield _cgroups(machine)
        yield _engine(machine.engine)
        yield _cni(machine)
    yield from _strangers(machine)
    yield _time(machine)
    yield from _versions(machine)


def _cgroups(machine: Machine) -> Finding:
    if not machine.cgroup_version:
        fix = "mount them: systemd does it; else mount -t cgroup2 none /sys/fs/cgroup"
        return Finding("cgroups", Verdict.FAIL, "none are mounted", fix)
    if not machine.has_memory_cgroup:
        found = f"version {machine.cgroup_version}, without the memory controller: no limits"
        return Finding("cgroups", Verdict.FAIL, found, _RASPBERRY)
    found = f"version {machine.cgroup_version}, with the memory controller"
    return Finding("cgroups", Verdict.OK, found)


def _engine(engine: Engine) -> Finding:
    name = "container engine"
    if engine.is_away:
        fix = (
            "start it (systemctl start containerd), or set --runtime-endpoint to its socket; in"
            " containerd's configuration, cri must not be among disabled_plugins"
        )
        return Finding(name, Verdict.FAIL, f"{engine.endpoint}: {engine.error}", fix)
    if engine.error:
        fix = "mend what the engine says; for the network: a CNI configuration, see below"
        return Finding(name, Verdict.FAIL, f"{engine.endpoint}: {engine.error}", fix)
    return Finding(name, Verdict.OK, f"{engine.version} answers at {engine.endpoint}")


def _cni(machine: Machine) -> Finding:
    if machine.cni_files:
        return Finding("CNI", Verdict.OK, f"{machine.cni_dir}: {', '.join(machine.cni_files)}")
    found = f"there is no configuration in {machine.cni_dir}"
    if machine.engine is not None and not machine.engine.error:
        return Finding("CNI", Verdict.OK, f"{found}; the engine has its network from elsewhere")
    fix = "put a configuration of the plugin bridge there, with host-local addresses"
    return Finding("CNI", Verdict.FAIL, found, fix)


def _strangers(machine: Machine) -> Iterator[Finding]:
    if not machine.strangers:
        yield Finding("other node agents", Verdict.OK, "neither kubelet nor kube-proxy runs here")
    for name in machine.strangers:
        yield Finding("other node agents", Verdict.WARN, f"{name} runs here", _STRANGERS[name])


def _time(machine: Machine) -> Finding:
    match machine.is_time_synchronized:
        case True:
            return Finding("time service", Verdict.OK, "the kernel's clock is synchronized")
        case False:
            return Finding(
                "time service",
                Verdict.WARN,
                "the kernel's clock is not synchronized",
                "start one: timedatectl set-ntp true, or chrony",
            )
        case _:
            return Finding(
                "time service", Verdict.WARN, "the kernel does not say", "look at timedatectl"
            )


def _versions(machine: Machine) -> Iterator[Finding]:
    running, installed = machine.running_version, machine.installed_version
    if not running:
        fix = "systemctl start edgecore"
        yield Finding("edgecore", Verdict.WARN, f"does not run; installed is {installed}", fix)
    elif running != installed:
        found = f"{running} runs, and {installed} is installed"
        yield Finding("edgecore", Verdict.WARN, found, "systemctl restart edgecore: pods go on")
    else:
        yield Finding("edgecore", Verdict.OK, f"{running} runs")
    if machine.cloud_version:
        yield _skew(machine.installed_version, machine.cloud_version)


def _skew(edge: str, cloud: str) -> Finding:
    """Judge how far apart two versions are: one minor version is tested, more is not."""
    name, found = "versions", f"edgecore {edge}, cloudcore {cloud}"
    ours, theirs = _MINOR.match(edge), _MINOR.match(cloud)
    if ours is None or theirs is None:
        return Finding(name, Verdict.WARN, f"{found}: cannot be compared", "see what is installed")
    is_near = ours[1] == theirs[1] and abs(int(ours[2]) - int(theirs[2])) <= 1
    if is_near:
        return Finding(name, Verdict.OK, found)
    fix = "bring the older side to within one minor version of the other: edgecore upgrade"
    return Finding(name, Verdict.WARN, f"{found}: further apart than what is tested", fix)
