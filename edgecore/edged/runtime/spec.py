"""What a runtime is told of a pod and of a container: everything resolved, nothing left to look up.

The words are those of the Kubernetes CRI, since its runtimes are who mostly reads this; a runtime
that cannot do what a field says refuses, or is documented to ignore it.

Source: https://github.com/kubernetes/cri-api (PodSandboxConfig, ContainerConfig).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from common.names import UID


class Namespace(StrEnum):
    """Whose a namespace of the kernel is."""

    POD = "pod"
    """One for all containers of the pod."""
    CONTAINER = "container"
    NODE = "node"
    """The machine's own."""


class ProfileKind(StrEnum):
    """Where a seccomp or AppArmor profile comes from."""

    RUNTIME_DEFAULT = "RuntimeDefault"
    UNCONFINED = "Unconfined"
    LOCALHOST = "Localhost"


class Profile(Struct, frozen=True):
    """A seccomp or AppArmor profile."""

    kind: ProfileKind
    localhost: str = ""
    """Path or name of the profile on the machine, for ``LOCALHOST``."""


class SELinuxOptions(Struct, frozen=True):
    """A label of SELinux; what is empty is the runtime's choice."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class Namespaces(Struct, frozen=True):
    """Whose namespaces a container lives in."""

    network: Namespace = Namespace.POD
    pid: Namespace = Namespace.CONTAINER
    ipc: Namespace = Namespace.POD


class LinuxSecurity(Struct, frozen=True):
    """With which rights a container runs."""

    namespaces: Namespaces = Namespaces()
    run_as_user: int | None = None
    """None: the image's user."""
    run_as_username: str = ""
    """The image's user where it has a name instead of a number, and ``run_as_user`` is None."""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: Profile = Profile(ProfileKind.UNCONFINED)
    apparmor: Profile | None = None
    """None: the runtime's choice."""
    selinux: SELinuxOptions | None = None
    masked_paths: tuple[str, ...] = ()
    read_only_paths: tuple[str, ...] = ()


class LinuxResources(Struct, frozen=True):
    """What a container may take of the machine; 0 is no limit unless said otherwise."""

    cpu_shares: int = 2
    cpu_quota_us: int = 0
    cpu_period_us: int = 100_000
    memory_limit_bytes: int = 0
    oom_score_adj: int = 1000
    """-1000 to 1000."""


class DNSConfig(Struct, frozen=True):
    """What stands in a pod's ``/etc/resolv.conf``."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class PortMapping(Struct, frozen=True):
    """A port of the machine that leads to one of the pod."""

    protocol: str
    """``TCP``, ``UDP`` or ``SCTP``."""
    container_port: int
    host_port: int
    host_ip: str = ""


class Device(Struct, frozen=True):
    """A device of the machine that a container may use."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


class Propagation(StrEnum):
    """Which mounts made later on one side of a volume show on the other."""

    PRIVATE = "None"
    HOST_TO_CONTAINER = "HostToContainer"
    BIDIRECTIONAL = "Bidirectional"


class Mount(Struct, frozen=True):
    """One volume, or a file that every container gets, as a container sees it."""

    volume: str
    """Name of the volume in the pod; empty for files that belong to no volume."""
    host_path: Path
    """File or directory on this machine, there when the container is created."""
    container_path: str
    read_only: bool = False
    propagation: Propagation = Propagation.PRIVATE


class SandboxConfig(Struct, frozen=True):
    """What a runtime must know of a pod before its first container."""

    uid: UID
    namespace: str
    name: str
    attempt: int
    """How many sandboxes this pod had before."""
    log_dir: Path
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    """Empty where the pod uses the machine's network."""
    dns: DNSConfig | None = None
    """None: the machine's own."""
    ports: tuple[PortMapping, ...] = ()
    cgroup_parent: str = ""
    security: LinuxSecurity = LinuxSecurity()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """One start of one container, with all references resolved."""

    name: str
    attempt: int
    image: str
    """As the pod's spec has it, for people and for its status."""
    spec_hash: str
    """Of the fields whose change means a restart; comes back in ``ContainerStatus``."""
    log_path: Path
    command: tuple[str, ...] = ()
    """``command`` of the pod's spec; empty for the image's entry point."""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Carries Secrets: never on a command line, never in a log."""
    working_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    image_id: str = ""
    """What ``Images`` found for ``image``; empty where the runtime has no images."""
    devices: tuple[Device, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    termination_message: Path | None = None
    """File on this machine that is the container's ``terminationMessagePath``; see the policy."""
    termination_from_log: bool = False
    """Whether the end of the log stands for a message that an unlucky container did not write."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: LinuxResources = field(default_factory=LinuxResources)
    security: LinuxSecurity = field(default_factory=LinuxSecurity)
