"""Rows of the table ``meta`` of KubeEdge's edge database, as objects of our edge-store. Pure.

A row has the key ``namespace/type/name``, and as its value what came as the content of a message:
the object; or, by the way it came, the object as a quoted text, in a list of one or of several of
its type, or wrapped as the answer to a write. The answer to a query that failed is stored there as
well, in place of the object.

Source: KubeEdge edge/pkg/metamanager/process.go and dao/dbclient/meta.go.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from common.errors import WireError
from common.names import ResourceType
from common.wire import loads
from edgecore.edgestore.records import MAX_VERSION

TAKEN_TYPES: Final = (ResourceType.POD, ResourceType.CONFIGMAP, ResourceType.SECRET)
"""Types that are taken. The rest comes from the cloud, or is of no use to us."""

_MAX_WRAPS: Final = 4


class MetaRow(Struct, frozen=True):
    """One row, as it was read."""

    key: object
    kind: object
    value: object


class FoundObject(Struct, frozen=True):
    """An object that was found sound."""

    key: str
    value: bytes
    """JSON."""
    version: str


class Found(Struct, frozen=True):
    """What the rows come to."""

    objects: tuple[FoundObject, ...]
    faults: tuple[str, ...]
    """Rows that are left out: ``key: why``."""
    others: Counter[str]
    """How many rows there are of types that are not taken."""


def judge(rows: Iterable[MetaRow], node: str) -> Found:
    """Return the objects in ``rows``, and what is left out.

    Args:
        rows: all rows of the table.
        node: this node, whose pods alone are taken; "" where it is not known: then all are.
    """
    objects: list[FoundObject] = []
    faults: list[str] = []
    others: Counter[str] = Counter()
    for row in rows:
        if row.kind not in TAKEN_TYPES:
            others[str(row.kind)[:32]] += 1
            continue
        try:
            objects.append(_object(row, node))
        except (WireError, UnicodeError) as error:
            faults.append(f"{str(row.key)[:256]}: {error}")
    return Found(tuple(objects), tuple(faults), others)


def _object(row: MetaRow, node: str) -> FoundObject:
    """Return the object of a row.

    Raises:
        WireError: there is none, or it is not what the key says.
    """
    key = str(row.key)
    parts = key.split("/")
    if len(parts) != 3 or not all(parts) or parts[1] != row.kind:
        raise WireError("the key is not namespace/type/name")
    namespace, kind, name = parts
    value, document = _unwrapped(row.value, name)
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise WireError("not an object with metadata")
    if (metadata.get("namespace"), metadata.get("name")) != (namespace, name):
        raise WireError("the object is another one than its key says")
    uid, version = metadata.get("uid"), metadata.get("resourceVersion", "")
    if not isinstance(uid, str) or not uid:
        raise WireError("the object has no uid")
    if not _is_version(version):
        raise WireError(f"not a resource version: {str(version)[:32]!r}")
    if kind == ResourceType.POD:
        _check_pod(document, node)
    return FoundObject(key, value, version)


def _unwrapped(value: object, name: str) -> tuple[bytes, dict[str, Any]]:
    """Return the object's JSON, the same decoded, and nothing around it."""
    if not isinstance(value, str | bytes):
        raise WireError("there is no value")
    raw = value.encode() if isinstance(value, str) else value
    for _ in range(_MAX_WRAPS):
        inner: object = loads(raw)
        if isinstance(inner, list):
            inner = _of_list(inner, name)
        elif isinstance(inner, dict):
            if "metadata" not in inner and ("ErrStatus" in inner or inner.get("Err")):
                raise WireError("an error, and no object")
            if "metadata" in inner or "Object" not in inner:
                return raw, inner
            inner = inner["Object"]
        raw = inner.encode() if isinstance(inner, str) else msgspec.json.encode(inner)
    raise WireError("not an object")


def _of_list(items: list[Any], name: str) -> object:
    """Return the item that is called ``name``, or the only one."""
    for item in items:
        document = loads(item.encode()) if isinstance(item, str) else item
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if isinstance(metadata, dict) and metadata.get("name") == name:
            return document
    if len(items) != 1:
        raise WireError("a list without the object")
    return items[0]


def _is_version(version: object) -> bool:
    if not isinstance(version, str):
        return False
    return not version or (
        version.isascii() and version.isdecimal() and int(version[:32]) <= MAX_VERSION
    )


def _check_pod(pod: dict[str, Any], node: str) -> None:
    spec = pod.get("spec")
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise WireError("the pod has no containers")
    bound = spec.get("nodeName")
    if node and bound and bound != node:
        raise WireError(f"a pod of another node, {str(bound)[:64]!r}")
