"""Which node has which session. The newest connection wins."""

import asyncio
from collections.abc import Iterator

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.session import Session
from common.metrics import About, Reading, Registry
from common.names import NodeID


class SessionRegistry:
    """The sessions of this cloudcore, at most one a node."""

    def __init__(self, limit: int, metrics_registry: Registry) -> None:
        """Make an empty registry for ``limit`` nodes."""
        self.limit = limit
        self._sessions: dict[NodeID, Session] = {}
        self._ending: dict[Session, None] = {}  # replaced, and not gone yet
        self._empty = asyncio.Event()
        self._empty.set()
        connected = "Nodes that are connected."
        # The second is what KubeEdge calls it, for those who have dashboards of that.
        for name in ("cloudcore_connected_nodes", "KubeEdge_CloudHub_connected_nodes"):
            Reading(About(name, connected, "gauge"), metrics_registry, self.__len__)
        Reading(
            About(
                "cloudcore_queued_messages",
                "States of objects that wait for, or for an acknowledgement of, a connected node.",
                "gauge",
            ),
            metrics_registry,
            lambda: sum(session.backlog for session in list(self._sessions.values())),
        )

    def __len__(self) -> int:
        """Nodes that are connected."""
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """All sessions, as they are now, also those that have been replaced."""
        return iter([*self._sessions.values(), *self._ending])

    def has_room(self) -> bool:
        """Whether another node may connect."""
        return len(self._sessions) < self.limit

    def get(self, node: NodeID) -> Session | None:
        """Return the session of ``node``."""
        return self._sessions.get(node)

    def backlog(self, node: NodeID) -> int:
        """Return how many objects are on their way to ``node``; 0 where it is not connected."""
        session = self._sessions.get(node)
        return session.backlog if session is not None else 0

    def add(self, session: Session) -> None:
        """Take ``session`` as that of its node; an older one is ended."""
        older = self._sessions.get(session.node)
        if older is not None:
            self._ending[older] = None
            older.end(closing.REPLACED)
        self._sessions[session.node] = session
        self._empty.clear()

    def remove(self, session: Session) -> bool:
        """Forget ``session``; return False where a newer one has taken its place."""
        is_last = self._sessions.get(session.node) is session
        if is_last:
            del self._sessions[session.node]
        else:
            self._ending.pop(session, None)
        if not self._sessions and not self._ending:
            self._empty.set()
        return is_last

    async def wait_empty(self) -> None:
        """Return when no session is left."""
        await self._empty.wait()
