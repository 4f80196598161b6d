"""Configuration of edgecore: what can be said in the file, the environment and on the command line.

Names, defaults, bounds and help stand here and nowhere else.
"""

import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from common.errors import ConfigError
from common.settings import (
    AddressOrNone,
    Between,
    Check,
    DaemonSettings,
    FromText,
    Port,
    Texts,
    configuration,
    option,
)
from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.node.pressure import DEFAULT_HARD, Threshold, parse_thresholds
from edgecore.edged.spec.cgroupdriver import CgroupDriver

if TYPE_CHECKING:
    from common.kubeedgeconfig import Translated
    from edgecore.kubeedge.adopting import Adoption

ENV_PREFIX: Final = "EDGECORE_"

_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME: Final = 253
_MAX_TOKEN_BYTES: Final = 16 * 1024
_ROUTABLE: Final = "192.0.2.1"  # an address of nobody: asking for a route to it sends nothing
_TAINT: Final = re.compile(r"([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)")


class RuntimeName(StrEnum):
    """What runs the pods."""

    CRI = "cri"
    PROCESS = "process"
    HOLLOW = "hollow"


def _judge_name(value: str) -> None:
    if len(value) > _MAX_NAME or _DNS_NAME.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} cannot name a Node: small letters, digits, '-' and '.', at most"
            f" {_MAX_NAME} characters"
        )


def _judge_addresses(values: Iterable[str]) -> None:
    for value in values:
        ip_address(value)


def _loopback(address: str) -> tuple[str, int] | None:
    if not address:
        return None
    # Not at the top: few edges have the endpoint.
    from edgecore.edged.local.localroutes import parse_address  # noqa: PLC0415

    return parse_address(address)


