"""Mirror pods: how the cluster sees the static pods of this node. Pure.

The API server cannot make a static pod or end it; it has a copy, with a UID of its own, that says
so in an annotation. The copy is kept as the static pod is: whoever deletes it gets it back.

Source: Kubernetes pkg/kubelet/pod/mirror_client.go and pkg/kubelet/kubelet.go
(tryReconcileMirrorPods); plugin/pkg/admission/noderestriction (admitPodCreate).
"""

from enum import Enum, auto
from typing import Any

from edgecore.edged.podview import Object, is_deleting
from edgecore.edged.static.manifests import HASH_ANNOTATION, MIRROR_ANNOTATION


class MirrorStep(Enum):
    """What is to be done next about one mirror pod."""

    NOTHING = auto()
    CREATE = auto()
    DELETE = auto()


def is_mirror(pod: Object) -> bool:
    """Whether a pod of the API is the copy of a static pod: edged never runs it."""
    return MIRROR_ANNOTATION in _annotations(pod)


def mirrors(mirror: Object, static: Object) -> bool:
    """Whether ``mirror`` is the copy of ``static`` as that is now."""
    return bool(
        _annotations(mirror).get(MIRROR_ANNOTATION) == _annotations(static)[HASH_ANNOTATION]
    )


def next_step(static: Object | None, mirror: Object | None, *, complete: bool) -> MirrorStep:
    """Return what is to be done, given what there is.

    Args:
        static: the static pod of this name; None where there is none.
        mirror: its mirror as the API server has it; None where there is none.
        complete: whether a static pod that is not known is known not to be there.
    """
    if mirror is None:
        return MirrorStep.CREATE if static is not None else MirrorStep.NOTHING
    if static is None:
        return MirrorStep.DELETE if complete else MirrorStep.NOTHING
    if is_deleting(mirror) or not mirrors(mirror, static):
        return MirrorStep.DELETE
    return MirrorStep.NOTHING


def mirror_object(static: Object, node: str, node_uid: str) -> dict[str, Any]:
    """Return the mirror of ``static`` as the API server is asked to make it.

    It belongs to the Node, and goes when that goes; the API server takes it from a node in no other
    way.
    """
    metadata = static["metadata"]
    annotations = _annotations(static)
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node,
        "uid": node_uid,
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata.get("labels") or {},
            "annotations": {**annotations, MIRROR_ANNOTATION: annotations[HASH_ANNOTATION]},
            "ownerReferences": [owner],
        },
        "spec": static["spec"],
    }


def _annotations(pod: Object) -> Object:
    annotations: Object = pod.get("metadata", {}).get("annotations") or {}
    return annotations
