"""What the pods of this node have in common, kept up to date with the machine."""

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from edgecore.edged.spec.cgroupdriver import CgroupDriver
from edgecore.edged.spec.containerspec import NodeSetup
from edgecore.edged.spec.fields import NodeView
from edgecore.edged.spec.security import MachineSecurity

_THERMAL: Final = "/sys/devices/system/cpu/cpu*/thermal_throttle"
"""Tells how busy the neighbours are: kept from containers, as by kubelet."""


class PodNetwork(Struct, frozen=True):
    """How pods find names, and where they are in the machine's control groups."""

    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    cgroup_driver: CgroupDriver = CgroupDriver.CGROUPFS
    cgroup_root: str = ""


class Setup:
    """Makes the ``NodeSetup`` of a node."""

    def __init__(
        self, view: Callable[[], NodeView], memory_bytes: int, network: PodNetwork
    ) -> None:
        """Args: view: what pods may learn of the node; memory_bytes: all of the machine's."""
        self._view, self._network = view, network
        security = MachineSecurity(masked_paths=tuple(sorted(glob.glob(_THERMAL))))
        self._made = NodeSetup(
            view(),
            memory_bytes,
            cluster_dns=network.cluster_dns,
            cluster_domain=network.cluster_domain,
            cgroup_driver=network.cgroup_driver,
            cgroup_root=network.cgroup_root,
            security=security,
        )
        self._seen: tuple[int, int] | None = None

    def __call__(self) -> NodeSetup:
        """Return what holds now; the machine's ``resolv.conf`` is read when it has changed."""
        view = self._view()
        if view is not self._made.view:
            self._made = replace(self._made, view=view)
        try:
            status = self._network.resolv_conf.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                text = self._network.resolv_conf.read_text(errors="replace")
                self._made, self._seen = replace(self._made, resolv_conf=text), seen
        except OSError:  # a machine without one has no name servers, or it is being replaced
            pass
        return self._made
