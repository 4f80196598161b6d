"""From a pod's spec to what a runtime is told: the sandbox's configuration and a container's. Pure.

Source: Kubernetes pkg/kubelet/kuberuntime/{kuberuntime_sandbox,kuberuntime_container}.go.
"""

from pathlib import Path

from msgspec import Struct, field

from edgecore.edged.objects import Objects
from edgecore.edged.podview import Object, spec_hash, spec_of, uid_of
from edgecore.edged.runtime.images import Image
from edgecore.edged.runtime.spec import ContainerConfig, Mount, SandboxConfig
from edgecore.edged.spec.cgroupdriver import CgroupDriver
from edgecore.edged.spec.dns import dns_config
from edgecore.edged.spec.env import Environment, environment, expand
from edgecore.edged.spec.fields import NodeView
from edgecore.edged.spec.hostports import port_mappings
from edgecore.edged.spec.hosts import kernel_hostname
from edgecore.edged.spec.refusals import Notice, check_container, check_pod
from edgecore.edged.spec.resources import cgroup_parent, linux_resources
from edgecore.edged.spec.security import MachineSecurity, container_security, sandbox_security
from edgecore.edged.spec.sysctls import sysctls_of


class NodeSetup(Struct, frozen=True):
    """What of the node all its pods have in common."""

    view: NodeView
    memory_bytes: int
    """All memory of the machine, more than 0."""
    resolv_conf: str = ""
    """Text of the machine's ``resolv.conf``."""
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = ""
    cgroup_driver: CgroupDriver = CgroupDriver.CGROUPFS
    cgroup_root: str = ""
    """Name of the cgroup in which that of all pods lies; empty for the topmost."""
    security: MachineSecurity = field(default_factory=MachineSecurity)


class Made(Struct, frozen=True):
    """What was made ready, or found out, for one start of a container."""

    objects: Objects
    setup: NodeSetup
    mounts: tuple[Mount, ...] = ()
    image: Image | None = None
    """None where the runtime has no images."""
    ips: tuple[str, ...] = ()
    """The pod's own addresses, the main one first; none where they are the node's."""
    termination_message: Path | None = None


def sandbox_config(
    pod: Object, attempt: int, setup: NodeSetup, log_dir: Path
) -> tuple[SandboxConfig, tuple[Notice, ...]]:
    """Return how to make the pod's sandbox, and what its author should know.

    Args:
        pod: what it is for.
        attempt: how many sandboxes the pod had before.
        setup: the node's.
        log_dir: where the pod's logs go.

    Raises:
        SpecError: the pod asks for what cannot be done here, or contradicts itself.
    """
    left_out = check_pod(pod)
    dns, cut = dns_config(pod, setup.resolv_conf, setup.cluster_dns, setup.cluster_domain)
    metadata = pod["metadata"]
    config = SandboxConfig(
        uid=uid_of(pod),
        namespace=metadata["namespace"],
        name=metadata["name"],
        attempt=attempt,
        log_dir=log_dir,
        labels=tuple((metadata.get("labels") or {}).items()),
        annotations=tuple((metadata.get("annotations") or {}).items()),
        hostname=kernel_hostname(pod, setup.cluster_domain),
        dns=dns,
        ports=port_mappings(pod),
        cgroup_parent=cgroup_parent(pod, setup.cgroup_driver, setup.cgroup_root),
        security=sandbox_security(pod),
        sysctls=sysctls_of(pod),
    )
    return config, (*left_out, *cut)


def environment_of(pod: Object, container: Object, made: Made) -> Environment:
    """Return the environment of ``container``, by which its mounts may be named as well.

    Raises:
        MissingError: something that it needs is not there.
        UnavailableError: something that it needs could not be asked for.
    """
    ips = () if spec_of(pod).get("hostNetwork") else made.ips
    return environment(pod, container, made.objects, made.setup.view, ips)


def container_config(
    pod: Object, container: Object, attempt: int, made: Made, log: Path
) -> tuple[ContainerConfig, tuple[Notice, ...]]:
    """Return how to start ``container``, and what its author should know.

    Args:
        pod: whose container it is.
        container: the container's spec.
        attempt: how often it was started before.
        made: what is ready for it.
        log: where its output goes.

    Raises:
        MissingError: something that it needs is not there, or (``SpecError``) it asks for what
            cannot be done here.
        UnavailableError: something that it needs could not be asked for.
    """
    check_container(pod, container)
    env = environment_of(pod, container, made)
    config = ContainerConfig(
        name=container["name"],
        attempt=attempt,
        image=container.get("image", ""),
        spec_hash=spec_hash(container),
        log_path=log,
        command=tuple(expand(part, env.variables) for part in container.get("command") or ()),
        args=tuple(expand(part, env.variables) for part in container.get("args") or ()),
        env=tuple(env.variables.items()),
        working_dir=container.get("workingDir", ""),
        mounts=made.mounts,
        image_id=made.image.id if made.image else "",
        termination_message=made.termination_message,
        termination_from_log=container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=linux_resources(pod, container, made.setup.memory_bytes),
        security=container_security(pod, container, made.image, made.setup.security),
    )
    return config, _skipped(env)


def _skipped(env: Environment) -> tuple[Notice, ...]:
    if not env.skipped:
        return ()
    message = f"Keys {', '.join(env.skipped)} were skipped: they are no names of variables"
    return (Notice("InvalidEnvironmentVariableNames", message),)
