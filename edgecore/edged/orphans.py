"""Pods that run and that nobody knows: when they are ended, and what if they are known later. Pure.

A store that was read to its end can still be older than what runs: another kubelet may have had the
node meanwhile. So nothing is ended at first sight; before the second, the cloud has said what there
is, if it can be reached.
"""

from collections.abc import Collection, Iterable
from typing import Final

from common.names import UID
from edgecore.edged.podview import Object, uid_of
from edgecore.edged.runtime.base import PodObservation

SURE_S: Final = 10.0
"""For how long a pod is left alone although nobody knows it."""


class Orphans:
    """What is known of those that nobody knows."""

    def __init__(self) -> None:
        self._since_s: dict[UID, float] = {}
        self._ending: dict[UID, Object | None] = {}

    @property
    def are_waited_for(self) -> bool:
        """Whether there are some that are not ended yet."""
        return bool(self._since_s)

    def due(
        self, unknown: Iterable[PodObservation], names: Collection[str], now_s: float
    ) -> list[PodObservation]:
        """Return the pods that are to be ended now.

        Args:
            unknown: what the runtime has and nobody knows.
            names: ``<namespace>/<name>`` of the pods that are known. A name is given to another
                pod only when the one that had it was deleted, so that one is ended at once.
            now_s: on the monotonic clock.
        """
        seen = {pod.uid: pod for pod in unknown}
        self._since_s = {uid: self._since_s.get(uid, now_s) for uid in seen}
        due = [
            pod
            for uid, pod in seen.items()
            if f"{pod.namespace}/{pod.name}" in names or now_s - self._since_s[uid] >= SURE_S
        ]
        for pod in due:
            del self._since_s[pod.uid]
            self._ending[pod.uid] = None
        return due

    def returned(self, pod: Object) -> bool:
        """Return whether ``pod`` is being ended: it is known now, and begins anew after that."""
        uid = uid_of(pod)
        if uid not in self._ending:
            return False
        self._ending[uid] = pod
        return True

    def deleted(self, uid: UID) -> None:
        """Take note that a pod does not begin anew: it was deleted."""
        if uid in self._ending:
            self._ending[uid] = None

    def gone(self, uid: UID) -> Object | None:
        """Take note that a pod has ended; return it if it is to begin anew."""
        return self._ending.pop(uid, None)
