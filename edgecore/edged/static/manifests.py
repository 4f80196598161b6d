"""From the manifest of a static pod to the Pod that edged runs. Pure.

A static pod needs no API server: it runs from a file, whether the cloud can be reached or not. It
is therefore refused if it names anything that only the cloud has.

Source: Kubernetes pkg/kubelet/config/common.go and file.go, pkg/api/pod/util.go
(HasAPIObjectReference); https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from common.clock import rfc3339_micro
from common.podrefs import pod_refs
from edgecore.edged.podview import Object, containers_of, init_containers_of
from edgecore.edged.static.poddefaults import defaulted
from edgecore.edged.static.podshape import MAX_NAME, ShapeError, check_shape

SOURCE_ANNOTATION: Final = "kubernetes.io/config.source"
HASH_ANNOTATION: Final = "kubernetes.io/config.hash"
SEEN_ANNOTATION: Final = "kubernetes.io/config.seen"
MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"

_FILE_SOURCE: Final = "file"
_HASH_CHARS: Final = 32
_STATIC_UID: Final = re.compile(r"[0-9a-f]{32}")

_MAX_VALUES: Final = 20_000
_MAX_DEPTH: Final = 64
"""A few lines of YAML can name each other until memory is full: what they stand for is counted."""

_TOLERATION: Final = {"operator": "Exists", "effect": "NoExecute"}
"""A static pod stays where it is, whatever happens to the node."""


class ManifestError(Exception):
    """A manifest that is no pod for this node; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class StaticSet:
    """The static pods of this node."""

    pods: tuple[Object, ...] = ()
    complete: bool = field(default=True, kw_only=True)
    """Whether all files were understood. If not, a pod's absence here says nothing of it."""


def static_pod(document: object, node: str, path: str, seen: datetime) -> dict[str, Any]:
    """Return the Pod that a manifest stands for on this node, as kubelet would make it.

    The same content in the same file on the same node gives the same UID, at any time and after
    any restart: it is by the UID that running containers are found again.

    Args:
        document: of the manifest, decoded.
        node: name of this node; becomes the end of the pod's name.
        path: of the file.
        seen: when it was read.

    Raises:
        ManifestError: it is no Pod, or one that needs the API server.
    """
    manifest = _plain(document)
    try:
        check_shape(manifest)
    except ShapeError as error:
        raise ManifestError(f"invalid pod: {error}") from error
    if thing := _api_reference(manifest):
        raise ManifestError(f"static pods may not reference {thing}")
    metadata, spec = manifest["metadata"], manifest["spec"]
    name = f"{metadata['name']}-{node.lower()}"
    if len(name) > MAX_NAME:
        raise ManifestError(f"invalid pod: {name!r:.80} is longer than {MAX_NAME} characters")
    digest = _digest(manifest, node, path)
    made = {
        "name": name,
        "namespace": metadata.get("namespace", "default"),
        "uid": metadata.get("uid") or digest,
        "labels": metadata.get("labels", {}),
        "annotations": {
            **metadata.get("annotations", {}),
            SOURCE_ANNOTATION: _FILE_SOURCE,
            HASH_ANNOTATION: digest,
            SEEN_ANNOTATION: rfc3339_micro(seen),
        },
    }
    made["annotations"].pop(MIRROR_ANNOTATION, None)
    placed = {**spec, "nodeName": node, "tolerations": _tolerations(spec)}
    return defaulted({**manifest, "metadata": made, "spec": placed, "status": {"phase": "Pending"}})


def from_api(pod: Object) -> Object:
    """Return a pod of the API server without what would make it look like one from a file.

    Pods from files are never evicted, which is not for everybody to choose.
    """
    metadata = pod.get("metadata", {})
    annotations = metadata.get("annotations") or {}
    if SOURCE_ANNOTATION not in annotations:
        return pod
    kept = {key: value for key, value in annotations.items() if key != SOURCE_ANNOTATION}
    return {**pod, "metadata": {**metadata, "annotations": kept}}


def is_static_uid(uid: str) -> bool:
    """Whether ``uid`` looks like one that was made from a file; the API server's have dashes."""
    return _STATIC_UID.fullmatch(uid) is not None


def _plain(document: object) -> Any:
    """Return ``document`` as JSON could say it, without the fields that are null.

    Raises:
        ManifestError: JSON cannot say it, or it stands for more than a pod could need.
    """
    left = _MAX_VALUES

    def copy(value: object, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _MAX_DEPTH:
            raise ManifestError("it is too large or too deep")
        match value:
            case dict():
                if not all(isinstance(key, str) for key in value):
                    raise ManifestError("a key is no text: put it in quotes")
                return {k: copy(v, depth + 1) for k, v in value.items() if v is not None}
            case list():
                return [copy(item, depth + 1) for item in value]
            case bool() | int() | str():
                return value
            case float() if math.isfinite(value):
                return value
        raise ManifestError(f"a value is no JSON: {type(value).__name__}")

    return copy(document, 0)


def _digest(manifest: Mapping[str, Any], node: str, path: str) -> str:
    """Return what tells this manifest from others. Stored with running containers: never change it.

    It is of what the file says and not of what is filled in, so that a newer edged with other
    defaults finds the same pod.
    """
    text = json.dumps([manifest, f"host:{node}", f"file:{path}"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARS]


def _tolerations(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*(one for one in spec.get("tolerations", ()) if one != _TOLERATION), dict(_TOLERATION)]


def _api_reference(pod: Mapping[str, Any]) -> str:
    """Return which objects of the API the pod names; empty if none."""
    spec, refs = pod["spec"], pod_refs(pod)
    volumes = spec.get("volumes", ())
    sources = [source for v in volumes for source in v.get("projected", {}).get("sources", ())]
    faults = {
        "service accounts": spec.get("serviceAccountName") or spec.get("serviceAccount"),
        "Secrets": refs.secrets or any("secret" in volume for volume in volumes),
        "ConfigMaps": refs.configmaps or any("configMap" in volume for volume in volumes),
        "claims": refs.claims or spec.get("resourceClaims") or _has_claims(pod),
        "projected sources of the API server": any(s.keys() - {"downwardAPI"} for s in sources),
        "drivers of volumes": any({"csi", "glusterfs"} & volume.keys() for volume in volumes),
        "ephemeral containers": spec.get("ephemeralContainers"),
    }
    return next((thing for thing, named in faults.items() if named), "")


def _has_claims(pod: Object) -> bool:
    containers = (*containers_of(pod), *init_containers_of(pod))
    return any("claims" in container.get("resources", {}) for container in containers)
