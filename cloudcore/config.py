"""Configuration of cloudcore: what can be said in the file, the environment and by flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from common import wire
from common.settings import (
    AddressOrNone,
    Between,
    DaemonSettings,
    Port,
    Texts,
    configuration,
    option,
)

if TYPE_CHECKING:
    from common.kubeedgeconfig import Translated

ENV_PREFIX: Final = "CLOUDCORE_"


@configuration
class CloudCoreSettings(DaemonSettings):
    """What ``cloudcore run`` is told."""

    kubeconfig: Path | None = option(
        default=None,
        help="How to reach the API server; inside a pod of the cluster not needed.",
    )
    data_dir: Path = option(
        default=Path("/var/lib/cloudedge/cloudcore"),
        help="Folder for the server's certificate and key; made with mode 0700.",
    )
    advertise_address: Annotated[Texts, Between(1)] = option(
        help="Names and addresses by which edges reach this cloudcore, with commas between;"
        " they stand in its certificate.",
    )
    websocket_address: str = option(
        default="127.0.0.1",
        help="Address on which edges connect; 0.0.0.0 for all. Safe until it is set.",
    )
    websocket_port: Port = option(
        default=10000,
        help="Port for connections.",
    )
    https_address: str = option(
        default="127.0.0.1",
        help="Address on which edges enrol; 0.0.0.0 for all. Safe until it is set.",
    )
    https_port: Port = option(
        default=10002,
        help="Port for enrolment.",
    )
    monitor_address: AddressOrNone = option(
        default="127.0.0.1:9091",
        help="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
    node_limit: Annotated[int, Between(1, 100_000)] = option(
        default=10_000,
        help="Nodes that may be connected.",
    )
    connections_per_address: Annotated[int, Between(1, 100_000)] = option(
        default=512,
        help="Connections from one address, behind which may be many edges.",
    )
    keepalive_s: Annotated[float, Between(2, 600)] = option(
        default=30.0,
        help="Seconds of silence after which a connection is ended.",
    )
    max_message_bytes: Annotated[int, Between(64 * 1024, wire.MAX_MESSAGE_BYTES)] = option(
        default=wire.MAX_MESSAGE_BYTES,
        help="Bytes of the largest message that an edge may send.",
    )
    plain_tokens: bool = option(
        default=True,
        help="Let nodes enrol by plain tokens too, as KubeEdge has them: these have no name,"
        " and can be neither revoked nor counted.",
    )
    nameless_certificates: bool = option(
        default=False,
        help="Let edges in whose certificates name no node, as KubeEdge before 1.16 gave"
        " them: whoever has one can be any such edge. For as long as a fleet changes"
        " over.",
    )
    certificate_days: Annotated[float, Between(1, 3650)] = option(
        default=365.0,
        help="Days for which the certificate of a node is good; edges renew it in time.",
    )
    renewal_grace_days: Annotated[float, Between(0, 3650)] = option(
        default=365.0,
        help="Days after its end for which a certificate of a known node can be renewed; 0:"
        " who comes too late needs a token.",
    )
    default_toleration_s: Annotated[int, Between(1, 1_000_000_000)] = option(
        default=300,
        help="Seconds for which the API server has pods tolerate a node that is not ready: what its"
        " option --default-not-ready-toleration-seconds says. Autonomy changes only these.",
    )
    constrained_impersonation: bool = option(
        default=False,
        help="Act in the names of nodes by a right that reaches nodes only, which Kubernetes"
        " has since 1.36; see deploy/kubernetes/components/constrained-impersonation.",
    )

    @classmethod
    def translate(cls, document: Mapping[str, object]) -> "Translated":
        """Return what KubeEdge's cloudcore.yaml says."""
        # Not at the top: few have such a file.
        from cloudcore.kubeedgeconfig import TABLE  # noqa: PLC0415
        from common.kubeedgeconfig import translate  # noqa: PLC0415

        return translate(document, TABLE)
