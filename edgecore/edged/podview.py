"""Views of a Pod as decoded JSON, for all of edged. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from common.names import UID

Object: TypeAlias = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as decoded JSON."""

DEFAULT_GRACE_S: Final = 30
MIN_GRACE_S: Final = 1
"""A container always gets this long to end by itself, as kubelet grants it."""

_HASH_CHARS: Final = 16


def uid_of(obj: Object) -> UID:
    """Return the UID of ``obj``; empty where there is none."""
    return UID(obj.get("metadata", {}).get("uid", ""))


def key_of(obj: Object) -> str:
    """Return ``<namespace>/<name>``."""
    metadata = obj.get("metadata", {})
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def version_of(obj: Object) -> int:
    """Return the resource version as a number; 0 where there is none."""
    version = obj.get("metadata", {}).get("resourceVersion", "")
    return int(version) if version.isdecimal() else 0


def spec_of(pod: Object) -> Object:
    """Return the spec, empty where there is none."""
    spec: Object = pod.get("spec") or {}
    return spec


def containers_of(pod: Object) -> list[Object]:
    """Return the specs of the pod's containers, init containers not among them."""
    return list(spec_of(pod).get("containers") or ())


def init_containers_of(pod: Object) -> list[Object]:
    """Return the specs of the pod's init containers, in the order in which they run."""
    return list(spec_of(pod).get("initContainers") or ())


def is_sidecar(container: Object) -> bool:
    """Whether an init container keeps running beside the others."""
    return container.get("restartPolicy") == "Always"


def is_deleting(pod: Object) -> bool:
    """Whether the API server was asked to delete the pod."""
    return bool(pod.get("metadata", {}).get("deletionTimestamp"))


def is_over(pod: Object) -> bool:
    """Whether the API server was told that the pod ended for good: then it never runs again."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def grace_s_of(pod: Object) -> float:
    """Return how long the pod's containers have to end by themselves."""
    grace = pod.get("metadata", {}).get("deletionGracePeriodSeconds")
    if grace is None or not is_deleting(pod):
        grace = spec_of(pod).get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    return float(max(MIN_GRACE_S, grace))


def restart_policy_of(pod: Object) -> str:
    """Return ``Always``, ``OnFailure`` or ``Never``."""
    return str(spec_of(pod).get("restartPolicy") or "Always")


def spec_hash(container: Object) -> str:
    """Return a hash of what a container is restarted for when it changes: its name and image.

    Nothing else of a container may be changed in a live pod but its resources. It is stored with
    running containers, so it may never be computed in another way.

    Source: Kubernetes pkg/kubelet/container/helpers.go (HashContainer).
    """
    text = json.dumps([container.get("name"), container.get("image")])
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARS]


def container_of(pod: Object, name: str) -> Object:
    """Return the spec of the container or init container ``name``; empty where there is none."""
    found = (c for c in (*containers_of(pod), *init_containers_of(pod)) if c.get("name") == name)
    return next(found, {})
