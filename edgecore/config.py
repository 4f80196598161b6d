"""Configuration of edgecore: what can be said in the file, the environment and on the command line.

Names, defaults, bounds and help stand here and nowhere else.
"""

import re
import socket
from collections.abc import Iterator, Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator, model_validator

from common.config import MAX_PORT, DaemonSettings
from common.errors import ConfigError
from common.kubeedgeconfig import Translated
from edgecore.edged.images.imageplan import GCPolicy
from edgecore.edged.node.pressure import DEFAULT_HARD, Threshold, parse_thresholds
from edgecore.edged.spec.resources import CgroupDriver
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


class EdgeSettings(DaemonSettings):
    """What every edge is told, a hollow one too."""

    cloud: str = Field(
        min_length=1,
        description="Host name or address of cloudcore, as it stands in cloudcore's certificate.",
    )
    websocket_port: int = Field(
        10000, ge=1, le=MAX_PORT, description="Port of cloudcore's WebSocket endpoint."
    )
    https_port: int = Field(
        10002, ge=1, le=MAX_PORT, description="Port of cloudcore's enrolment endpoint."
    )
    token: str = Field(
        "",
        repr=False,
        description="Join token, needed once; --token-file keeps it out of the process list.",
    )
    token_file: Path | None = Field(
        None,
        description="File with the join token, read each time that it is needed; - for standard"
        " input, read once.",
    )
    data_dir: Path = Field(
        Path("/var/lib/cloudedge/edgecore"),
        description="Folder of everything that this edge keeps; made with mode 0700.",
    )
    heartbeat_s: float = Field(
        10.0,
        ge=1,
        le=300,
        description="Seconds between two keepalives: less than half the cloud's patience, and to a"
        " cloud of this project at most 10.",
    )
    accept_cluster: str = Field(
        "",
        description="UID of another cluster that this edge may change over to: that of its"
        " namespace kube-system. The pods of the one it belongs to then end.",
    )
    max_pods: int = Field(110, ge=1, le=1000, description="Pods that the node offers to run.")

    @model_validator(mode="after")
    def _one_token(self) -> "EdgeSettings":
        if self.token and self.token_file is not None:
            raise ValueError("give --token or --token-file, not both")
        return self

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


