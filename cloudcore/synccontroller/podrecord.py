"""Which pods an edge without an inventory may have: the content of one ConfigMap. Pure.

A pod stays in the record for a while after it has ended. If the edge was cut off before it heard of
that, it is told when it comes back; a record that had let go of the pod at once would not know.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cloudcore.kube.views import ObjectKey
from common.names import UID

KEPT_S: Final = 300.0
"""How long the edge has to stay connected after a pod has ended until nobody thinks of it more."""

MAX_PODS: Final = 2000
"""With the longest names 0.7 MB; a ConfigMap takes a mebibyte."""

_FIELD: Final = "pods"


class PodRecord:
    """The pods of one node, those that it has and those that it had."""

    def __init__(self, pods: Mapping[UID, ObjectKey]) -> None:
        """Begin with what was recorded."""
        self._pods = dict(pods)
        self._ended: dict[UID, float] = {}  # and when to forget it

    def __len__(self) -> int:
        """How many pods are recorded."""
        return len(self._pods)

    def update(self, current: Mapping[UID, ObjectKey], now_s: float) -> int:
        """Take in which pods there are, while the node is connected.

        Returns:
            how many were left out, or forgotten early, for want of room.
        """
        for uid in self._pods.keys() - current.keys():
            self._ended.setdefault(uid, now_s + KEPT_S)
        for uid in current.keys() & self._ended.keys():
            del self._ended[uid]
        self._pods.update(current)
        for uid in [uid for uid, at_s in self._ended.items() if at_s <= now_s]:
            self._drop(uid)
        excess = max(0, len(self._pods) - MAX_PODS)
        # Those that ended first are the least likely to be news.
        for uid in list(dict.fromkeys((*self._ended, *self._pods)))[:excess]:
            self._drop(uid)
        return excess

    def merge(self, pods: Mapping[UID, ObjectKey]) -> None:
        """Take in what somebody else has recorded."""
        self._pods = {**pods, **self._pods}

    def ended(self, current: Iterable[UID]) -> dict[UID, ObjectKey]:
        """Return the recorded pods that are not among the ``current`` ones."""
        alive = set(current)
        return {uid: key for uid, key in self._pods.items() if uid not in alive}

    def data(self) -> dict[str, str]:
        """Return the ``data`` of the ConfigMap; the same pods always give the same."""
        lines = sorted(f"{uid} {key.namespace}/{key.name}" for uid, key in self._pods.items())
        return {_FIELD: "\n".join(lines)}

    def _drop(self, uid: UID) -> None:
        self._pods.pop(uid, None)
        self._ended.pop(uid, None)


def parse_record(data: Mapping[str, Any]) -> dict[UID, ObjectKey]:
    """Return what stands in a ConfigMap's ``data``; lines that are none are passed over."""
    pods: dict[UID, ObjectKey] = {}
    for line in str(data.get(_FIELD, "")).splitlines():
        uid, _, key = line.partition(" ")
        namespace, _, name = key.partition("/")
        if uid and namespace and name:
            pods[UID(uid)] = ObjectKey(namespace, name)
    return pods
