"""Light views of raw objects: what the controllers look at, and nothing else of them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from common.errors import RemoteError
from common.names import EDGE_NODE_LABEL, UID, NodeID
from common.status import failure

_SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"


class ObjectKey(NamedTuple):
    """Which object of a kind; ``namespace`` is empty where the kind has none."""

    namespace: str
    name: str


class ObjectMeta(msgspec.Struct, frozen=True):
    """``metadata``, with the API's own spelling."""

    name: str
    uid: UID
    resourceVersion: str  # noqa: N815 - the API's spelling
    namespace: str = ""
    generation: int = 0
    labels: Mapping[str, str] = {}
    deletionTimestamp: str | None = None  # noqa: N815 - the API's spelling

    @property
    def key(self) -> ObjectKey:
        """Which object this is."""
        return ObjectKey(self.namespace, self.name)


class ObjectView(msgspec.Struct, frozen=True):
    """What every object has."""

    metadata: ObjectMeta


V = TypeVar("V", bound=ObjectView)


class _PodSpec(msgspec.Struct, frozen=True):
    nodeName: str = ""  # noqa: N815 - the API's spelling


class PodView(ObjectView, frozen=True):
    """A Pod: where it is bound to."""

    spec: _PodSpec = _PodSpec()

    @property
    def node(self) -> NodeID:
        """The node that the pod is bound to; empty while it is not."""
        return NodeID(self.spec.nodeName)


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""


class _NodeStatus(msgspec.Struct, frozen=True):
    conditions: list[_Condition] = []


class NodeMeta(ObjectMeta, frozen=True):
    """``metadata`` of a Node, whose annotations are read as well."""

    annotations: Mapping[str, str] = {}


class NodeView(ObjectView, frozen=True):
    """A Node: whether it is one of ours, and ready."""

    metadata: NodeMeta
    status: _NodeStatus = _NodeStatus()

    @property
    def is_edge(self) -> bool:
        """Whether it carries the label of edge nodes."""
        return EDGE_NODE_LABEL in self.metadata.labels

    @property
    def ready(self) -> str:
        """The status of its Ready condition: ``True``, ``False`` or ``Unknown``."""
        return next((c.status for c in self.status.conditions if c.type == "Ready"), "Unknown")


class _TargetRef(msgspec.Struct, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class _Endpoint(msgspec.Struct, frozen=True):
    addresses: list[str] = []
    targetRef: _TargetRef | None = None  # noqa: N815 - the API's spelling


class SliceView(ObjectView, frozen=True):
    """An EndpointSlice: what stands behind a service."""

    endpoints: list[_Endpoint] | None = None

    @property
    def service(self) -> ObjectKey | None:
        """The service that it belongs to; None for a slice without one."""
        name = self.metadata.labels.get(_SERVICE_NAME_LABEL)
        return ObjectKey(self.metadata.namespace, name) if name else None

    def addresses(self) -> frozenset[str]:
        """Return the addresses of its endpoints."""
        return frozenset(a for endpoint in self.endpoints or () for a in endpoint.addresses)

    def pods(self) -> frozenset[ObjectKey]:
        """Return the pods behind its endpoints."""
        targets = (endpoint.targetRef for endpoint in self.endpoints or ())
        return frozenset(
            ObjectKey(target.namespace or self.metadata.namespace, target.name)
            for target in targets
            if target is not None and target.kind == "Pod"
        )


class _ClaimSpec(msgspec.Struct, frozen=True):
    volumeName: str = ""  # noqa: N815 - the API's spelling


class ClaimView(ObjectView, frozen=True):
    """A PersistentVolumeClaim: which volume it is bound to."""

    spec: _ClaimSpec = _ClaimSpec()

    @property
    def volume(self) -> str:
        """The name of the volume; empty while it is bound to none."""
        return self.spec.volumeName


def view_as(raw: bytes | msgspec.Raw, kind: type[V]) -> V:
    """Return the view of an object.

    Args:
        raw: the object in JSON.
        kind: ``ObjectView`` or one of its subclasses.

    Raises:
        RemoteError: 500, these bytes are not such an object.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteError(failure(500, f"not an object of the API: {error}")) from error


def number_of(version: str) -> int:
    """Return a resource version as the number it is, 0 for anything else.

    Source: resource versions of one type may be compared as numbers (KEP-5504, Kubernetes 1.35).
    """
    return int(version) if version.isdecimal() else 0