class EdgeCoreSettings(EdgeSettings):
    """What ``edgecore run`` is told."""

    monitor_address: str = Field(
        "127.0.0.1:9092",
        description="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
    node_name: str = Field(
        default_factory=lambda: socket.gethostname().lower(),
        description="Name of this edge's Node; the host's name unless given.",
    )
    runtime: RuntimeName = Field(
        RuntimeName.CRI,
        description="What runs the pods: cri (a container engine), process (their commands, on"
        " this machine) or hollow (nothing runs).",
    )
    runtime_endpoint: str = Field(
        "unix:///run/containerd/containerd.sock",
        description="Socket of the container engine, for the runtime cri.",
    )
    root_dir: Path | None = Field(
        None,
        description="Folder of the pods' volumes, in kubelet's layout; the data folder unless"
        " given. /var/lib/kubelet takes over the pods of a kubelet.",
    )
    pod_logs_dir: Path | None = Field(
        None,
        description="Folder of the containers' output; /var/log/pods for cri, logs/pods in the"
        " data folder otherwise.",
    )
    static_pods_dir: Path | None = Field(
        None, description="Folder with manifests of pods that run without a cloud."
    )
    cluster_dns: tuple[str, ...] = Field(
        (), description="Name servers of pods with dnsPolicy ClusterFirst: address,address."
    )
    cluster_domain: str = Field("cluster.local", description="Domain of the cluster's services.")
    resolv_conf: Path = Field(
        Path("/etc/resolv.conf"), description="Name servers of pods with dnsPolicy Default."
    )
    cgroup_driver: CgroupDriver = Field(
        CgroupDriver.CGROUPFS,
        description="How the container engine names control groups: cgroupfs or systemd.",
    )
    eviction_hard: str = Field(
        DEFAULT_HARD,
        description="What must be left of memory and disk, or pods are evicted; empty: no limit.",
    )
    eviction_soft: str = Field(
        "",
        description="The same, for what is acted on only after a grace: see eviction_soft_grace.",
    )
    eviction_soft_grace: str = Field("", description="memory.available=1m30s,…")
    image_gc_high_percent: int = Field(
        85, ge=0, le=100, description="Disk use at which unused images are removed …"
    )
    image_gc_low_percent: int = Field(80, ge=0, le=100, description="… down to so much.")
    parallel_pulls: int = Field(2, ge=1, le=100, description="Images pulled at the same time.")
    container_log_max_mib: int = Field(
        10, ge=1, le=1024, description="Size at which a container's log is rotated."
    )
    container_log_max_files: int = Field(
        5, ge=2, le=100, description="Logs kept of one start of a container."
    )
    local_address: str = Field(
        "",
        description="HOST:PORT on loopback where this node shows its pods, logs and figures;"
        " empty for nowhere.",
    )
    node_ip: str = Field(
        "", description="Address that the Node reports; that of the default route unless given."
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of the Node when it is registered: key=value,key=value.",
    )
    taints: tuple[str, ...] = Field(
        (), description="Taints of the Node when it is registered: key=value:Effect,…"
    )

    kubeedge_certificate: Path | None = Field(
        None,
        description="Certificate that this node has from KubeEdge's edgecore, PEM: taken over where"
        " the data folder has none. Needs --kubeedge-key and --kubeedge-authority.",
    )
    kubeedge_key: Path | None = Field(None, description="Its key, PEM.")
    kubeedge_authority: Path | None = Field(
        None, description="The cloud's authority, which has signed it, PEM."
    )

    @classmethod
    def translate(cls, document: Mapping[str, object]) -> Translated:
        """Return what KubeEdge's edgecore.yaml says."""
        # Not at the top: few have such a file.
        from edgecore.kubeedgeconfig import translate  # noqa: PLC0415

        return translate(document)

    @field_validator("node_name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return _checked_name(value)

    @field_validator("cluster_dns", mode="before")
    @classmethod
    def _to_addresses(cls, value: object) -> object:
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        for part in parts if isinstance(parts, list) else ():
            ip_address(str(part))
        return parts

    @field_validator("local_address")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        _loopback(value)
        return value

    @model_validator(mode="after")
    def _has_bounds(self) -> "EdgeCoreSettings":
        self.thresholds()
        self.image_policy()
        self.adoption()
        return self

    def adoption(self) -> Adoption | None:
        """Return what is to be taken over of KubeEdge's edge; None for nothing."""
        files = (self.kubeedge_certificate, self.kubeedge_key, self.kubeedge_authority)
        certificate, key, authority = files
        if certificate is None or key is None or authority is None:
            if any(files):
                raise ValueError(
                    "give --kubeedge-certificate, --kubeedge-key and --kubeedge-authority, or none"
                )
            return None
        return Adoption(self.node_name, self.data_dir, certificate, key, authority)

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

    @field_validator("labels", mode="before")
    @classmethod
    def _to_labels(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part]
        if not all(key and equals for key, equals, _ in pairs):
            raise ValueError("expected key=value,key=value")
        return {key: text for key, _, text in pairs}

    @field_validator("taints", mode="before")
    @classmethod
    def _to_taints(cls, value: object) -> object:
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        if isinstance(parts, list) and any(_TAINT.fullmatch(str(part)) is None for part in parts):
            raise ValueError("expected key=value:NoSchedule, PreferNoSchedule or NoExecute")
        return parts

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


class HollowSettings(EdgeSettings):
    """What ``edgecore hollow`` is told."""

    count: int = Field(ge=1, le=10_000, description="Hollow edges in this process.")
    node_name_prefix: str = Field(
        "hollow", description="Names are PREFIX-0, PREFIX-1 and so on, and so are the folders."
    )

    @field_validator("node_name_prefix")
    @classmethod
    def _makes_names(cls, value: str) -> str:
        return _checked_name(f"{value}-0").removesuffix("-0")

    def edges(self) -> Iterator[EdgeCoreSettings]:
        """Yield the configuration of each edge."""
        shared = {name: getattr(self, name) for name in EdgeSettings.model_fields}
        for number in range(self.count):
            name = f"{self.node_name_prefix}-{number}"
            own = {
                "node_name": name,
                "data_dir": self.data_dir / name,
                "runtime": RuntimeName.HOLLOW,
                "node_ip": "127.0.0.1",
                "monitor_address": "",
            }
            yield EdgeCoreSettings.model_validate(shared | own)


def _checked_name(value: str) -> str:
    if len(value) > _MAX_NAME or _DNS_NAME.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} cannot name a Node: small letters, digits, '-' and '.', at most"
            f" {_MAX_NAME} characters"
        )
    return value


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ROUTABLE, 9))
            return str(probe.getsockname()[0])
        except OSError:  # no route at all
            return "127.0.0.1"


def _loopback(address: str) -> tuple[str, int] | None:
    if not address:
        return None
    # Not at the top: few edges have the endpoint.
    from edgecore.edged.local.localroutes import parse_address  # noqa: PLC0415

    return parse_address(address)
