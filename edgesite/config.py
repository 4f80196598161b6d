"""Configuration of an EdgeSite: what cloudcore and a node have in common with it."""

from pathlib import Path
from typing import Final

from common.settings import AddressOrNone, configuration, option
from edgecore.config import NodeSettings

ENV_PREFIX: Final = "EDGESITE_"


@configuration
class EdgeSiteSettings(NodeSettings):
    """What ``cloudcore edgesite`` is told."""

    kubeconfig: Path = option(help="How to reach the API server, and as whom.")
    data_dir: Path = option(
        default=Path("/var/lib/cloudedge/edgesite"),
        help="Folder of everything that this site keeps; made with mode 0700.",
    )
    monitor_address: AddressOrNone = option(
        default="127.0.0.1:9092",
        help="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
