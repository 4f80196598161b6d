"""The pods of this node, as all parts of edged see them."""

from msgspec import Struct, field

from common.names import UID
from edgecore.edged.podview import Object
from edgecore.edged.podworker import PodWorker


class PodTable(Struct):
    """The workers of all pods. ``PodKeeping`` alone writes to it."""

    workers: dict[UID, PodWorker] = field(default_factory=dict)
    is_loaded: bool = False
    """Whether all pods of the edge-store, and of manifests, are here: only then is a pod that is
    not here known not to be one of this node's."""

    def assigned(self) -> list[Object] | None:
        """Return all pods of this node; None while that is not known for certain."""
        return [worker.pod for worker in self.workers.values()] if self.is_loaded else None

    def taken(self) -> list[Object]:
        """Return the pods that take something of the node, or soon will."""
        return [
            worker.pod
            for worker in self.workers.values()
            if not (worker.has_ended or worker.is_given_up or worker.has_vanished)
        ]

    def named(self, key: str) -> list[PodWorker]:
        """Return the pods called ``<namespace>/<name>``: more than one while one takes over."""
        return [worker for worker in self.workers.values() if worker.key == key]
