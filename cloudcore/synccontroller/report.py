"""What an edge says of what it holds: the content of an inventory. Pure.

Three forms: a digest alone; rows of six with content hashes; and, from edges of the first version
of the protocol, rows of five.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from cloudcore.kube.views import ObjectKey, number_of
from cloudcore.synccontroller.diff import SEND_ORDER, Item
from common.errors import RemoteError
from common.names import CLUSTER_SCOPE, UID, ResourceType
from common.status import failure

MAX_ROWS: Final = 20_000
"""Objects of one node, of all types."""

MAX_PODS: Final = 2_000
"""Each that is not known costs a request to the API server."""

_MAX_VERSION_DIGITS: Final = 19  # etcd's revision is a signed 64-bit number
_HEX: Final = 16
_FIRST_ROW: Final = 5
_ROW: Final = 6


class _Content(msgspec.Struct):
    objects: list[tuple[str, ...]] | None = None
    digest: str = ""
    newest: dict[str, str] = {}


class Report(Struct, frozen=True):
    """Either ``digest`` or ``held``."""

    digest: int | None
    """Of all that is held."""

    held: tuple[Item, ...]
    """All that is held, as far as such types are compared."""

    newest: dict[str, str]
    """The highest version by type that the edge has of anything; of what it holds, where it does
    not say that itself."""

    @property
    def knows_anything(self) -> bool:
        """Whether the edge has ever been told of an object, as far as it remembers."""
        return bool(self.newest or self.held)


def parse_report(content: object) -> Report:
    """Return what ``content``, as decoded JSON, says.

    Raises:
        RemoteError: 422, it is no inventory, or that of no node there could be.
    """
    try:
        said = msgspec.convert(content, _Content)
        _check_versions(said.newest)
        if said.objects is None:
            return Report(parse_hash(said.digest), (), said.newest)
        held = tuple(_items(said.objects))
        return Report(None, held, said.newest or _newest_in(held))
    except (msgspec.ValidationError, ValueError) as error:
        raise RemoteError(failure(422, f"not an inventory: {error}")) from error


def parse_hash(text: str) -> int:
    """Return a hash out of its 16 hexadecimal digits.

    Raises:
        ValueError: it is none.
    """
    if len(text) != _HEX or not text.isalnum():
        raise ValueError("a hash has 16 hexadecimal digits")
    return int(text, 16)


def _check_versions(newest: dict[str, str]) -> None:
    if any(len(version) > _MAX_VERSION_DIGITS for version in newest.values()):
        raise ValueError("not a resource version")


def _newest_in(held: Iterable[Item]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for item in held:
        known = newest.get(item.resource_type, "0")
        newest[item.resource_type] = max(known, item.version, key=number_of)
    return newest


def _items(rows: list[tuple[str, ...]]) -> list[Item]:
    if any(len(row) not in (_FIRST_ROW, _ROW) for row in rows):
        raise ValueError("a row has 5 or 6 fields")
    if any(len(row[4]) > _MAX_VERSION_DIGITS for row in rows):
        raise ValueError("not a resource version")
    if not all(row[2] for row in rows):
        raise ValueError("an object has a name")  # without one, a path leads to all of its kind
    if len(rows) > MAX_ROWS or sum(row[0] == ResourceType.POD for row in rows) > MAX_PODS:
        raise ValueError(f"more than {MAX_ROWS} objects, or {MAX_PODS} pods")
    return [
        Item(
            ResourceType(row[0]),
            ObjectKey("" if row[1] == CLUSTER_SCOPE else row[1], row[2]),
            UID(row[3]),
            row[4],
            parse_hash(row[5]) if len(row) == _ROW else None,
        )
        for row in rows
        if row[0] in SEND_ORDER
    ]
