"""The difference between what a node holds and what it should hold. Pure.

Versions are compared for equality, not for order: after an etcd was restored from a backup they
count down (promise P2's exception). Contents are compared too, where both are known: then the same
version may have another one.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from msgspec import Struct

from cloudcore.kube.views import ObjectKey
from common.names import UID, Operation, ResourceType

SEND_ORDER: Final[Mapping[str, int]] = MappingProxyType(
    {
        ResourceType.NODE: 0,
        ResourceType.CONFIGMAP: 1,
        ResourceType.SECRET: 2,
        ResourceType.SERVICE: 3,
        ResourceType.POD: 4,
    }
)
"""What a pod names goes before it. Nothing else stands in an inventory."""

_NEVER_INSERTED: Final = frozenset({ResourceType.NODE, ResourceType.SECRET})


class Item(NamedTuple):
    """An object: which one, and which state of it."""

    resource_type: ResourceType
    key: ObjectKey
    uid: UID
    version: str
    content: int | None = None
    """``common.inventory.content_hash`` of it; None where that is not known."""

    def is_as(self, other: "Item | None") -> bool:
        """Whether ``other`` is the same state of the same object, as far as is known of both."""
        if other is None or self[:4] != other[:4]:
            return False
        return self.content is None or other.content is None or self.content == other.content


class Difference(Struct, frozen=True):
    """What it takes, in the order in which it is to be done: first ``gone``, then ``send``."""

    gone: tuple[Item, ...]
    """Held and not wanted, pods first. Absence alone is no reason to delete: the caller asks."""

    send: tuple[tuple[Operation, Item], ...]
    """Wanted, and not held in that state."""


def diff(held: Iterable[Item], wanted: Iterable[Item]) -> Difference:
    """Return what makes ``held`` into ``wanted``.

    An object of another UID under the same name is the end of the one held, and then a new one; but
    for a Node, which is never taken from an edge.
    """
    held_by_name = {(one.resource_type, one.key): one for one in held}
    wanted_by_name = {(one.resource_type, one.key): one for one in wanted}
    gone = [
        one
        for name, one in held_by_name.items()
        if one.resource_type is not ResourceType.NODE
        and (name not in wanted_by_name or wanted_by_name[name].uid != one.uid)
    ]
    send = [
        (_operation(held_by_name.get(name), one), one)
        for name, one in wanted_by_name.items()
        if not one.is_as(held_by_name.get(name))
    ]
    return Difference(
        tuple(sorted(gone, key=lambda one: (-SEND_ORDER[one.resource_type], one.key))),
        tuple(sorted(send, key=lambda pair: (SEND_ORDER[pair[1].resource_type], pair[1].key))),
    )


def _operation(held: Item | None, wanted: Item) -> Operation:
    is_known = held is not None and held.uid == wanted.uid
    if is_known or wanted.resource_type in _NEVER_INSERTED:
        return Operation.UPDATE
    return Operation.INSERT
