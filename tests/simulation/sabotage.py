"""Faults that are put into the product on purpose: the simulation has to find each of them.

A net that has never caught anything may have holes of any size.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from cloudcore.edgecontroller.distribution import Distribution
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.synccontroller.comparison import Comparison
from cloudcore.synccontroller.holds import Holds
from common.delivery.outbox import Outbox
from common.names import Operation, ResourceType
from edgecore.edged.edged import Edged
from edgecore.edgestore.records import Write
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import decide
from edgecore.metamanager.draft import Draft

Original = Callable[..., Any]

_EVERY: Final = 7


def install(name: str) -> None:
    """Break the product by the fault called ``name``; not at all for none."""
    if name:
        SABOTAGES[name]()


def _acknowledge_before_the_commit() -> None:
    """Acknowledge what is on its way to the disk."""

    async def apply(store: EdgeStore, writes: Sequence[Write]) -> None:
        if writes:
            done = store._threads.writer.submit(store._database, writes)
            done.add_done_callback(functools.partial(store._note, writes))

    setattr(EdgeStore, "apply", apply)  # noqa: B010 - mypy forbids =


def _forget_what_has_ended() -> None:
    """Take what is late for news."""
    setattr(Draft, "tombstone", lambda _draft, _uid: None)  # noqa: B010 - mypy forbids =
    setattr(Draft, "grave", lambda _draft, _key: 0)  # noqa: B010 - mypy forbids =


def _take_older_versions() -> None:
    """Believe whatever came last."""
    setattr(decide, "_is_past", lambda *_, **__: False)  # noqa: B010 - mypy forbids =


def _lose_what_waits() -> None:
    """Lose every seventh state of an object on its way into the outbox."""
    original: Original = Outbox.offer
    count = iter(range(1, 10**9))

    def offer(outbox: Outbox[Any], uid: Any, parcel: Any) -> None:
        if next(count) % _EVERY:
            original(outbox, uid, parcel)

    setattr(Outbox, "offer", offer)  # noqa: B010 - mypy forbids =


def _keep_deletions_to_oneself() -> None:
    """Tell no edge that a ConfigMap was deleted."""
    original: Original = Distribution.tell

    async def tell(distribution: Distribution, followed: Any, change: Change) -> None:
        is_kept = followed.resource_type is ResourceType.CONFIGMAP
        if not (is_kept and change.type is ChangeType.DELETED):
            await original(distribution, followed, change)

    setattr(Distribution, "tell", tell)  # noqa: B010 - mypy forbids =


def _end_what_is_not_known() -> None:
    """End pods that the caches lack, without asking the API server, and however many they are."""

    async def find(_comparison: Comparison, _node: Any, _item: Any) -> None:
        return None

    setattr(Holds, "admit", lambda _holds, _plans: frozenset())  # noqa: B010 - mypy forbids =
    setattr(Comparison, "_find", find)  # noqa: B010 - mypy forbids =


def _begin_pods_anew_on_each_update() -> None:
    """End a pod whenever anything of its object changes."""
    original: Original = Edged._dispatch

    def dispatch(edged: Edged, operation: Operation, resource: Any, obj: Any) -> None:
        if resource.resource_type == ResourceType.POD and operation is Operation.UPDATE:
            original(edged, Operation.DELETE, resource, obj)
        original(edged, operation, resource, obj)

    setattr(Edged, "_dispatch", dispatch)  # noqa: B010 - mypy forbids =


SABOTAGES: Final[Mapping[str, Callable[[], None]]] = MappingProxyType(
    {
        "acknowledge-before-the-commit": _acknowledge_before_the_commit,
        "forget-what-has-ended": _forget_what_has_ended,
        "take-older-versions": _take_older_versions,
        "lose-what-waits": _lose_what_waits,
        "keep-deletions-to-oneself": _keep_deletions_to_oneself,
        "end-what-is-not-known": _end_what_is_not_known,
        "begin-pods-anew-on-each-update": _begin_pods_anew_on_each_update,
    }
)
