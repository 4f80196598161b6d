"""Which stored rows the stored pods need. Pure.

A ConfigMap or Secret is kept as long as some stored pod names it, a service account token as long
as its pod, or where it is bound to none, some pod of its service account.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

from msgspec import Struct

from common.names import ResourceType
from common.podrefs import pod_refs

NEEDED_TYPES: Final = frozenset(
    {ResourceType.CONFIGMAP, ResourceType.SECRET, ResourceType.SERVICE_ACCOUNT_TOKEN}
)
"""Types whose rows go with the last pod that needs them."""


class PodNeeds(Struct, frozen=True):
    """What one pod needs from the edge-store."""

    uid: str
    keys: frozenset[str] = frozenset()
    """Keys of ConfigMaps and Secrets, and ``namespace/serviceaccounttoken/name``."""


def pod_needs(pod: Mapping[str, Any], namespace: str, uid: str) -> PodNeeds:
    """Return what ``pod`` (as decoded JSON) needs."""
    refs = pod_refs(pod)
    keys = [f"{namespace}/{ResourceType.CONFIGMAP}/{name}" for name in refs.configmaps]
    keys += [f"{namespace}/{ResourceType.SECRET}/{name}" for name in refs.secrets]
    keys += [f"{namespace}/{ResourceType.SERVICE_ACCOUNT_TOKEN}/{n}" for n in refs.service_accounts]
    return PodNeeds(uid, frozenset(keys))


def garbage(
    stored: Iterable[tuple[str, str]], pods: Iterable[PodNeeds], gone: PodNeeds | None = None
) -> Set[str]:
    """Return the keys of rows that no pod needs.

    Args:
        stored: key and UID of the rows of ``NEEDED_TYPES``. A token's UID is its pod's.
        pods: the pods that are still stored.
        gone: judge only what this pod needed: a row that no pod named *yet* may be early. None
            judges all.
    """
    needs = list(pods)
    named = frozenset[str]().union(*(pod.keys for pod in needs))
    uids = {pod.uid for pod in needs}
    unneeded = set()
    for key, uid in stored:
        need = need_of(key)
        is_bound = bool(uid) and need != key
        if uid in uids if is_bound else need in named:
            continue
        if gone is None or (uid == gone.uid if is_bound else need in gone.keys):
            unneeded.add(key)
    return unneeded


def need_of(key: str) -> str:
    """Return the key that a pod names for the row ``key``: of a token, that of its account."""
    return "/".join(key.split("/", 3)[:3])
