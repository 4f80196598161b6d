"""What is known of all objects of one kind, and the bodies of those that are wanted. Pure.

Of every object there is its UID and version, so that each change is told for what it is; the body
is kept only where ``wants`` says so, which in a large cluster is a small part of all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cloudcore.kube.listwatch import (
    Bookmarked,
    ListCompleted,
    ListStarted,
    ObjectChanged,
    ObjectDeleted,
    PageListed,
    RawObject,
    WatchEvent,
)
from cloudcore.kube.views import ObjectKey, number_of
from common.names import UID


class ChangeType(StrEnum):
    """What became of an object."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two states of one object."""

    type: ChangeType
    key: ObjectKey
    uid: UID
    now: RawObject | None
    """Its state; of a deleted object the last that is known, None where that was not kept."""

    before: RawObject | None
    """Its former state; None where there was none, or it was not kept."""

    by_absence: bool = False
    """Deleted, as far as a list did not have it: nobody saw it being deleted."""


@dataclass(slots=True)
class _Entry:
    uid: UID
    version: str
    kept: RawObject | None
    written: int = 0  # the newest version that we wrote ourselves


class ObjectCache:
    """The objects of one kind, as the events of a ``ListWatch`` tell."""

    def __init__(self, wants: Callable[[RawObject], bool]) -> None:
        """Make an empty cache; ``wants`` says of an object whether its body is kept."""
        self._wants = wants
        self._entries: dict[ObjectKey, _Entry] = {}
        self._unseen: set[ObjectKey] = set()  # by the list that is under way

    def __len__(self) -> int:
        """Objects known, kept or not."""
        return len(self._entries)

    def __contains__(self, key: ObjectKey) -> bool:
        """Whether there is such an object, kept or not."""
        return key in self._entries

    def apply(self, event: WatchEvent) -> list[Change]:
        """Take an event in and return what it changes, in order.

        A changed UID under one name is the deletion of the old object and then a new one.
        """
        match event:
            case ListStarted():
                self._unseen = set(self._entries)
                return []
            case PageListed(objects):
                self._unseen.difference_update(one.view.metadata.key for one in objects)
                return [change for one in objects for change in self._set(one)]
            case ListCompleted():
                gone, self._unseen = self._unseen, set()
                return [self._remove(key, None, by_absence=True) for key in sorted(gone)]
            case ObjectChanged(one):
                return self._set(one)
            case ObjectDeleted(one):
                key = one.view.metadata.key
                return [self._remove(key, one)] if key in self._entries else []
            case Bookmarked():
                return []

    def get(self, key: ObjectKey) -> RawObject | None:
        """Return the object; None where it is not kept, or there is none."""
        entry = self._entries.get(key)
        return entry.kept if entry is not None else None

    def identity(self, key: ObjectKey) -> tuple[UID, str] | None:
        """Return UID and version of an object, kept or not; None where there is none."""
        entry = self._entries.get(key)
        return (entry.uid, entry.version) if entry is not None else None

    def kept(self) -> Iterator[RawObject]:
        """Yield the objects that are kept."""
        return (entry.kept for entry in self._entries.values() if entry.kept is not None)

    def keep(self, one: RawObject) -> bool:
        """Keep an object that was fetched; return whether that was done and is new.

        It is done only for the very version that is known: a newer one comes as an event, which
        has to be told as a change, and an older one is of no use.
        """
        meta = one.view.metadata
        entry = self._entries.get(meta.key)
        if entry is None or entry.kept is not None:
            return False
        if (entry.uid, entry.version) != (meta.uid, meta.resourceVersion):
            return False
        entry.kept = one
        return True

    def drop(self, key: ObjectKey) -> None:
        """Keep the object no longer, as nobody wants it any more."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.kept = None

    def note_written(self, key: ObjectKey, uid: UID, version: str) -> None:
        """Note that we have made the object ``version`` ourselves, which may not be seen yet."""
        entry = self._entries.get(key)
        if entry is not None and entry.uid == uid:
            entry.written = max(entry.written, number_of(version))

    def settled(self, key: ObjectKey) -> RawObject | None:
        """Return the object if it is kept and at least as new as our own last write."""
        entry = self._entries.get(key)
        if entry is None or number_of(entry.version) < entry.written:
            return None
        return entry.kept

    def _set(self, one: RawObject) -> list[Change]:
        meta = one.view.metadata
        entry = self._entries.get(meta.key)
        if entry is None:
            return [self._add(one)]
        if entry.uid != meta.uid:
            return [self._remove(meta.key, None), self._add(one)]
        if entry.version == meta.resourceVersion:
            return []
        before = entry.kept
        entry.version = meta.resourceVersion
        entry.kept = one if self._wants(one) else None
        return [Change(ChangeType.MODIFIED, meta.key, meta.uid, one, before)]

    def _add(self, one: RawObject) -> Change:
        meta = one.view.metadata
        kept = one if self._wants(one) else None
        self._entries[meta.key] = _Entry(meta.uid, meta.resourceVersion, kept)
        return Change(ChangeType.ADDED, meta.key, meta.uid, one, None)

    def _remove(
        self, key: ObjectKey, last: RawObject | None, *, by_absence: bool = False
    ) -> Change:
        entry = self._entries.pop(key)
        return Change(
            ChangeType.DELETED, key, entry.uid, last or entry.kept, entry.kept, by_absence
        )
