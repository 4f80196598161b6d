"""What the edge-store keeps and what can be written to it. Pure: no SQLite, no files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from common.inventory import content_hash

MAX_TOMBSTONES: Final = 2000
"""Ended objects that are remembered. A message is not late by more than that many deletions."""

COMPLETE_STATE: Final = "complete"
"""Key of the state that says whether the cloud has confirmed that nothing is missing."""

MAX_VERSION: Final = 2**63 - 1
"""The largest resource version: etcd's revision is a signed 64-bit number, and so is SQLite's."""


class Entry(Struct, frozen=True):
    """Which object has a key, and in which version."""

    uid: str
    version: int
    """Resource version; 0 where the object has none."""
    content: int
    """``common.inventory.content_hash`` of the object: one version has two contents where etcd was
    restored from a backup."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was received. ``key`` is ``namespace/type/name``, its resource."""

    key: str
    resource_type: str
    namespace: str
    name: str
    uid: str
    version: int
    value: bytes
    """JSON."""
    content: int = field(init=False, repr=False)
    """``common.inventory.content_hash`` of ``value``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", content_hash(self.value))

    @property
    def entry(self) -> Entry:
        """What the index says of it."""
        return Entry(self.uid, self.version, self.content)


class Identity(Struct, frozen=True):
    """A stored object without its value."""

    key: str
    resource_type: str
    entry: Entry


class Tombstone(Struct, frozen=True):
    """An object that has ended."""

    uid: str
    key: str
    version: int
    """Versions up to here belong to the past."""
    final: bool
    """Every version of this UID belongs to the past: it is known to be gone, but not since when."""


class Put(Struct, frozen=True):
    """Keep ``stored`` in place of what has its key."""

    stored: StoredObject


class Remove(Struct, frozen=True):
    """Forget what has ``key``."""

    key: str


class Bury(Struct, frozen=True):
    """Remember that an object has ended."""

    tombstone: Tombstone


class Exhume(Struct, frozen=True):
    """Forget that anything under ``key`` has ended: the cloud says what lives there now."""

    key: str


class SetState(Struct, frozen=True):
    """Remember ``value`` under ``key``."""

    key: str
    value: str


Write = Put | Remove | Bury | Exhume | SetState


class Index:
    """Keys, UIDs, versions and content hashes of all that is stored, without the values.

    Held in memory (some 250 bytes an object), so that a batch of messages is judged without
    reading from the disk. It follows the file: a write is noted once it is durable.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._types: dict[str, dict[str, None]] = {}  # type -> keys
        self._tombstones: dict[str, Tombstone] = {}  # by UID, oldest first
        self._graves: dict[str, int] = {}  # key -> highest version of its tombstones

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What is stored, by key."""
        return self._entries

    def keys(self, resource_type: str) -> Iterator[str]:
        """Yield the keys of one type."""
        return iter(self._types.get(resource_type, ()))

    def entry(self, key: str) -> Entry | None:
        """Return which object has ``key``."""
        return self._entries.get(key)

    def tombstone(self, uid: str) -> Tombstone | None:
        """Return the tombstone of ``uid``, if it has ended and that is remembered."""
        return self._tombstones.get(uid)

    def grave(self, key: str) -> int:
        """Return the highest version that is known to have ended under ``key``; 0 for none."""
        return self._graves.get(key, 0)

    @property
    def graves(self) -> Mapping[str, int]:
        """The highest version that is known to have ended, by key."""
        return self._graves

    def add(self, identity: Identity) -> None:
        """Learn of an object that is in the file."""
        self._entries[identity.key] = identity.entry
        self._types.setdefault(identity.resource_type, {})[identity.key] = None

    def note(self, write: Write) -> None:
        """Follow one durable write."""
        match write:
            case Put(stored):
                self.add(Identity(stored.key, stored.resource_type, stored.entry))
            case Remove(key):
                self._entries.pop(key, None)
                for keys in self._types.values():
                    keys.pop(key, None)
            case Bury(tombstone):
                self._bury(tombstone)
            case Exhume(key):
                self._graves.pop(key, None)
                for uid in [t.uid for t in self._tombstones.values() if t.key == key]:
                    del self._tombstones[uid]
            case SetState():
                pass

    def _bury(self, tombstone: Tombstone) -> None:
        self._tombstones.pop(tombstone.uid, None)
        self._tombstones[tombstone.uid] = tombstone
        self._graves[tombstone.key] = max(self.grave(tombstone.key), tombstone.version)
        while len(self._tombstones) > MAX_TOMBSTONES:
            key = self._tombstones.pop(next(iter(self._tombstones))).key
            versions = [t.version for t in self._tombstones.values() if t.key == key]
            if versions:
                self._graves[key] = max(versions)
            else:
                self._graves.pop(key, None)
