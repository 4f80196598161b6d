"""A node's lease as cloudcore writes it on the node's behalf. Pure.

A renewal changes two texts in an object that is otherwise the same, ten thousand times in a row.
So the object is encoded once, with gaps, and of the answer only the version is read.

An annotation names the connection on whose behalf the lease is renewed. That fences replicas: one
that finds a newer connection there than its own serves the node no longer.

Source: https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from cloudcore.kube import kinds
from cloudcore.kube.views import number_of
from common.clock import parse_rfc3339, rfc3339, rfc3339_micro
from common.names import NODE_LEASE_NAMESPACE, UID, NodeID

SERVED_BY: Final = "cloudedge.io/served-by"
"""The annotation: ``<replica>/<id of the connection>``."""

CLOUDCORE: Final = "cloudedge.io/cloudcore"
"""The annotation: name of the host or pod whose cloudcore serves the node."""

CONNECTED_SINCE: Final = "cloudedge.io/connected-since"
"""The annotation: RFC 3339."""

BACKLOG: Final = "cloudedge.io/backlog"
"""The annotation: how many objects the node has not acknowledged; 0 where it is in step. As it was
at the last renewal, and only of nodes whose connection has beats."""

DURATION_S: Final = 40
"""What kubelet writes into a lease; nobody judges by it."""

_STEP: Final = timedelta(microseconds=1)
_NOTED: Final = b'"},"resourceVersion":"'
_ASSIGNED: Final = frozenset({"managedFields", "resourceVersion"})
_UNTRACKED: Final[tuple[dict[str, Any]]] = ({},)
"""Has the API server forget who has written which field, which nobody asks of a lease: to keep that
is a third of what a renewal costs it. It takes this in updates only.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields
"""


class _Metadata(msgspec.Struct):
    resourceVersion: str  # noqa: N815 - the API's spelling


class _Written(msgspec.Struct):
    metadata: _Metadata


_decode_written: Final = msgspec.json.Decoder(_Written).decode


class FoundLease(Struct, frozen=True):
    """A lease as the API server has it."""

    metadata: dict[str, Any]
    spec: dict[str, Any]

    @property
    def version(self) -> str:
        """Its resource version."""
        return str(self.metadata.get("resourceVersion", ""))

    @property
    def holder(self) -> str:
        """Who renews it on the node's behalf; empty where it is the node itself."""
        return str((self.metadata.get("annotations") or {}).get(SERVED_BY, ""))

    @property
    def renewed(self) -> datetime | None:
        """When it was renewed; None where that is not known."""
        return renewal_in(self.spec)

    def is_newer(self, holder: str, version: str) -> bool:
        """Whether somebody else than ``holder`` has taken it over since it had ``version``.

        A lower version is none that came later: then the API server was restored from a backup.
        """
        return self.holder not in ("", holder) and number_of(self.version) > number_of(version)


class LeaseForm:
    """A lease with gaps for its version, its renewal and what the node is behind by."""

    __slots__ = ("_head", "_middle")

    def __init__(
        self, metadata: dict[str, Any], annotations: dict[str, str], spec: dict[str, Any]
    ) -> None:
        """Encode the rest once; no mapping may be empty, or have what goes into the gaps."""
        start = b'%b"metadata":%b,"annotations":' % (kinds.LEASES.head(), _opened(metadata))
        self._head = b'%b%b,"%b":"' % (start, _opened(annotations), BACKLOG.encode())
        self._middle = b'"},"spec":%b,"renewTime":"' % _opened(spec)

    def fill(self, version: str, renewed: datetime, backlog: int) -> bytes:
        """Return the lease as JSON.

        Args:
            version: that it replaces; empty for one that is to be created.
            renewed: when the node has shown that it lives.
            backlog: objects that it has not acknowledged.
        """
        return b"".join(
            (
                self._head,
                str(backlog).encode(),
                _NOTED,
                version.encode(),
                self._middle,
                rfc3339_micro(renewed).encode(),
                b'"}}',
            )
        )


def parse_lease(body: bytes) -> FoundLease:
    """Return the lease in an answer of the API server."""
    lease = msgspec.json.decode(body, type=dict[str, Any])
    return FoundLease(lease["metadata"], lease.get("spec") or {})


def version_in(body: bytes) -> str:
    """Return the resource version in an answer of the API server, and look at nothing else."""
    return _decode_written(body).metadata.resourceVersion


def notes_of(replica: str, since: datetime) -> dict[str, str]:
    """Return the annotations that tell people which cloudcore serves a node, and since when."""
    return {CLOUDCORE: replica, CONNECTED_SINCE: rfc3339(since)}


def form_for(
    node: NodeID, notes: Mapping[str, str], uid: UID | None, found: FoundLease | None
) -> LeaseForm:
    """Return the lease of ``node`` as it is to be.

    Args:
        node: whose lease it is.
        notes: the annotations that say who renews it (``SERVED_BY``, ``notes_of``).
        uid: of the Node, which the lease belongs to and goes with; None where it is not known.
        found: the lease as it is, of which everything else stays; None where there is none.
    """
    metadata = {} if found is None else {**found.metadata}
    for key in _ASSIGNED:
        metadata.pop(key, None)
    if found is not None:
        metadata["managedFields"] = _UNTRACKED
    metadata |= {"name": node, "namespace": NODE_LEASE_NAMESPACE}
    annotations = {**(metadata.pop("annotations", None) or {}), **notes}
    annotations.pop(BACKLOG, None)
    if uid is not None and not metadata.get("ownerReferences"):
        owner = {"apiVersion": "v1", "kind": kinds.NODES.kind, "name": node, "uid": uid}
        metadata["ownerReferences"] = [owner]
    spec = {} if found is None else {**found.spec}
    spec.pop("renewTime", None)
    spec["holderIdentity"] = node
    spec.setdefault("leaseDurationSeconds", DURATION_S)
    return LeaseForm(metadata, annotations, spec)


def advanced(sent: datetime, before: datetime | None) -> datetime:
    """Return ``sent``, or the least time after ``before`` if ``sent`` is not after it.

    The node controller takes a lease for renewed when it sees another time than before.
    """
    return sent if before is None else max(sent, before + _STEP)


def renewal_in(spec: dict[str, Any]) -> datetime | None:
    """Return the ``renewTime`` of a lease's spec; None where there is none."""
    try:
        moment = parse_rfc3339(spec.get("renewTime", ""))
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def _opened(mapping: dict[str, Any]) -> bytes:
    """Return ``mapping`` as JSON without its closing brace."""
    assert mapping, "something stands in front of the comma"
    return msgspec.json.encode(mapping)[:-1]
