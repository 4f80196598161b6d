"""What edged must be told of its node."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, field

from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.local.logrotate import LogLimits
from edgecore.edged.node.nodesetup import PodNetwork
from edgecore.edged.node.pressure import DEFAULT_THRESHOLDS, Threshold


class EdgedConfig(Struct, frozen=True):
    """What edged must be told. Durations in seconds."""

    node_name: str
    node_ip: str
    root_dir: Path
    """``<root_dir>/pods`` has the volumes of the pods, in kubelet's layout."""
    logs_dir: Path
    """Has a folder for each pod, with its containers' output."""
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Node beside those that every edge node has; used when it registers."""
    taints: tuple[Mapping[str, str], ...] = ()
    """``{key, value, effect}``; used when the Node registers."""
    lease_period_s: float = 10.0
    """Between two renewals of the node's lease, and two looks at the node's own state."""
    status_period_s: float = 900.0
    """After which the node's status is sent though nothing in it changed.

    kubelet's is 300. The lease says every 10 s that the node lives; what is sent here comes back
    from the API server and is written to the disk of the edge, some 36 KiB each time.
    """
    event_lag_s: float = 0.5
    """How long an Event waits for others: what happens to pods goes first, the news of it after."""
    network: PodNetwork = field(default_factory=PodNetwork)
    thresholds: tuple[Threshold, ...] = DEFAULT_THRESHOLDS
    """What must be left of memory and disk."""
    images: GCPolicy = field(default_factory=GCPolicy)
    parallel_pulls: int = 2
    logs: LogLimits = field(default_factory=LogLimits)
    local_address: tuple[str, int] | None = None
    """On loopback, where the node shows what it does; None for nowhere."""
    data_dir: Path = Path("/var/lib/cloudedge/edgecore")
    """Where the token of that endpoint is written to."""
    static_pods_dir: Path | None = None
    """Manifests of pods that run without a cloud; None for none."""
