"""The command lines of the control plane's programs. Pure: paths and ports in, arguments out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from deploy.devcluster.credentials import Credentials
from deploy.devcluster.ports import LOOPBACK

SERVICE_ACCOUNT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
SERVICE_CIDR: Final = "10.0.0.0/24"
_WATCH_GRACE: Final = "100ms"
_API_QPS: Final = 500
_API_BURST: Final = 1000


class Component(StrEnum):
    """The programs of the control plane, in the order in which they start."""

    ETCD = "etcd"
    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"


@dataclass(frozen=True, slots=True)
class NodeMonitor:
    """When the controller manager gives up a node; the defaults are those of Kubernetes 1.36."""

    period_s: float = 5.0
    grace_period_s: float = 50.0
    startup_grace_period_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports on loopback of one control plane."""

    etcd: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one control plane keeps what it needs."""

    programs: Path
    data: Path
    ports: Ports
    credentials: Credentials

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self.ports.api_server}"

    def kubeconfig(self, user: str) -> Path:
        """The file from which ``user`` learns where the API server is and which token to show."""
        return self.data / f"{user.removeprefix('system:')}.kubeconfig"

    def log(self, component: Component) -> Path:
        """What the component prints."""
        return self.data / f"{component}.log"


def command(
    component: Component,
    layout: Layout,
    *,
    components: Sequence[Component],
    node_monitor: NodeMonitor,
    extra_args: Mapping[Component, Sequence[str]],
) -> list[str]:
    """The command line of ``component`` in a control plane of ``components``.

    Args:
        extra_args: appended as they are, so that they win over what stands before them.
    """
    arguments = _arguments(component, layout, components, node_monitor)
    return [str(layout.programs / component), *arguments, *extra_args.get(component, ())]


def _arguments(
    component: Component,
    layout: Layout,
    components: Sequence[Component],
    node_monitor: NodeMonitor,
) -> list[str]:
    match component:
        case Component.ETCD:
            return _etcd(layout)
        case Component.API_SERVER:
            return _api_server(layout, components)
        case Component.CONTROLLER_MANAGER:
            return _controller_manager(layout, node_monitor)
        case Component.SCHEDULER:
            return _scheduler(layout)


def _etcd(layout: Layout) -> list[str]:
    client = f"http://{LOOPBACK}:{layout.ports.etcd}"
    peer = f"http://{LOOPBACK}:{layout.ports.etcd_peer}"
    return [
        f"--data-dir={layout.data / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        # A single member has nobody to be elected against: half a second less at each start.
        "--heartbeat-interval=10",
        "--election-timeout=100",
        # A kill of the process keeps what it wrote; only a power cut of the machine would not.
        "--unsafe-no-fsync",
    ]


def _serving(layout: Layout, port: int) -> list[str]:
    return [
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.credentials.server_cert}",
        f"--tls-private-key-file={layout.credentials.server_key}",
    ]


def _api_server(layout: Layout, components: Sequence[Component]) -> list[str]:
    credentials = layout.credentials
    arguments = [
        *_serving(layout, layout.ports.api_server),
        f"--etcd-servers=http://{LOOPBACK}:{layout.ports.etcd}",
        f"--client-ca-file={credentials.ca_cert}",
        f"--token-auth-file={credentials.token_file}",
        f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        # A loopback address may stand in no EndpointSlice, and a machine may have no other.
        f"--advertise-address={LOOPBACK}",
        "--endpoint-reconciler-type=none",
        # By default an end in good order waits a minute for clients to give up their watches.
        f"--shutdown-watch-termination-grace-period={_WATCH_GRACE}",
        "--profiling=false",
    ]
    if Component.CONTROLLER_MANAGER not in components:
        # Nobody makes service accounts then, and every pod would be refused for want of one.
        arguments.append("--disable-admission-plugins=ServiceAccount")
    return arguments


def _controller_manager(layout: Layout, node_monitor: NodeMonitor) -> list[str]:
    credentials = layout.credentials
    return [
        *_serving(layout, layout.ports.controller_manager),
        *_client(layout, Component.CONTROLLER_MANAGER),
        f"--root-ca-file={credentials.ca_cert}",
        f"--cluster-signing-cert-file={credentials.ca_cert}",
        f"--cluster-signing-key-file={credentials.ca_key}",
        f"--service-account-private-key-file={credentials.service_account_key}",
        "--use-service-account-credentials=true",
        f"--node-monitor-period={node_monitor.period_s}s",
        f"--node-monitor-grace-period={node_monitor.grace_period_s}s",
        f"--node-startup-grace-period={node_monitor.startup_grace_period_s}s",
    ]


def _scheduler(layout: Layout) -> list[str]:
    return [
        *_serving(layout, layout.ports.scheduler),
        *_client(layout, Component.SCHEDULER),
    ]


def _client(layout: Layout, component: Component) -> list[str]:
    return [
        f"--kubeconfig={layout.kubeconfig(component)}",
        "--leader-elect=false",
        # The default of 20 to 50 requests a second would hide what our own daemons can do.
        f"--kube-api-qps={_API_QPS}",
        f"--kube-api-burst={_API_BURST}",
    ]
