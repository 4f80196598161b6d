"""What people see of an edge-store: kinds as they say them, and objects without secrets. Pure."""

import difflib
import json
from collections.abc import Sequence
from typing import Any, Final

from common.errors import ConfigError
from common.names import ResourceType
from edgecore.edgestore.reading import Held, Opened

HEAD: Final = ("KIND", "NAMESPACE", "NAME", "VERSION", "BYTES", "UID")

HIDDEN: Final = "(hidden; --reveal shows it)"
"""In place of what is secret."""

_SHORT: Final = {
    "po": ResourceType.POD,
    "cm": ResourceType.CONFIGMAP,
    "svc": ResourceType.SERVICE,
    "no": ResourceType.NODE,
    "pv": ResourceType.PERSISTENT_VOLUME,
    "pvc": ResourceType.PERSISTENT_VOLUME_CLAIM,
    "token": ResourceType.SERVICE_ACCOUNT_TOKEN,
}
_STORED: Final = (
    ResourceType.POD,
    ResourceType.CONFIGMAP,
    ResourceType.SECRET,
    ResourceType.SERVICE,
    ResourceType.SERVICE_ACCOUNT_TOKEN,
    ResourceType.NODE,
    ResourceType.LEASE,
    ResourceType.PERSISTENT_VOLUME,
    ResourceType.PERSISTENT_VOLUME_CLAIM,
)
_CLUSTER_SCOPED: Final = frozenset({ResourceType.NODE, ResourceType.PERSISTENT_VOLUME})
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def kind_of(text: str) -> str:
    """Return the kind that ``text`` names: in any case, singular, plural or short.

    Raises:
        ConfigError: nothing of that kind is ever stored.
    """
    word = text.lower()
    if word in _SHORT:
        return _SHORT[word].value
    for kind in (word, word.removesuffix("s")):
        if kind in _STORED:
            return kind
    close = difflib.get_close_matches(word, _STORED, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it knows {', '.join(_STORED)}"
    raise ConfigError([f"KIND: an edge-store has nothing of kind {text!r}; {hint}"])


def name_of(kind: str, text: str) -> tuple[str, str]:
    """Return namespace and name of ``[NAMESPACE/]NAME``; the namespace is ``default`` if missing.

    Raises:
        ConfigError: it is no name, or has a namespace where ``kind`` has none.
    """
    namespace, slash, name = text.rpartition("/")
    if not name or "/" in namespace or (slash and not namespace):
        raise ConfigError([f"NAME: expected [NAMESPACE/]NAME, not {text!r}"])
    if kind in _CLUSTER_SCOPED:
        if namespace:
            raise ConfigError([f"NAME: a {kind} has no namespace: give {name!r}"])
        return "", name
    return namespace or "default", name


def row(held: Held) -> tuple[str, ...]:
    """Return the cells of one object, as ``HEAD`` names them."""
    cells = (held.kind, held.namespace, held.name, held.version, held.size_bytes, held.uid)
    return tuple(map(str, cells))


def item(held: Held) -> dict[str, object]:
    """Return one object of a listing for programs."""
    return {
        "kind": held.kind,
        "namespace": held.namespace,
        "name": held.name,
        "resourceVersion": str(held.version),
        "sizeBytes": held.size_bytes,
        "uid": held.uid,
    }


def pods_by_phase(pods: Sequence[Opened]) -> dict[str, int]:
    """Return how many pods there are of each phase, as the cloud knew them last."""
    counts: dict[str, int] = {}
    for pod in pods:
        status = json.loads(pod.value or b"{}").get("status") or {}
        phase = str(status.get("phase") or "Pending")
        counts[phase] = counts.get(phase, 0) + 1
    return dict(sorted(counts.items()))


def without_secrets(kind: str, found: Any) -> Any:
    """Return an object with all that is secret replaced; what is told is which entries there are.

    Args:
        kind: one that ``kind_of`` returns.
        found: the object, from JSON.
    """
    if not isinstance(found, dict) or kind not in (
        ResourceType.SECRET,
        ResourceType.SERVICE_ACCOUNT_TOKEN,
    ):
        return found
    shown = dict(found)
    for part in ("data", "stringData"):
        if isinstance(shown.get(part), dict):
            shown[part] = dict.fromkeys(shown[part], HIDDEN)
    if isinstance(shown.get("status"), dict) and "token" in shown["status"]:
        shown["status"] = {**shown["status"], "token": HIDDEN}
    metadata = shown.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict):
        kept = {
            key: HIDDEN if key == _LAST_APPLIED else value
            for key, value in metadata["annotations"].items()
        }
        shown["metadata"] = {**metadata, "annotations": kept}
    return shown
