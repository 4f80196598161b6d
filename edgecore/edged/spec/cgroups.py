"""The cgroups of pods: made before a pod's sandbox, and removed when the pod is gone.

The runtime makes a cgroup for each container below that of its pod; what holds for the pod as a
whole is set here. A machine that lacks a controller, or does not let us write, is said to be so
once, and its pods run without. systemd's slices are systemd's: where the runtime names cgroups for
it nothing is done here, and a pod is limited by its containers' limits alone.

Source: Kubernetes pkg/kubelet/cm (qos_container_manager_linux.go, pod_container_manager_linux.go);
https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/.
"""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgecore.edged.spec.resources import MIN_SHARES, PERIOD_US, CgroupLimits, weight

logger = logging.getLogger(__name__)

HIERARCHY: Final = Path("/sys/fs/cgroup")

_CONTROLLERS: Final = ("cpu", "memory")
_CLASSES: Final = ("burstable", "besteffort")
_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV})


class Cgroups:
    """The pods' part of the machine's cgroups. Methods do IO of well under a millisecond."""

    def __init__(self, root: str = "", hierarchy: Path = HIERARCHY) -> None:
        """Look at how the machine's cgroups are mounted.

        Args:
            root: name of the cgroup in which that of all pods lies; empty for the topmost.
            hierarchy: where they are mounted.
        """
        self._hierarchy = hierarchy
        self._pods = f"/{root}/kubepods" if root else "/kubepods"
        self._unified = (hierarchy / "cgroup.controllers").exists()
        self._told: set[str] = set()

    def prepare(self, limits: CgroupLimits) -> None:
        """Make the cgroups in which those of pods are, and limit all pods together."""
        self._set(self._pods, limits)
        self._set(f"{self._pods}/burstable", CgroupLimits())
        self._set(f"{self._pods}/besteffort", CgroupLimits(MIN_SHARES))

    def set_burstable(self, limits: CgroupLimits) -> None:
        """Give burstable pods together what they asked for, after one came or went."""
        self._set(f"{self._pods}/burstable", limits)

    def ensure(self, parent: str, limits: CgroupLimits) -> None:
        """Make the cgroup of a pod and set it, whether it was there or not.

        Args:
            parent: as ``resources.cgroup_parent`` names it.
            limits: what it is set to.
        """
        if parent.endswith(".slice"):
            self._tell("systemd makes the pods' cgroups: pods have no limits as a whole")
            return
        self._set(parent, limits)

    def remove_pod(self, uid: str) -> bool:
        """Remove the cgroup of a pod, with those of its containers; return whether it is gone.

        It is not while a process is left in it; call again then. Which class the pod had need not
        be known: it may be one that nobody knows any more.
        """
        if not uid or "/" in uid:
            return True
        gone = [_remove(level / f"pod{uid}") for level in self._levels()]
        return all(gone)

    def uids(self) -> set[str]:
        """Return the UIDs of the pods that have a cgroup."""
        found = (path.name for level in self._levels() for path in level.glob("pod*"))
        return {name.removeprefix("pod") for name in found}

    def _set(self, name: str, limits: CgroupLimits) -> None:
        for controller in _CONTROLLERS:
            top = self._hierarchy if self._unified else self._hierarchy / controller
            try:
                self._make(top, name)
                for file, value in self._values(controller, limits):
                    _write(top / name.lstrip("/") / file, value)
            except OSError as error:
                self._tell(f"no {controller} limits for pods as a whole", str(error))

    def _make(self, top: Path, name: str) -> None:
        """Make a cgroup and those above it, which in a unified hierarchy pass controllers on."""
        if not top.is_dir():
            raise FileNotFoundError(errno.ENOENT, "controller is not mounted", str(top))
        path = top
        for part in name.strip("/").split("/"):
            if self._unified:
                self._pass_on(path)
            path /= part
            path.mkdir(mode=0o755, exist_ok=True)

    def _pass_on(self, path: Path) -> None:
        """Let the cgroups below ``path`` have the controllers that it has."""
        there = (path / "cgroup.controllers").read_text().split()
        passed = (path / "cgroup.subtree_control").read_text().split()
        for controller in sorted(set(there) - set(passed)):
            try:
                _write(path / "cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                self._tell(f"the controller {controller} is not for pods", str(error))

    def _values(self, controller: str, limits: CgroupLimits) -> Iterator[tuple[str, str]]:
        """Return what is written into which file; what is not said is taken back."""
        quota, memory = limits.cpu_quota_us, limits.memory_bytes
        match controller, self._unified:
            case "cpu", True:
                if limits.cpu_shares:
                    yield "cpu.weight", str(weight(limits.cpu_shares))
                yield "cpu.max", f"{quota or 'max'} {PERIOD_US}"
            case "cpu", False:
                if limits.cpu_shares:
                    yield "cpu.shares", str(limits.cpu_shares)
                yield "cpu.cfs_quota_us", str(quota or -1)
            case "memory", True:
                yield "memory.max", str(memory or "max")
            case _:
                yield "memory.limit_in_bytes", str(memory or -1)

    def _levels(self) -> list[Path]:
        """Return what pods' cgroups lie in, in each hierarchy: runtimes make them in all."""
        groups = [self._pods.lstrip("/"), *(f"{self._pods}/{g}".lstrip("/") for g in _CLASSES)]
        return [top / group for top in self._tops() for group in groups]

    def _tops(self) -> list[Path]:
        if self._unified or not self._hierarchy.is_dir():
            return [self._hierarchy]
        return [
            path for path in self._hierarchy.iterdir() if path.is_dir() and not path.is_symlink()
        ]

    def _tell(self, what: str, why: str = "") -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning("cgroups: %s", what, extra={"why": why})


def _write(path: Path, value: str) -> None:
    """Write to a file that the kernel made: one that is not there is never created."""
    file = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)


def _remove(path: Path) -> bool:
    """Remove a cgroup and those below it; return whether it is gone."""
    try:
        below = [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        for child in below:
            _remove(Path(child))
        path.rmdir()
    except OSError as error:
        return error.errno in _GONE
    return True
