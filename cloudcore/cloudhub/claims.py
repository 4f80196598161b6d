"""What the content of a message says about itself, as far as ``authorize`` has to know. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from common import wire
from common.beehive.message import Message
from common.errors import WireError
from common.names import NodeID, Operation
from common.podrefs import pod_refs

MAX_EVENT_BYTES: Final = 32 * 1024
"""Kubernetes cuts an event's note at 1 KiB; the rest of it is names."""

MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"

MAX_NODE_BYTES: Final = 4 * 1024 * 1024
"""The API server takes 3 MiB."""

_EVENT_SUFFIX: Final = re.compile(r"[0-9a-f]{1,32}")
_EVENT_PATCH_FIELDS: Final = frozenset({"count", "lastTimestamp", "message", "series"})


class Metadata(msgspec.Struct, frozen=True):
    """As much of ``metadata`` as tells which object it is."""

    name: str = ""
    namespace: str = ""


class InvolvedObject(msgspec.Struct, frozen=True):
    """What an event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class Event(msgspec.Struct, frozen=True):
    """Which event, and about what."""

    metadata: Metadata
    involvedObject: InvolvedObject  # noqa: N815 - the API's spelling


class BoundObject(msgspec.Struct, frozen=True):
    """What a service account token is bound to: it ends with that object."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: Metadata


class _EventPatch(msgspec.Struct):
    event: Event
    patchData: str  # noqa: N815 - the wire's spelling


class _TokenSpec(msgspec.Struct):
    boundObjectRef: BoundObject | None = None  # noqa: N815 - the API's spelling


class _TokenRequest(msgspec.Struct):
    spec: _TokenSpec


class _PatchedMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """Which pod: nothing here changes it."""

    uid: msgspec.Raw = msgspec.Raw()
    name: msgspec.Raw = msgspec.Raw()
    namespace: msgspec.Raw = msgspec.Raw()
    resourceVersion: msgspec.Raw = msgspec.Raw()  # noqa: N815 - the API's spelling


class _PodPatch(msgspec.Struct, forbid_unknown_fields=True):
    apiVersion: msgspec.Raw = msgspec.Raw()  # noqa: N815 - the API's spelling
    kind: msgspec.Raw = msgspec.Raw()
    metadata: _PatchedMetadata | None = None
    status: msgspec.Raw = msgspec.Raw()


class _PodStatusRequest(msgspec.Struct):
    """A KubeEdge struct without JSON tags, hence the capitals."""

    Name: str


def metadata(message: Message) -> Metadata:
    """Return which object the content is.

    Raises:
        WireError: the content is no object.
    """
    return wire.loads_as(message.data(), _Object).metadata


def node(message: Message) -> dict[str, Any]:
    """Return the Node in the content, or the patch of it.

    Raises:
        WireError: the content is no object, or too large.
    """
    data = message.data()
    if len(data) > MAX_NODE_BYTES:
        raise WireError(f"a Node has at most {MAX_NODE_BYTES} bytes")
    return wire.loads_as(data, dict[str, Any])


def event(message: Message) -> Event:
    """Return the event in the content, also where a patch of it comes along.

    Raises:
        WireError: there is none, it is too large, or the patch reaches further than an event that
            occurred again.
    """
    data = message.data()
    if len(data) > MAX_EVENT_BYTES:
        raise WireError(f"an event has at most {MAX_EVENT_BYTES} bytes")
    if message.operation is not Operation.PATCH:
        return wire.loads_as(data, Event)
    patched = wire.loads_as(data, _EventPatch)
    fields = wire.loads_as(patched.patchData.encode(), dict[str, Any])
    if not fields.keys() <= _EVENT_PATCH_FIELDS:
        raise WireError(f"of an event only {', '.join(sorted(_EVENT_PATCH_FIELDS))} may change")
    return patched.event


def is_event_name(name: str, about: str) -> bool:
    """Whether ``name`` is that of an event about the object ``about``, and of no other object's.

    Source: client-go tools/record (``<name of the object>.<time in hexadecimal>``).
    """
    prefix, _, suffix = name.rpartition(".")
    return prefix == about and _EVENT_SUFFIX.fullmatch(suffix) is not None


def bound_object(message: Message) -> BoundObject:
    """Return what the TokenRequest in the content wants the token bound to.

    Raises:
        WireError: the content is no TokenRequest.
    """
    return wire.loads_as(message.data(), _TokenRequest).spec.boundObjectRef or BoundObject()


def status_pods(message: Message) -> list[str]:
    """Return the names of the pods in a list of pod statuses.

    Raises:
        WireError: the content is no such list.
    """
    return [item.Name for item in wire.loads_as(message.data(), list[_PodStatusRequest])]


def require_status_only(message: Message) -> None:
    """Refuse a patch of a pod that reaches further than its status.

    Labels would bring it under other services and policies, finalizers would keep it from ending.

    Raises:
        WireError: it does, or is no object; the text names the field.
    """
    wire.loads_as(message.data(), _PodPatch)


def mirror_pod_fault(message: Message, node: NodeID, namespace: str, name: str) -> str:
    """Return why the content is no mirror pod that ``node`` may create; empty if it is one.

    A mirror pod shows a static pod of the node in the API. It may name nothing: whatever a pod
    names is given to its node, so a node could otherwise grant itself any Secret.

    Source: Kubernetes plugin/pkg/admission/noderestriction (admitPodCreate).

    Raises:
        WireError: the content is no object.
    """
    pod = wire.loads_as(message.data(), dict[str, Any])
    meta, spec = pod.get("metadata"), pod.get("spec")
    if not isinstance(meta, dict) or not isinstance(spec, dict):
        return "it is no pod"
    if (meta.get("namespace"), meta.get("name")) != (namespace, name):
        return "its content is another pod"
    annotations = meta.get("annotations")
    if not isinstance(annotations, dict) or not annotations.get(MIRROR_ANNOTATION):
        return f"only mirror pods may be created, which have the annotation {MIRROR_ANNOTATION}"
    if spec.get("nodeName") != node:
        return "it is not bound to this node"
    return _named_fault(pod, spec) or _owner_fault(meta.get("ownerReferences"), node)


def _named_fault(pod: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        return "a mirror pod may use no service account"
    refs = pod_refs(pod)
    if refs.secrets or refs.configmaps or refs.claims or spec.get("resourceClaims"):
        return "a mirror pod may name no Secret, ConfigMap or claim"
    if any(source.keys() - {"downwardAPI"} for source in _projected_sources(spec.get("volumes"))):
        return "a mirror pod may project nothing but itself"
    return ""


def _projected_sources(volumes: object) -> list[dict[str, Any]]:
    projected = [volume.get("projected") for volume in _dicts(volumes)]
    return [source for one in _dicts(projected) for source in _dicts(one.get("sources"))]


def _owner_fault(owners: object, node: NodeID) -> str:
    if not owners:
        return ""
    if not isinstance(owners, list) or len(owners) != 1 or not isinstance(owners[0], dict):
        return "a mirror pod may have one owner only"
    owner = owners[0]
    expected = {"apiVersion": "v1", "kind": "Node", "name": node, "controller": True}
    if any(owner.get(key) != value for key, value in expected.items()):
        return "the owner of a mirror pod must be its node, as its controller"
    if owner.get("blockOwnerDeletion"):
        return "a mirror pod may not block the deletion of its node"
    return ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
