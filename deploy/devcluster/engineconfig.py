"""What a container engine of one's own is configured with: texts and paths, nothing is done here.

Formats: https://github.com/containerd/containerd/blob/main/docs/cri/config.md and
https://github.com/containernetworking/cni/blob/main/SPEC.md
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.devcluster.ociimages import PAUSE

CNI_PROGRAMS: Final = Path("/usr/lib/cni")
"""Where Debian's package has the network plugins."""

SOCKET_PATH_BYTES: Final = 100
"""The longest path of a socket: Linux takes 107 bytes, and containerd adds ``.ttrpc`` to one."""

NETWORKS: Final = range(256)
"""Numbers of networks; each engine of a machine has one of its own."""

# None of what they need is here, and each would say so at every start.
_NOT_WANTED: Final = (
    "io.containerd.internal.v1.tracing",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)
# Debian 11's plugins know no newer one.
_CNI_VERSION: Final = "0.4.0"


@dataclass(frozen=True, slots=True)
class EngineLayout:
    """Where an engine keeps what: all of it below one folder, as far as containerd lets us."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "config.toml"

    @property
    def log(self) -> Path:
        """The log file."""
        return self.folder / "containerd.log"

    @property
    def root(self) -> Path:
        """What survives a power cut: images, snapshots, the records of containers."""
        return self.folder / "root"

    @property
    def state(self) -> Path:
        """What a real node has in memory: it is gone after a power cut."""
        return self.folder / "state"

    @property
    def runc(self) -> Path:
        """What runc knows of its containers, in a folder for each namespace of containerd."""
        return self.folder / "runc"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.folder / "containerd.sock"

    @property
    def networks(self) -> Path:
        """Folder of the network configuration."""
        return self.folder / "cni"

    @property
    def addresses(self) -> Path:
        """Folder of the addresses that are in use; it survives a power cut."""
        return self.folder / "addresses"

    @property
    def registries(self) -> Path:
        """Folder that says where a registry is: ``NAME/hosts.toml``, read at each pull."""
        return self.folder / "certs.d"


@dataclass(frozen=True, slots=True)
class Network:
    """A bridge for the pods of one engine."""

    number: int

    @property
    def bridge(self) -> str:
        """The name of the bridge, and of the network."""
        return f"devcluster{self.number}"

    @property
    def subnet(self) -> str:
        """The addresses of the pods and, the first one, of the bridge."""
        return f"10.123.{self.number}.0/24"


def containerd_config(layout: EngineLayout, *, runc: Path, snapshotter: str) -> str:
    """Return the text of config.toml (version 2, which containerd 1.3 to 2 read)."""

    def quoted(value: object) -> str:
        # A string of JSON is one of TOML.
        return json.dumps(str(value))

    not_wanted = ", ".join(map(quoted, _NOT_WANTED))
    return f"""\
version = 2
root = {quoted(layout.root)}
state = {quoted(layout.state)}
disabled_plugins = [{not_wanted}]

[debug]
level = "warn"

[grpc]
address = {quoted(layout.socket)}

[plugins."io.containerd.internal.v1.opt"]
path = {quoted(layout.folder / "opt")}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE nothing may have a lower score than containerd has itself.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = {quoted(runc)}
Root = {quoted(layout.runc)}

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {quoted(CNI_PROGRAMS)}
conf_dir = {quoted(layout.networks)}

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = {quoted(layout.registries)}
"""


def network_config(layout: EngineLayout, network: Network) -> str:
    """Return the text of the network's conflist: a bridge, addresses from a folder, host ports."""
    bridge = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.addresses),
            "ranges": [[{"subnet": network.subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    wanted = {"cniVersion": _CNI_VERSION, "name": network.bridge, "plugins": [bridge, ports]}
    return json.dumps(wanted, indent=2)
