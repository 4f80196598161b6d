"""What an engine is told of a sandbox and of a container, in CRI's messages. Pure.

Source: Kubernetes pkg/kubelet/kuberuntime/kuberuntime_sandbox.go, kuberuntime_container.go and
kuberuntime_container_linux.go.
"""

from pathlib import Path
from typing import Final

from common.names import UID
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import names, security
from edgecore.edged.runtime.images import ImageAuth
from edgecore.edged.runtime.spec import (
    ContainerConfig,
    DNSConfig,
    LinuxResources,
    Mount,
    PortMapping,
    Propagation,
    SandboxConfig,
)

_PROTOCOLS: Final[dict[str, cri.Protocol]] = {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}
_PROPAGATIONS: Final[dict[Propagation, cri.MountPropagation]] = {
    Propagation.PRIVATE: cri.PROPAGATION_PRIVATE,
    Propagation.HOST_TO_CONTAINER: cri.PROPAGATION_HOST_TO_CONTAINER,
    Propagation.BIDIRECTIONAL: cri.PROPAGATION_BIDIRECTIONAL,
}


def sandbox_config(config: SandboxConfig) -> cri.PodSandboxConfig:
    """Return ``config`` as RunPodSandbox and CreateContainer want it."""
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=config.name, uid=config.uid, namespace=config.namespace, attempt=config.attempt
        ),
        hostname=config.hostname,
        log_directory=str(config.log_dir),
        dns_config=_dns(config.dns),
        port_mappings=[_port(port) for port in config.ports],
        labels={
            **dict(config.labels),
            names.POD_NAME: config.name,
            names.POD_NAMESPACE: config.namespace,
            names.POD_UID: config.uid,
        },
        annotations=dict(config.annotations),
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=config.cgroup_parent,
            security_context=security.sandbox_security(config.security),
            sysctls=dict(config.sysctls),
        ),
    )


def container_config(sandbox: cri.PodSandboxConfig, config: ContainerConfig) -> cri.ContainerConfig:
    """Return ``config`` as CreateContainer wants it.

    Args:
        sandbox: which it is for.
        config: of the container. In a sandbox that another kubelet made with another directory for
            logs, the log gets its name in that one.
    """
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=cri.ImageSpec(
            image=config.image_id or config.image, user_specified_image=config.image
        ),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[
            cri.KeyValue(key=key, value=value.encode(errors="surrogateescape"))
            for key, value in config.env
        ],
        mounts=[_mount(mount) for mount in config.mounts],
        devices=[
            cri.Device(
                host_path=device.host_path,
                container_path=device.container_path,
                permissions=device.permissions,
            )
            for device in config.devices
        ],
        labels={
            names.POD_NAME: sandbox.metadata.name,
            names.POD_NAMESPACE: sandbox.metadata.namespace,
            names.POD_UID: sandbox.metadata.uid,
            names.CONTAINER_NAME: config.name,
        },
        annotations=_annotations(config),
        log_path=_log_path(sandbox, config.log_path),
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=cri.LinuxContainerConfig(
            resources=_resources(config.resources),
            security_context=security.container_security(config.security),
        ),
    )


def sandboxes_of(uid: UID) -> cri.PodSandboxFilter:
    """Return what selects the sandboxes of one pod."""
    return cri.PodSandboxFilter(label_selector={names.POD_UID: uid})


def containers_of(uid: UID) -> cri.ContainerFilter:
    """Return what selects the containers of one pod."""
    return cri.ContainerFilter(label_selector={names.POD_UID: uid})


def auth_config(auth: ImageAuth | None) -> cri.AuthConfig | None:
    """Return how to log in to a registry, as PullImage wants it."""
    if auth is None:
        return None
    return cri.AuthConfig(
        username=auth.username,
        password=auth.password,
        server_address=auth.server_address,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
    )


def _annotations(config: ContainerConfig) -> dict[str, str]:
    annotations = {
        **dict(config.annotations),
        names.HASH: names.kubelet_hash(config.name, config.image),
        names.RESTART_COUNT: str(config.attempt),
        names.MESSAGE_POLICY: (
            names.POLICY_LOG if config.termination_from_log else names.POLICY_FILE
        ),
        names.SPEC_HASH: config.spec_hash,
    }
    for mount in config.mounts:
        if mount.host_path == config.termination_message:
            annotations[names.MESSAGE_PATH] = mount.container_path
    return annotations


def _log_path(sandbox: cri.PodSandboxConfig, log_path: Path) -> str:
    if log_path.is_relative_to(sandbox.log_directory):
        return str(log_path.relative_to(sandbox.log_directory))
    return str(Path(*log_path.parts[-2:]))


def _dns(dns: DNSConfig | None) -> cri.DNSConfig | None:
    if dns is None:
        return None
    return cri.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options)


def _port(port: PortMapping) -> cri.PortMapping:
    return cri.PortMapping(
        protocol=_PROTOCOLS.get(port.protocol, cri.TCP),
        container_port=port.container_port,
        host_port=port.host_port,
        host_ip=port.host_ip,
    )


def _mount(mount: Mount) -> cri.Mount:
    return cri.Mount(
        container_path=mount.container_path,
        host_path=str(mount.host_path),
        readonly=mount.read_only,
        propagation=_PROPAGATIONS[mount.propagation],
    )


def _resources(resources: LinuxResources) -> cri.LinuxContainerResources:
    # Left out, oom_score_adj would be edgecore's own, which an engine may not be allowed to give.
    return cri.LinuxContainerResources(
        cpu_period=resources.cpu_period_us,
        cpu_quota=resources.cpu_quota_us,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory_limit_bytes,
        oom_score_adj=resources.oom_score_adj,
    )
