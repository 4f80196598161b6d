"""What is known of all objects of one kind, and the bodies of those that are wanted. Pure.

Of every object there is its UID and version, so that each change is told for what it is; the body
is kept only where ``wants`` says so, which in a large cluster is a small part of all.

What a list lacks is only *absent*: it stays until somebody has asked for that very object. What a
list has in the version that is known is compared by its content too, since an etcd that was
restored from a backup gives the same versions to other contents.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

from cloudcore.kube.listwatch import (
    Bookmarked,
    Interrupted,
    ListCompleted,
    ListStarted,
    ObjectChanged,
    ObjectDeleted,
    PageListed,
    RawObject,
    WatchEvent,
)
from cloudcore.kube.views import ObjectKey, number_of
from common.inventory import content_hash
from common.names import UID


class ChangeType(StrEnum):
    """What became of an object."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


class Change(Struct, frozen=True):
    """A difference between two states of one object."""

    type: ChangeType
    key: ObjectKey
    uid: UID
    now: RawObject | None
    """Its state; of a deleted object the last that is known, None where that was not kept."""

    before: RawObject | None
    """Its former state; None where there was none, or it was not kept."""

    is_restored: bool = False
    """Its version counts anew, after an etcd was restored from a backup: whoever has higher ones
    has to take it none the less."""


class _Entry(Struct):
    uid: UID
    version: str
    kept: RawObject | None
    written: int = 0  # the newest version that we wrote ourselves
    content: int | None = None  # the hash of what is kept, once somebody has asked for it


class ObjectCache:
    """The objects of one kind, as the events of a ``ListWatch`` tell."""

    def __init__(self, wants: Callable[[RawObject], bool]) -> None:
        """Make an empty cache; ``wants`` says of an object whether its body is kept."""
        self._wants = wants
        self._entries: dict[ObjectKey, _Entry] = {}
        self._unseen: set[ObjectKey] = set()  # by the list that is under way
        self._absent: dict[ObjectKey, UID] = {}
        self._is_listing = False
        self._overtaken = 0  # versions up to this one were given before, to other contents
        self.version = 0
        """Up to which everything is known."""

        self.restores = 0
        """How often it has turned out that versions count anew."""

    def __len__(self) -> int:
        """Objects known, kept or not."""
        return len(self._entries)

    def __contains__(self, key: ObjectKey) -> bool:
        """Whether there is such an object, kept or not."""
        return key in self._entries

    def apply(self, event: WatchEvent) -> list[Change]:
        """Take an event in and return what it changes, in order.

        A changed UID under one name is the deletion of the old object and then a new one. What a
        complete list did not have is no change: see ``absent``.
        """
        match event:
            case ListStarted(overtaken):
                self._unseen, self._is_listing = set(self._entries), True
                self._absent.clear()
                if overtaken:
                    self.note_restored(overtaken)
                return []
            case PageListed(objects):
                self._unseen.difference_update(one.view.metadata.key for one in objects)
                return [change for one in objects for change in self._set(one)]
            case ListCompleted(version):
                self._absent = {key: self._entries[key].uid for key in self._unseen}
                self._unseen, self._is_listing = set(), False
                self.version = number_of(version)
                return []
            case ObjectChanged(one):
                self.version = number_of(one.view.metadata.resourceVersion)
                return self._set(one)
            case ObjectDeleted(one):
                key = one.view.metadata.key
                self.version = number_of(one.view.metadata.resourceVersion)
                return [self._remove(key, one)] if key in self._entries else []
            case Bookmarked(version):
                self.version = number_of(version)
                return []
            case Interrupted():
                return []

    def get(self, key: ObjectKey) -> RawObject | None:
        """Return the object; None where it is not kept, or there is none."""
        entry = self._entries.get(key)
        return entry.kept if entry is not None else None

    def identity(self, key: ObjectKey) -> tuple[UID, str] | None:
        """Return UID and version of an object, kept or not; None where there is none."""
        entry = self._entries.get(key)
        return (entry.uid, entry.version) if entry is not None else None

    def content(self, key: ObjectKey) -> int | None:
        """Return the ``content_hash`` of an object; None where it is not kept."""
        entry = self._entries.get(key)
        if entry is None or entry.kept is None:
            return None
        if entry.content is None:
            entry.content = content_hash(entry.kept.raw)
        return entry.content

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
            entry.kept = entry.content = None

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

    # --- absence ---------------------------------------------------------------------------------

    def absent(self) -> list[tuple[ObjectKey, UID]]:
        """Return what the last complete list did not have, and nothing was heard of since."""
        return sorted(self._absent.items())

    def is_absent(self, key: ObjectKey, uid: UID) -> bool:
        """Whether that is still so of the object of that UID."""
        return self._absent.get(key) == uid

    def present(self, key: ObjectKey) -> None:
        """Note that an absent object does exist; what it is like now comes as an event."""
        self._absent.pop(key, None)

    def end_absent(self, key: ObjectKey, uid: UID) -> list[Change]:
        """Take an absent object for deleted, as is known now; return the change that this is."""
        return [self._remove(key, None)] if self.is_absent(key, uid) else []

    # --- versions that count anew ----------------------------------------------------------------

    def note_restored(self, overtaken: int) -> None:
        """Note that versions count anew, and that those up to ``overtaken`` were given before."""
        if overtaken > self._overtaken:
            self._overtaken = overtaken
            self.restores += 1

    def _set(self, one: RawObject) -> list[Change]:
        meta = one.view.metadata
        self._absent.pop(meta.key, None)
        entry = self._entries.get(meta.key)
        if entry is None:
            return [self._add(one)]
        if entry.uid != meta.uid:
            return [self._remove(meta.key, None), self._add(one)]
        if entry.version == meta.resourceVersion and self._is_same(entry, one):
            return []
        if self._is_listing and number_of(meta.resourceVersion) <= number_of(entry.version):
            self.note_restored(number_of(entry.version))  # it has counted past our version since
        before = entry.kept
        entry.version = meta.resourceVersion
        entry.kept, entry.content = one if self._wants(one) else None, None
        is_restored = self._is_restored(one)
        if is_restored and self._is_listing:
            entry.written = 0  # that was in another history
        return [
            Change(ChangeType.MODIFIED, meta.key, meta.uid, one, before, is_restored=is_restored)
        ]

    def _is_same(self, entry: _Entry, one: RawObject) -> bool:
        """Whether what has the known version has the known content."""
        if entry.kept is not None:
            return entry.kept.raw == one.raw
        if not self._wants(one):
            return True
        if self._is_listing and self._is_restored(one):
            return False
        entry.kept = one
        return True

    def _add(self, one: RawObject) -> Change:
        meta = one.view.metadata
        kept = one if self._wants(one) else None
        self._entries[meta.key] = _Entry(meta.uid, meta.resourceVersion, kept)
        is_restored = self._is_restored(one)
        return Change(ChangeType.ADDED, meta.key, meta.uid, one, None, is_restored=is_restored)

    def _remove(self, key: ObjectKey, last: RawObject | None) -> Change:
        entry = self._entries.pop(key)
        self._absent.pop(key, None)
        last = last or entry.kept
        is_restored = last is not None and self._is_restored(last)
        return Change(ChangeType.DELETED, key, entry.uid, last, entry.kept, is_restored)

    def _is_restored(self, one: RawObject) -> bool:
        return number_of(one.view.metadata.resourceVersion) <= self._overtaken
