"""The kernel settings that a pod may make for itself. Pure.

Source: Kubernetes pkg/kubelet/sysctl;
https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/
"""

from typing import Final

from edgecore.edged.podview import Object, spec_of

SAFE: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
"""What a pod may set without anybody else noticing."""


def sysctls_of(pod: Object) -> tuple[tuple[str, str], ...]:
    """Return the names, with dots between their parts, and values that the pod asks for."""
    context = spec_of(pod).get("securityContext") or {}
    asked = {_dotted(entry["name"]): entry["value"] for entry in context.get("sysctls") or ()}
    return tuple(asked.items())


def forbidden_sysctl(pod: Object) -> str:
    """Return why the pod may not have one of the settings it asks for; empty if it may."""
    spec = spec_of(pod)
    for name, _ in sysctls_of(pod):
        if name not in SAFE:
            return f'forbidden sysctl: "{name}" not allowlisted'
        if name.startswith("net.") and spec.get("hostNetwork"):
            return f'forbidden sysctl: "{name}" not allowed with host Net enabled'
        if name.startswith("kernel.") and spec.get("hostIPC"):
            return f'forbidden sysctl: "{name}" not allowed with host IPC enabled'
    return ""


def _dotted(name: str) -> str:
    """Return ``name`` as the kernel's documentation has it.

    Whichever of dot and slash comes first stands between the parts; the other is part of a name.
    """
    first = next((c for c in name if c in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))
