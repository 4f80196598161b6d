"""Strategic-merge patches of status: the text that makes one status of the other. Pure.

Only what we own is compared: a key that the wanted status does not have is left alone, and so is an
element of a merged list that somebody else put there.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
and the patches of the recorded traffic.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

MERGE_KEYS: Final = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip", "addresses": "type"}
"""Lists of a status whose elements are patched one by one, with what tells these apart."""

_OTHERS_ELEMENTS: Final = frozenset({"conditions"})
"""Merged lists in which elements that we do not know are somebody else's, and stay."""

_encoder = msgspec.json.Encoder(order="deterministic")


def patch_text(patch: Mapping[str, Any]) -> str:
    """Return ``patch`` as the JSON text that a patch message has for content."""
    return _encoder.encode(patch).decode()


def diff(have: Mapping[str, Any], want: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patch that gives ``have`` everything that ``want`` has; empty if it has it."""
    patch: dict[str, Any] = {}
    for key, wanted in want.items():
        current = have.get(key)
        if key in MERGE_KEYS:
            patch.update(_merged(key, current or (), wanted))
        elif isinstance(wanted, Mapping) and isinstance(current, Mapping):
            if inner := diff(current, wanted):
                patch[key] = inner
        elif not _same(current, wanted):
            patch[key] = wanted
    return patch


def _same(current: Any, wanted: Any) -> bool:
    """Whether ``current`` is ``wanted``, apart from fields of list elements that we never set."""
    if isinstance(wanted, list) and isinstance(current, list) and len(current) == len(wanted):
        return all(map(_same_element, current, wanted))
    return bool(current == wanted)


def _same_element(current: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping) or not isinstance(current, Mapping):
        return bool(current == wanted)
    return all(current.get(key) == value for key, value in wanted.items())


def _merged(
    name: str, current: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the entries of a patch that turn the merged list ``current`` into ``wanted``."""
    key = MERGE_KEYS[name]
    before = {element[key]: element for element in current}
    after = {element[key]: element for element in wanted}
    changes = [
        change
        for identity, element in after.items()
        if (change := _element_change(key, before.get(identity), element))
    ]
    if name not in _OTHERS_ELEMENTS:
        changes += [{"$patch": "delete", key: identity} for identity in before.keys() - after]
    if not changes:
        return {}
    if not before:
        return {name: changes}
    kept = [i for i in before if i not in after and name in _OTHERS_ELEMENTS]
    order = [{key: identity} for identity in (*after, *kept)]
    return {f"$setElementOrder/{name}": order, name: changes}


def _element_change(
    key: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what changes in one element, its key added; empty where nothing does."""
    if before is None:
        return dict(after)
    change = {k: value for k, value in after.items() if before.get(k) != value}
    change |= {k: None for k in ("reason", "message") if k in before and k not in after}
    return change | {key: after[key]} if change else {}
