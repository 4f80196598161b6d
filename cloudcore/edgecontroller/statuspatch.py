"""Does a strategic merge patch change anything? Pure.

Only a patch that is certain to change nothing is kept from the API server: where in doubt, it is
one write too many.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
(lists with a merge key are merged by it, others are replaced).
"""

from collections.abc import Mapping
from typing import Any, Final

POD_LISTS: Final[Mapping[str, str]] = {
    "conditions": "type",
    "hostIPs": "ip",
    "podIPs": "ip",
}
"""The lists in a pod's status that are merged, and by which key."""

NODE_LISTS: Final[Mapping[str, str]] = {
    "addresses": "type",
    "conditions": "type",
    "volumesAttached": "name",
}
"""The same of a node's status."""

_ORDER: Final = "$setElementOrder/"


def is_contained(
    patch: Mapping[str, Any], current: Mapping[str, Any], lists: Mapping[str, str]
) -> bool:
    """Return True only if ``patch`` leaves ``current`` as it is.

    Args:
        patch: the strategic merge patch.
        current: what it would be applied to.
        lists: merge key by the name of a list.
    """
    return all(_is_held(name, value, current, lists) for name, value in patch.items())


def _is_held(
    name: str, value: object, current: Mapping[str, Any], lists: Mapping[str, str]
) -> bool:
    if name.startswith(_ORDER):
        return True  # of what is in the patch anyway, and means nothing by itself
    if name.startswith("$"):
        return False  # a directive: it deletes or replaces
    held = current.get(name)
    if isinstance(value, dict) and isinstance(held, dict):
        return is_contained(value, held, lists)
    key = lists.get(name)
    if key is not None and isinstance(value, list) and isinstance(held, list):
        return all(_is_in(one, held, key, lists) for one in value)
    return value == held


def _is_in(element: object, held: list[Any], key: str, lists: Mapping[str, str]) -> bool:
    if not isinstance(element, dict) or key not in element:
        return False
    same = [one for one in held if isinstance(one, dict) and one.get(key) == element[key]]
    return len(same) == 1 and is_contained(element, same[0], lists)