def _to_labels(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(key and equals for key, equals, _ in pairs):
        raise ValueError("expected key=value,key=value")
    return {key: value for key, _, value in pairs}


def _judge_taints(values: Iterable[str]) -> None:
    if any(_TAINT.fullmatch(value) is None for value in values):
        raise ValueError("expected key=value:NoSchedule, PreferNoSchedule or NoExecute")


NodeName = Annotated[str, Check(_judge_name)]


@configuration
class PlaceSettings(DaemonSettings):
    """What everything that runs pods is told."""

    data_dir: Path = option(
        default=Path("/var/lib/cloudedge/edgecore"),
        help="Folder of everything that this edge keeps; made with mode 0700.",
    )
    accept_cluster: str = option(
        default="",
        help="UID of another cluster that this edge may change over to: that of its"
        " namespace kube-system. The pods of the one it belongs to then end.",
    )
    max_pods: Annotated[int, Between(1, 1000)] = option(
        default=110,
        help="Pods that the node offers to run.",
    )

    def __post_init__(self) -> None:
        """Judge what belongs together, here and in what is made of this.

        Raises:
            ValueError: it does not go together.
        """


@configuration
class EdgeSettings(PlaceSettings):
    """What every edge is told, a hollow one too."""

    cloud: Annotated[str, Between(1)] = option(
        help="Host name or address of cloudcore, as it stands in cloudcore's certificate.",
    )
    websocket_port: Port = option(
        default=10000,
        help="Port of cloudcore's WebSocket endpoint.",
    )
    https_port: Port = option(
        default=10002,
        help="Port of cloudcore's enrolment endpoint.",
    )
    token: str = option(
        default="",
        is_secret=True,
        help="Join token, needed once; --token-file keeps it out of the process list.",
    )
    token_file: Path | None = option(
        default=None,
        help="File with the join token, read each time that it is needed; - for standard"
        " input, read once. Unless given, systemd's credential token, where there is one.",
    )
    heartbeat_s: Annotated[float, Between(1, 300)] = option(
        default=10.0,
        help="Seconds between two keepalives: less than half the cloud's patience, and to a"
        " cloud of this project at most 10.",
    )

    def __post_init__(self) -> None:
        """Judge what belongs together.

        Raises:
            ValueError: it does not go together.
        """
        super().__post_init__()
        if self.token and self.token_file is not None:
            raise ValueError("give --token or --token-file, not both")

    def read_token(self) -> str:
        """Return the join token; "" where none is given.

        Raises:
            ConfigError: the file cannot be read.
        """
        if self.token_file is None:
            return self.token.strip()
        try:
            with self.token_file.open("rb") as stream:
                return stream.read(_MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
        except OSError as error:
            raise ConfigError([f"--token-file: {self.token_file}: {error.strerror}"]) from error


@configuration
class NodeSettings(PlaceSettings):
    """What a node is told, whatever joins it to its API server."""

    monitor_address: AddressOrNone = option(
        default="127.0.0.1:9092",
        help="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
    node_name: NodeName = option(
        default_factory=lambda: socket.gethostname().lower(),
        help="Name of this edge's Node; the host's name unless given.",
    )
    runtime: RuntimeName = option(
        default=RuntimeName.CRI,
        help="What runs the pods: cri (a container engine), process (their commands, on this"
        " machine) or hollow (nothing runs).",
    )
    runtime_endpoint: str = option(
        default="unix:///run/containerd/containerd.sock",
        help="Socket of the container engine, for the runtime cri.",
    )
    root_dir: Path | None = option(
        default=None,
        help="Folder of the pods' volumes, in kubelet's layout; the data folder unless"
        " given. /var/lib/kubelet takes over the pods of a kubelet.",
    )
    pod_logs_dir: Path | None = option(
        default=None,
        help="Folder of the containers' output; /var/log/pods for cri, logs/pods in the data"
        " folder otherwise.",
    )
    static_pods_dir: Path | None = option(
        default=None,
        help="Folder with manifests of pods that run without a cloud.",
    )
    cluster_dns: Annotated[Texts, Check(_judge_addresses)] = option(
        default=(),
        help="Name servers of pods with dnsPolicy ClusterFirst: address,address.",
    )
    cluster_domain: str = option(
        default="cluster.local",
        help="Domain of the cluster's services.",
    )
    resolv_conf: Path = option(
        default=Path("/etc/resolv.conf"),
        help="Name servers of pods with dnsPolicy Default.",
    )
    cgroup_driver: CgroupDriver = option(
        default=CgroupDriver.CGROUPFS,
        help="How the container engine names control groups: cgroupfs or systemd.",
    )
    eviction_hard: str = option(
        default=DEFAULT_HARD,
        help="What must be left of memory and disk, or pods are evicted; empty: no limit.",
    )
    eviction_soft: str = option(
        default="",
        help="The same, for what is acted on only after a grace: see eviction_soft_grace.",
    )
    eviction_soft_grace: str = option(
        default="",
        help="How long each of them is borne: memory.available=1m30s,…",
    )
    image_gc_high_percent: Annotated[int, Between(0, 100)] = option(
        default=85,
        help="Disk use at which unused images are removed …",
    )
    image_gc_low_percent: Annotated[int, Between(0, 100)] = option(
        default=80,
        help="… down to so much.",
    )
    parallel_pulls: Annotated[int, Between(1, 100)] = option(
        default=2,
        help="Images pulled at the same time.",
    )
    container_log_max_mib: Annotated[int, Between(1, 1024)] = option(
        default=10,
        help="Size at which a container's log is rotated.",
    )
    container_log_max_files: Annotated[int, Between(2, 100)] = option(
        default=5,
        help="Logs kept of one start of a container.",
    )
    local_address: Annotated[str, Check(_loopback)] = option(
        default="",
        help="HOST:PORT on loopback where this node shows its pods, logs and figures; empty"
        " for nowhere.",
    )
    node_ip: str = option(
        default="",
        help="Address that the Node reports; that of the default route unless given.",
    )
    labels: Annotated[dict[str, str], FromText(_to_labels)] = option(
        default_factory=dict,
        help="Labels of the Node when it is registered: key=value,key=value.",
    )
    taints: Annotated[Texts, Check(_judge_taints)] = option(
        default=(),
        help="Taints of the Node when it is registered: key=value:Effect,…",
    )

    def __post_init__(self) -> None:
        """Judge what belongs together.

        Raises:
            ValueError: it does not go together.
        """
        super().__post_init__()
        self.thresholds()
        self.image_policy()

    def adoption(self) -> "Adoption | None":
        """Return what is to be taken over of another program's node; None for nothing."""
        return None

    def local_endpoint(self) -> tuple[str, int] | None:
        """Return where this node shows what it does; None for nowhere."""
        return _loopback(self.local_address)

    def thresholds(self) -> tuple[Threshold, ...]:
        """Return what must be left of memory and disk."""
        return parse_thresholds(self.eviction_hard, self.eviction_soft, self.eviction_soft_grace)

    def image_policy(self) -> GCPolicy:
        """Return when images are removed."""
        return GCPolicy(self.image_gc_high_percent, self.image_gc_low_percent)

    def logs_dir(self) -> Path:
        """Return where the containers' output goes."""
        if self.pod_logs_dir is not None:
            return self.pod_logs_dir
        if self.runtime is RuntimeName.CRI:
            return Path("/var/log/pods")
        return self.data_dir / "logs" / "pods"

    def taint_objects(self) -> tuple[dict[str, str], ...]:
        """Return the taints as a Node spells them."""
        found = [_TAINT.fullmatch(taint) for taint in self.taints]
        return tuple(
            {"key": match[1], "value": match[2] or "", "effect": match[3]}
            for match in found
            if match is not None
        )

    def address(self) -> str:
        """Return the address that the Node reports. Asks no name server: there may be none."""
        return self.node_ip or _own_address()


@configuration
class EdgeCoreSettings(NodeSettings, EdgeSettings):
    """What ``edgecore run`` is told."""

    kubeedge_certificate: Path | None = option(
        default=None,
        help="Certificate that this node has from KubeEdge's edgecore, PEM: taken over where"
        " the data folder has none. Needs --kubeedge-key and --kubeedge-authority.",
    )
    kubeedge_key: Path | None = option(
        default=None,
        help="Its key, PEM.",
    )
    kubeedge_authority: Path | None = option(
        default=None,
        help="The cloud's authority, which has signed it, PEM.",
    )

    @classmethod
    def translate(cls, document: Mapping[str, object]) -> "Translated":
        """Return what KubeEdge's edgecore.yaml says."""
        # Not at the top: few have such a file.
        from edgecore.kubeedgeconfig import translate  # noqa: PLC0415

        return translate(document)

    def __post_init__(self) -> None:
        """Judge what belongs together.

        Raises:
            ValueError: it does not go together.
        """
        super().__post_init__()
        self.adoption()

    def adoption(self) -> "Adoption | None":
        """Return what is to be taken over of KubeEdge's edge; None for nothing."""
        files = (self.kubeedge_certificate, self.kubeedge_key, self.kubeedge_authority)
        certificate, key, authority = files
        if certificate is None or key is None or authority is None:
            if any(files):
                raise ValueError(
                    "give --kubeedge-certificate, --kubeedge-key and --kubeedge-authority, or none"
                )
            return None
        # Not at the top: few edges were KubeEdge's, and it brings asyncio along.
        from edgecore.kubeedge.adopting import Adoption  # noqa: PLC0415

        return Adoption(self.node_name, self.data_dir, certificate, key, authority)


@configuration
class HollowSettings(EdgeSettings):
    """What ``edgecore hollow`` is told."""

    count: Annotated[int, Between(1, 10_000)] = option(
        help="Hollow edges in this process.",
    )
    node_name_prefix: Annotated[str, Check(lambda prefix: _judge_name(f"{prefix}-0"))] = option(
        default="hollow",
        help="Names are PREFIX-0, PREFIX-1 and so on, and so are the folders.",
    )

    def edges(self) -> Iterator[EdgeCoreSettings]:
        """Yield the configuration of each edge."""
        shared = {name: getattr(self, name) for name in EdgeSettings.options()}
        for number in range(self.count):
            name = f"{self.node_name_prefix}-{number}"
            own = {
                "node_name": name,
                "data_dir": self.data_dir / name,
                "runtime": RuntimeName.HOLLOW,
                "node_ip": "127.0.0.1",
                "monitor_address": "",
            }
            yield EdgeCoreSettings(**(shared | own))


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ROUTABLE, 9))
            return str(probe.getsockname()[0])
        except OSError:  # no route at all
            return "127.0.0.1"
