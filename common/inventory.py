"""What an edge holds, said in a few bytes: rows, and a digest of all of them. Pure.

Both daemons compute the digest, each from what it knows, and compare: equal digests mean that the
edge holds what it should, which is one short message each way however many objects there are.

A content hash stands beside the version, since after a restore from a backup the same version can
carry another content.
"""

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

_MASK: Final = 2**64 - 1
_HASH_BYTES: Final = 8


class Row(NamedTuple):
    """One object. As a list of these six it stands in an inventory."""

    resource_type: str
    namespace: str
    """``null`` where the object has none, as in a resource."""

    name: str
    uid: str
    version: str
    """Resource version; ``0`` where there is none."""

    content: int
    """``content_hash`` of the object."""


def content_hash(raw: bytes | memoryview) -> int:
    """Return 64 bits that stand for an object's JSON, white space around it left aside."""
    text = bytes(raw).strip()
    return int.from_bytes(hashlib.blake2b(text, digest_size=_HASH_BYTES).digest())


def digest(rows: Iterable[Row]) -> int:
    """Return 64 bits that stand for ``rows``, in whatever order they come."""
    return sum(map(_hash, rows)) & _MASK


def to_hex(number: int) -> str:
    """Return a hash as it stands in JSON, whose numbers have 53 bits: 16 hexadecimal digits."""
    return f"{number:016x}"


def _hash(row: Row) -> int:
    text = "\0".join((*row[:5], to_hex(row.content)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES).digest())
