"""The ports of the machine that pods take for themselves. Pure.

Source: Kubernetes pkg/scheduler/util (GetHostPorts) and pkg/scheduler/framework/plugins/nodeports.
"""

from collections.abc import Iterable
from typing import Final

from edgecore.edged.podview import (
    Object,
    containers_of,
    init_containers_of,
    is_sidecar,
    key_of,
    spec_of,
)
from edgecore.edged.runtime.spec import PortMapping

_ANY: Final = frozenset({"", "0.0.0.0"})  # noqa: S104 - what a pod's spec says; nothing binds


def host_ports(pod: Object) -> tuple[PortMapping, ...]:
    """Return the ports that the pod takes while it runs; a pod on the machine's network all its."""
    on_host = bool(spec_of(pod).get("hostNetwork"))
    lasting = (*filter(is_sidecar, init_containers_of(pod)), *containers_of(pod))
    mappings = []
    for port in (port for container in lasting for port in container.get("ports") or ()):
        host_port = port.get("hostPort") or (port["containerPort"] if on_host else 0)
        if host_port > 0:
            protocol = port.get("protocol") or "TCP"
            mappings.append(
                PortMapping(protocol, port["containerPort"], host_port, port.get("hostIP") or "")
            )
    return tuple(mappings)


def port_mappings(pod: Object) -> tuple[PortMapping, ...]:
    """Return what the runtime has to make reachable; nothing on the machine's own network."""
    if spec_of(pod).get("hostNetwork"):
        return ()
    return tuple(dict.fromkeys(host_ports(pod)))


def port_conflict(pod: Object, others: Iterable[Object]) -> str:
    """Return which port of ``pod`` one of ``others`` has; empty if none."""
    wanted = host_ports(pod)
    if not wanted:
        return ""
    for other in others:
        for taken in host_ports(other):
            if any(_collide(mine, taken) for mine in wanted):
                return f"{taken.protocol} port {taken.host_port} is in use by {key_of(other)}"
    return ""


def _collide(one: PortMapping, other: PortMapping) -> bool:
    if (one.protocol, one.host_port) != (other.protocol, other.host_port):
        return False
    return one.host_ip == other.host_ip or bool(_ANY & {one.host_ip, other.host_ip})
