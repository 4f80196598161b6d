"""Build and parse resources: ``node/<id>/<namespace>/<type>/<name>``, the address of a message.

Between the daemons the node is known from the connection, so the wire carries the same string
without its first two parts; at an EdgeSite, where there is one node only, the prefix is never
there. Both are the "site form" below.

Source: KubeEdge cloud/pkg/common/messagelayer/util.go (BuildResource). Unlike there, a part that
contains ``/`` or is empty is an error, so that building and parsing are exact inverses.
"""

from typing import Final

from msgspec import Struct

from common.errors import ResourceError
from common.names import NodeID

_NODE_PREFIX: Final = "node"
_SITE_PARTS: Final = (2, 3)  # namespace/type, namespace/type/name


class Resource(Struct, frozen=True):
    """A parsed resource: no ``node_id`` in the site form, no ``name`` for a whole type."""

    node_id: NodeID
    namespace: str
    resource_type: str
    name: str

    def __str__(self) -> str:
        """Return the string that this was parsed from."""
        return build_resource(
            self.node_id, self.namespace, self.resource_type, self.name, edge_site=not self.node_id
        )


def build_resource(
    node_id: str,
    namespace: str,
    resource_type: str,
    resource_id: str = "",
    *,
    edge_site: bool = False,
) -> str:
    """Return ``node/<node_id>/<namespace>/<resource_type>[/<resource_id>]``.

    Args:
        node_id: the edge node; left out of the result when ``edge_site``.
        namespace: of the object; ``names.CLUSTER_SCOPE`` where it has none.
        resource_type: as in ``names.ResourceType``.
        resource_id: name of the object; empty to mean the type as a whole.
        edge_site: build the site form, in which there is no node.

    Raises:
        ResourceError: namespace or type is missing, the node is missing and this is not an
            EdgeSite, or a part contains ``/``.
    """
    missing = [
        label
        for label, part in (("namespace", namespace), ("resource type", resource_type))
        if not part
    ]
    if not node_id and not edge_site:
        missing.insert(0, "node id")
    if missing:
        raise ResourceError(f"a resource needs a {' and a '.join(missing)}")
    head = () if edge_site else (node_id,)
    parts = (*head, namespace, resource_type, *((resource_id,) if resource_id else ()))
    if any("/" in part for part in parts):
        raise ResourceError(f"a part of a resource may not contain '/': {parts}")
    return "/".join(parts if edge_site else (_NODE_PREFIX, *parts))


def parse_resource(text: str, *, edge_site: bool = False) -> Resource:
    """Return the parts of ``text``: the inverse of ``build_resource`` with the same ``edge_site``.

    Raises:
        ResourceError: the text has too few or too many parts, an empty one, or no ``node/`` prefix
            where it needs one.
    """
    parts = text.split("/")
    node_id = ""
    if not edge_site:
        if parts[0] != _NODE_PREFIX or len(parts) < 2:
            raise ResourceError(f"not a resource of a node: {text[:128]!r}")
        node_id = parts[1]
        parts = parts[2:]
    if len(parts) not in _SITE_PARTS or not all(parts) or (not edge_site and not node_id):
        raise ResourceError(f"not a resource: {text[:128]!r}")
    return Resource(
        NodeID(node_id), parts[0], parts[1], parts[2] if len(parts) == max(_SITE_PARTS) else ""
    )


def to_node(node_id: NodeID, site_form: str) -> str:
    """Return ``site_form``, as received from ``node_id``, with the node in front."""
    return f"{_NODE_PREFIX}/{node_id}/{site_form}"


def split_node(text: str) -> tuple[NodeID, str]:
    """Return the node of a resource and its site form, which is what the wire carries.

    Raises:
        ResourceError: ``text`` does not begin with ``node/<id>/``.
    """
    prefix, _, rest = text.partition("/")
    node_id, _, site_form = rest.partition("/")
    if prefix != _NODE_PREFIX or not node_id or not site_form:
        raise ResourceError(f"not a resource of a node: {text[:128]!r}")
    return NodeID(node_id), site_form
