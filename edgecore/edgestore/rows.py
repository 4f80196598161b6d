"""Objects and tombstones as rows, with checksums: SQLite checks its structure, not what it holds.

Pure. A row is what its SELECT in ``database.py`` names.
"""

import zlib
from typing import Any

from common.inventory import content_hash
from edgecore.edgestore.records import Entry, Identity, StoredObject, Tombstone

Row = tuple[Any, ...]


def object_row(o: StoredObject, value: bytes) -> Row:
    """Return the row that keeps an object, its value in the form of ``value``."""
    checksum = _object_checksum(o.key, o.uid, o.version, value)
    return (o.key, o.resource_type, o.namespace, o.name, o.uid, o.version, checksum, value)


def is_sound_object(row: Row) -> bool:
    """Whether ``row`` is what was written."""
    key, kind, namespace, name, uid, version, checksum, value = row
    if not isinstance(value, bytes) or _object_checksum(key, uid, version, value) != checksum:
        return False
    return f"{key}/".startswith(f"{namespace}/{kind}/{name}/")


def to_object(row: Row) -> StoredObject:
    """Return what a sound row keeps."""
    key, kind, namespace, name, uid, version, _, value = row
    return StoredObject(key, kind, namespace, name, uid, version, value)


def to_identity(row: Row) -> Identity:
    """Return what a sound row says of its object."""
    key, kind, _, _, uid, version, _, value = row
    return Identity(key, kind, Entry(uid, version, content_hash(value)))


def tombstone_row(t: Tombstone) -> Row:
    """Return the row that keeps a tombstone."""
    final = int(t.final)
    return (t.uid, t.key, t.version, final, _checksum(t.uid, t.key, t.version, final))


def is_sound_tombstone(row: Row) -> bool:
    """Whether ``row`` is what was written, or is from before there were checksums."""
    *written, checksum = row
    return checksum is None or _checksum(*written) == checksum


def to_tombstone(row: Row) -> Tombstone:
    """Return what a sound row keeps."""
    uid, key, version, final, _ = row
    return Tombstone(uid, key, version, bool(final))


def _object_checksum(key: str, uid: str, version: int, value: bytes) -> int:
    return zlib.crc32(value, _checksum(key, uid, version))


def _checksum(*values: str | int) -> int:
    return zlib.crc32("\0".join(map(str, values)).encode())
