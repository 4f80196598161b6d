"""What EdgeHub is told: where the cloud is, and how patient to be. Pure."""

from typing import Final

from msgspec import Struct

from common.capabilities import ALL, HEADER, Capabilities, render

PROJECT_ID: Final = "e632aba927ea4ac2b575ec1603d56f10"
"""KubeEdge's default; every edge of every installation says it."""

BEAT_S: Final = 10.0
"""Between two beats at most: a cloud that answers them ends a connection silent for 18 s."""

_SIGN_SHARE: Final = 0.2


class HubConfig(Struct, frozen=True):
    """Durations in seconds."""

    node_name: str
    cloud: str
    """Host name or address, as it stands in the cloud's certificate."""
    websocket_port: int
    heartbeat_s: float = 10.0
    """Between two keepalives; also how long the link may be silent before it is asked."""
    answer_s: float = 8.0
    """How long the answer to that may take, before the link counts as dead. With a beat more it is
    less than two beats."""
    handshake_s: float = 30.0
    capabilities: Capabilities = ALL
    """What a cloud of this project is offered; without any, it is spoken to as by the first version
    of the protocol."""

    @property
    def uri(self) -> str:
        """Where to connect to."""
        host = f"[{self.cloud}]" if ":" in self.cloud else self.cloud
        return f"wss://{host}:{self.websocket_port}/{PROJECT_ID}/{self.node_name}/events"

    @property
    def headers(self) -> dict[str, str]:
        """What a cloud wants to read: a KubeEdge one never listens without ``ConnectionUse``."""
        said = {"node_id": self.node_name, "project_id": PROJECT_ID, "ConnectionUse": "msg"}
        if self.capabilities:
            said[HEADER] = render(self.capabilities)
        return said

    @property
    def beat_s(self) -> float:
        """Between two beats."""
        return min(self.heartbeat_s, BEAT_S)

    @property
    def sign_s(self) -> float:
        """How long a beat waits for the sign that the modules of this edge do their work."""
        return self.beat_s * _SIGN_SHARE
