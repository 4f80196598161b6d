"""The edge-store as it will be after what was decided so far, and the writes that make it so.

Pure. A batch is decided message by message against its draft; what the batch writes several times
is written once.
"""

from collections.abc import Iterator, Mapping

from edgecore.edgestore.records import (
    Bury,
    Entry,
    Exhume,
    Index,
    Put,
    Remove,
    StoredObject,
    Tombstone,
    Write,
)
from edgecore.metamanager.needs import NEEDED_TYPES, PodNeeds, garbage


class Draft:
    """What is stored, with the changes of one batch."""

    def __init__(self, index: Index, pods: Mapping[str, PodNeeds]) -> None:
        """Start from what is stored; ``pods`` tells by key what each stored pod needs."""
        self._index, self._pods = index, pods
        self._objects: dict[str, Put | Remove] = {}
        self._buried: dict[str, Tombstone] = {}  # by UID
        self._exhumed: dict[str, None] = {}  # keys
        self.changed_pods: dict[str, PodNeeds | None] = {}

    def writes(self) -> tuple[Write, ...]:
        """Return the fewest writes that lead to this state."""
        exhumed = [Exhume(key) for key in self._exhumed]
        return (*self._objects.values(), *exhumed, *map(Bury, self._buried.values()))

    def entry(self, key: str) -> Entry | None:
        """Return which object has ``key``."""
        match self._objects.get(key):
            case Put(stored):
                return stored.entry
            case Remove():
                return None
            case None:
                return self._index.entry(key)

    def tombstone(self, uid: str) -> Tombstone | None:
        """Return the tombstone of ``uid``."""
        if uid in self._buried:
            return self._buried[uid]
        tombstone = self._index.tombstone(uid)
        return None if tombstone is not None and tombstone.key in self._exhumed else tombstone

    def grave(self, key: str) -> int:
        """Return the highest version that has ended under ``key``."""
        versions = [t.version for t in self._buried.values() if t.key == key]
        if key not in self._exhumed:
            versions.append(self._index.grave(key))
        return max(versions, default=0)

    def put(self, stored: StoredObject, needs: PodNeeds | None) -> None:
        """Keep ``stored``; ``needs`` is what it needs if it is a pod."""
        self._objects[stored.key] = Put(stored)
        if needs is not None:
            self._change_pod(stored.key, needs)

    def remove(self, key: str) -> None:
        """Forget what has ``key`` and, if that is a pod, what only this pod needed."""
        self._objects[key] = Remove(key)
        self._change_pod(key, None)

    def forget(self, key: str) -> None:
        """Forget what no pod needs. The next pod may get the same version again, and none older."""
        entry = self.entry(key)
        self._objects[key] = Remove(key)
        if entry is not None and entry.version > 1:
            self.bury(entry.uid, key, entry.version - 1)

    def bury(self, uid: str, key: str, version: int, *, final: bool = False) -> None:
        """Remember that ``uid`` has ended, as of ``version``; never less than was known.

        What has no UID cannot be told from its successor, so its end is not remembered.
        """
        if not uid:
            return
        known = self.tombstone(uid)
        if known is not None:
            version, final = max(version, known.version), final or known.final
        tombstone = Tombstone(uid, key, version, final)
        if tombstone != known:
            self._buried[uid] = tombstone

    def exhume(self, key: str) -> None:
        """Forget all that has ended under ``key``."""
        self._exhumed[key] = None
        for uid in [t.uid for t in self._buried.values() if t.key == key]:
            del self._buried[uid]

    def _change_pod(self, key: str, needs: PodNeeds | None) -> None:
        gone = self._pods_now().get(key)
        if gone is None and needs is None:
            return
        self.changed_pods[key] = needs
        if gone is not None and gone != needs:
            for unneeded in garbage(self._needed_rows(), self._pods_now().values(), gone):
                self.forget(unneeded)

    def _pods_now(self) -> dict[str, PodNeeds]:
        merged = {**self._pods, **self.changed_pods}
        return {key: needs for key, needs in merged.items() if needs is not None}

    def _needed_rows(self) -> Iterator[tuple[str, str]]:
        keys = [key for kind in NEEDED_TYPES for key in self._index.keys(kind)]
        keys += [
            key
            for key, write in self._objects.items()
            if isinstance(write, Put) and write.stored.resource_type in NEEDED_TYPES
        ]
        for key in dict.fromkeys(keys):
            entry = self.entry(key)
            if entry is not None:
                yield key, entry.uid
