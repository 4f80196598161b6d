"""What this edge holds, as it says it to a cloud. Pure.

Briefly, by a digest, and only where that differs object by object. What pods need from elsewhere,
tokens and volumes, is not in it: the cloud does not send it by itself.
"""

from collections.abc import Iterator
from typing import Any, Final

from common import inventory
from common.inventory import Row
from common.names import ResourceType
from edgecore.edgestore.records import Index

TYPES: Final = (
    ResourceType.POD,
    ResourceType.CONFIGMAP,
    ResourceType.SECRET,
    ResourceType.SERVICE,
    ResourceType.NODE,
)
"""What the cloud keeps in step."""


def rows(index: Index) -> Iterator[Row]:
    """Yield what is held of ``TYPES``."""
    for kind in TYPES:
        for key in index.keys(kind):
            namespace, _, name = key.split("/", 2)
            entry = index.entries[key]
            yield Row(kind.value, namespace, name, entry.uid, str(entry.version), entry.content)


def digest(index: Index) -> str:
    """Return what stands for all of it, as 16 hexadecimal digits."""
    return inventory.to_hex(inventory.digest(rows(index)))


def brief(index: Index) -> dict[str, Any]:
    """Return the inventory that says no more than whether a cloud has the same."""
    held = list(rows(index))
    return {
        "digest": inventory.to_hex(inventory.digest(held)),
        "count": len(held),
        "newest": _newest(index),
    }


def full(index: Index) -> dict[str, Any]:
    """Return the inventory that names every object with its content hash."""
    objects = [[*row[:5], inventory.to_hex(row.content)] for row in rows(index)]
    return {"objects": objects, "newest": _newest(index)}


def plain(index: Index) -> dict[str, Any]:
    """Return the inventory for a cloud that knows neither digests nor hashes."""
    return {"objects": [list(row[:5]) for row in rows(index)]}


def _newest(index: Index) -> dict[str, str]:
    """Return the highest version of each type: a cloud that has not seen it yet is behind.

    What has ended counts as well: a cloud that does not know of that yet would bring it back.
    """
    newest: dict[str, int] = {}
    for kind in TYPES:
        versions = [index.entries[key].version for key in index.keys(kind)]
        if versions:
            newest[kind.value] = max(versions)
    for key, version in index.graves.items():
        resource_type = key.split("/", 2)[1]
        if version and resource_type in TYPES:
            newest[resource_type] = max(version, newest.get(resource_type, 0))
    return {kind: str(version) for kind, version in newest.items()}
