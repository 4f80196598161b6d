"""Configuration of cloudcore: what can be said in the file, the environment and by flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator

from common import wire
from common.config import MAX_PORT, DaemonSettings
from common.kubeedgeconfig import Translated, translate

ENV_PREFIX: Final = "CLOUDCORE_"


class CloudCoreSettings(DaemonSettings):
    """What ``cloudcore run`` is told."""

    kubeconfig: Path | None = Field(
        None, description="How to reach the API server; inside a pod of the cluster not needed."
    )
    data_dir: Path = Field(
        Path("/var/lib/cloudedge/cloudcore"),
        description="Folder for the server's certificate and key; made with mode 0700.",
    )
    advertise_address: tuple[str, ...] = Field(
        min_length=1,
        description="Names and addresses by which edges reach this cloudcore, with commas between;"
        " they stand in its certificate.",
    )
    websocket_address: str = Field(
        "127.0.0.1",
        description="Address on which edges connect; 0.0.0.0 for all. Safe until it is set.",
    )
    websocket_port: int = Field(10000, ge=1, le=MAX_PORT, description="Port for connections.")
    https_address: str = Field(
        "127.0.0.1",
        description="Address on which edges enrol; 0.0.0.0 for all. Safe until it is set.",
    )
    https_port: int = Field(10002, ge=1, le=MAX_PORT, description="Port for enrolment.")
    monitor_address: str = Field(
        "127.0.0.1:9091",
        description="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
    node_limit: int = Field(10_000, ge=1, le=100_000, description="Nodes that may be connected.")
    connections_per_address: int = Field(
        512,
        ge=1,
        le=100_000,
        description="Connections from one address, behind which may be many edges.",
    )
    keepalive_s: float = Field(
        30.0, ge=2, le=600, description="Seconds of silence after which a connection is ended."
    )
    max_message_bytes: int = Field(
        wire.MAX_MESSAGE_BYTES,
        ge=64 * 1024,
        le=wire.MAX_MESSAGE_BYTES,
        description="Bytes of the largest message that an edge may send.",
    )

    plain_tokens: bool = Field(
        default=True,
        description="Let nodes enrol by plain tokens too, as KubeEdge has them: these have no name,"
        " and can be neither revoked nor counted.",
    )

    nameless_certificates: bool = Field(
        default=False,
        description="Let edges in whose certificates name no node, as KubeEdge before 1.16 gave"
        " them: whoever has one can be any such edge. For as long as a fleet changes over.",
    )

    certificate_days: float = Field(
        365.0,
        ge=1,
        le=3650,
        description="Days for which the certificate of a node is good; edges renew it in time.",
    )

    renewal_grace_days: float = Field(
        365.0,
        ge=0,
        le=3650,
        description="Days after its end for which a certificate of a known node can be renewed; 0:"
        " who comes too late needs a token.",
    )

    constrained_impersonation: bool = Field(
        default=False,
        description="Act in the names of nodes by a right that reaches nodes only, which Kubernetes"
        " has since 1.36; see deploy/kubernetes/constrained.",
    )

    @classmethod
    def translate(cls, document: Mapping[str, object]) -> Translated:
        """Return what KubeEdge's cloudcore.yaml says."""
        # Not at the top: few have such a file.
        from cloudcore.kubeedgeconfig import TABLE  # noqa: PLC0415

        return translate(document, TABLE)

    @field_validator("advertise_address", mode="before")
    @classmethod
    def _to_addresses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())
