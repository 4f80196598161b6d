"""Which handler serves which message, and in what form it answers.

Source: the catalogue of KubeEdge cloud/pkg/edgecontroller/controller/upstream.go.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from cloudcore.edgecontroller.handlers import (
    certificates,
    events,
    leases,
    nodes,
    pods,
    queries,
    tokens,
)
from cloudcore.edgecontroller.handlers.call import Handler
from common.names import Operation, ResourceType


class Places(Enum):
    """Whose places a handler takes; those of one kind never wait behind another's."""

    OBJECTS = auto()
    LEASES = auto()
    COMPARISONS = auto()


class Entry(Struct, frozen=True):
    """How a message is served."""

    handler: Handler
    is_wrapped: bool = False
    """Answered by ``{"Object": ..., "Err": ...}``, as KubeEdge answers writes."""

    places: Places = Places.OBJECTS
    needs_name: bool = True


_O, _T = Operation, ResourceType
_VOLUME_ATTACHMENT: Final = "volumeattachment"
_CSR: Final = "certificatesigningrequest"
_K8S_CA: Final = "ca.crt"

TABLE: Final[Mapping[tuple[Operation, str], Entry]] = MappingProxyType(
    {
        (_O.INSERT, _T.NODE): Entry(nodes.register, is_wrapped=True),
        (_O.UPDATE, _T.NODE): Entry(nodes.update),
        (_O.QUERY, _T.NODE): Entry(queries.read_object),
        (_O.PATCH, _T.NODE_PATCH): Entry(nodes.patch, is_wrapped=True),
        (_O.INSERT, _T.NODE_STATUS): Entry(nodes.register_legacy),
        (_O.UPDATE, _T.NODE_STATUS): Entry(nodes.update_status_legacy),
        (_O.QUERY, _T.LEASE): Entry(leases.query, is_wrapped=True, places=Places.LEASES),
        (_O.INSERT, _T.LEASE): Entry(leases.create, is_wrapped=True, places=Places.LEASES),
        (_O.UPDATE, _T.LEASE): Entry(leases.renew, is_wrapped=True, places=Places.LEASES),
        (_O.QUERY, _T.POD): Entry(queries.read_object),
        (_O.INSERT, _T.POD): Entry(pods.create_mirror, is_wrapped=True),
        (_O.DELETE, _T.POD): Entry(pods.delete),
        (_O.PATCH, _T.POD_PATCH): Entry(pods.patch, is_wrapped=True),
        (_O.UPDATE, _T.POD_STATUS): Entry(pods.update_status_legacy, needs_name=False),
        (_O.INSERT, _T.EVENT): Entry(events.create),
        (_O.UPDATE, _T.EVENT): Entry(events.update),
        (_O.PATCH, _T.EVENT): Entry(events.patch),
        (_O.QUERY, _T.CONFIGMAP): Entry(queries.read_object),
        (_O.QUERY, _T.SECRET): Entry(queries.read_object),
        (_O.QUERY, _T.SERVICE_ACCOUNT_TOKEN): Entry(tokens.request),
        (_O.QUERY, _T.PERSISTENT_VOLUME): Entry(queries.read_volume),
        (_O.QUERY, _T.PERSISTENT_VOLUME_CLAIM): Entry(queries.read_volume),
        (_O.QUERY, _VOLUME_ATTACHMENT): Entry(queries.read_volume),
        (_O.QUERY, _K8S_CA): Entry(queries.read_api_server_ca, needs_name=False),
        (_O.INSERT, _CSR): Entry(certificates.refuse, is_wrapped=True),
        (_O.QUERY, _CSR): Entry(certificates.refuse),
        (_O.QUERY, _T.INVENTORY): Entry(queries.compare_inventory, places=Places.COMPARISONS),
    }
)
"""Everything that has an answer of its own; anything else is refused with 405."""

_SHARED_ORDER: Final[Mapping[str, str]] = MappingProxyType(
    {
        _T.POD_PATCH: _T.POD,
        _T.POD_STATUS: _T.POD,
        _T.NODE_PATCH: _T.NODE,
        _T.NODE_STATUS: _T.NODE,
    }
)


def order_type(resource_type: str) -> str:
    """Return the type of the object that a message changes: one object's messages keep order."""
    return _SHARED_ORDER.get(resource_type, resource_type)
