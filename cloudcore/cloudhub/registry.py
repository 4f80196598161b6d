"""Which node has which session. The newest connection wins."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.session import Session
from common.names import NodeID


class SessionRegistry:
    """The sessions of this cloudcore, at most one a node."""

    def __init__(self, limit: int, metrics_registry: CollectorRegistry) -> None:
        """Make an empty registry for ``limit`` nodes."""
        self.limit = limit
        self._sessions: dict[NodeID, Session] = {}
        self._connected = Gauge(
            "cloudcore_connected_nodes", "Nodes that are connected.", registry=metrics_registry
        )

    def __len__(self) -> int:
        """Nodes that are connected."""
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """All sessions, as they are now."""
        return iter(list(self._sessions.values()))

    def has_room(self) -> bool:
        """Whether another node may connect."""
        return len(self._sessions) < self.limit

    def get(self, node: NodeID) -> Session | None:
        """Return the session of ``node``."""
        return self._sessions.get(node)

    def add(self, session: Session) -> None:
        """Take ``session`` as that of its node; an older one is ended."""
        older = self._sessions.get(session.node)
        if older is not None:
            older.end(closing.REPLACED)
        self._sessions[session.node] = session
        self._connected.set(len(self._sessions))

    def remove(self, session: Session) -> bool:
        """Forget ``session``; return False where a newer one has taken its place."""
        if self._sessions.get(session.node) is not session:
            return False
        del self._sessions[session.node]
        self._connected.set(len(self._sessions))
        return True
