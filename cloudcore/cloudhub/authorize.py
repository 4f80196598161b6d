"""What a node may ask for: a pure function over a table, and whatever is not in it is denied.

A node reaches its own Node and lease, the pods that are bound to it, what those pods name, tokens
for their service accounts, and events about all these (promise P4). What it may say of its own Node
is judged by ``noderestriction``; of an update, which has to be compared with what there is, by the
handler. The API server's Node
authorizer and NodeRestriction judge each write once more, because cloudcore makes it in the node's
name; this is the first wall, not the only one.

Source: https://kubernetes.io/docs/reference/access-authn-authz/node/ and KubeEdge
cloud/pkg/cloudhub/authorization (verbs and resources), whose default is to allow everything.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

from cloudcore import noderestriction
from cloudcore.cloudhub import claims
from common.beehive.message import Message
from common.errors import ResourceError, WireError
from common.names import (
    CLUSTER_SCOPE,
    K8S_CA_RESOURCE,
    NODE_LEASE_NAMESPACE,
    UID,
    NodeID,
    Operation,
    ResourceType,
)
from common.resource import Resource, parse_resource
from common.status import Status, failure, not_found


class Locations(Protocol):
    """What the LocationCache knows of nodes and pods."""

    def names(self, node: NodeID, resource_type: str, namespace: str, name: str) -> bool:
        """Whether a pod of ``node`` names that object.

        ``resource_type`` is the wire's ``configmap``, ``secret``, ``persistentvolumeclaim`` or
        ``persistentvolume``, or ``serviceaccount``.
        """

    def pod_node(self, namespace: str, name: str) -> NodeID | None:
        """Return the edge node of a pod; None where there is no such pod on any edge node."""

    def pod_uid(self, namespace: str, name: str) -> UID | None:
        """Return the UID of a pod on an edge node; None where there is none."""


class Attempt(Struct, frozen=True):
    """A message of ``node`` that is about ``target``."""

    node: NodeID
    message: Message
    target: Resource
    locations: Locations

    def denied(self, why: str) -> Status:
        """Return the Status that refuses this, and tells why."""
        target = self.target
        return failure(
            403,
            f"node {self.node} may not {self.message.operation} {target.resource_type}"
            f" {target.namespace}/{target.name}: {why}",
            kind=target.resource_type,
            name=target.name,
        )

    def owns_pod(self, namespace: str, name: str) -> bool:
        """Whether that pod is bound to the node."""
        return self.locations.pod_node(namespace, name) == self.node


Rule = Callable[[Attempt], Status | None]


def authorize(node: NodeID, message: Message, locations: Locations) -> Status | None:
    """Return None if ``node`` may send ``message``, else why it may not.

    Args:
        node: the name in the client's certificate.
        message: as it came from the wire, the resource in its site form.
        locations: which pods are bound to the node, and what they name.

    Returns:
        None; or a Status with code 403, with 404 for a pod that does not exist, with 405 for an
        operation that the type does not have, or with 400 where resource or content are not what
        the operation needs.
    """
    if message.resource == K8S_CA_RESOURCE and message.operation is Operation.QUERY:
        return None
    try:
        target = parse_resource(message.resource, edge_site=True)
    except ResourceError as error:
        return failure(400, str(error))
    attempt = Attempt(node, message, target, locations)
    rule = RULES.get((message.operation, target.resource_type))
    if rule is None:
        return _unserved(attempt)
    try:
        return rule(attempt)
    except WireError as error:
        return failure(400, str(error), kind=target.resource_type, name=target.name)


def _unserved(attempt: Attempt) -> Status:
    kind = attempt.target.resource_type
    if any(kind == served for _, served in RULES):
        return failure(405, f"{kind} has no operation {attempt.message.operation}", kind=kind)
    return attempt.denied("cloudcore does not serve this type")


def _own_node(attempt: Attempt) -> Status | None:
    """The Node of that name, whatever namespace older edges put in front of it."""
    if attempt.target.name != attempt.node:
        return attempt.denied("it is not its own")
    return None


def _own_node_object(attempt: Attempt) -> Status | None:
    return _own_node(attempt) or _same_object(attempt, namespace="")


def _own_new_node(attempt: Attempt) -> Status | None:
    """Its Node as it registers it."""
    return _own_node_object(attempt) or _unless(
        attempt, noderestriction.registration_fault(claims.node(attempt.message))
    )


def _own_node_patch(attempt: Attempt) -> Status | None:
    return _own_node(attempt) or _unless(
        attempt, noderestriction.patch_fault(claims.node(attempt.message))
    )


def _unless(attempt: Attempt, fault: str) -> Status | None:
    return attempt.denied(fault) if fault else None


def _own_lease(attempt: Attempt) -> Status | None:
    if attempt.target.namespace != NODE_LEASE_NAMESPACE or attempt.target.name != attempt.node:
        return attempt.denied("it is not its own")
    return None


def _own_lease_object(attempt: Attempt) -> Status | None:
    return _own_lease(attempt) or _same_object(attempt, namespace=NODE_LEASE_NAMESPACE)


def _own_inventory(attempt: Attempt) -> Status | None:
    if attempt.target.namespace != CLUSTER_SCOPE or attempt.target.name != attempt.node:
        return attempt.denied("it is not its own")
    return None


def _own_pod(attempt: Attempt) -> Status | None:
    return _pod(attempt, attempt.target.name)


def _own_pod_status(attempt: Attempt) -> Status | None:
    refused = _own_pod(attempt)
    if refused is None:
        claims.require_status_only(attempt.message)
    return refused


def _own_pods(attempt: Attempt) -> Status | None:
    """One pod, or those that the content lists."""
    if attempt.target.name:
        return _own_pod(attempt)
    verdicts = (_pod(attempt, name) for name in claims.status_pods(attempt.message))
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _pod(attempt: Attempt, name: str) -> Status | None:
    if not name:
        return attempt.denied("it names no pod")
    node = attempt.locations.pod_node(attempt.target.namespace, name)
    if node is None:
        return not_found(ResourceType.POD, name)
    return None if node == attempt.node else attempt.denied("the pod is bound to another node")


def _named(attempt: Attempt) -> Status | None:
    target = attempt.target
    if not attempt.locations.names(
        attempt.node, target.resource_type, target.namespace, target.name
    ):
        return attempt.denied("no pod bound to it names this object")
    return None


def _token(attempt: Attempt) -> Status | None:
    """A token for a service account that its pods use, bound to one of its pods."""
    target, locations = attempt.target, attempt.locations
    if not locations.names(attempt.node, "serviceaccount", target.namespace, target.name):
        return attempt.denied("no pod bound to it uses this service account")
    bound = claims.bound_object(attempt.message)
    if bound.kind != "Pod" or not attempt.owns_pod(target.namespace, bound.name):
        return attempt.denied("the token is not bound to a pod of this node")
    if bound.uid != locations.pod_uid(target.namespace, bound.name):
        return attempt.denied("the token is bound to another UID than the pod's")
    return None


def _event(attempt: Attempt) -> Status | None:
    """An event about its Node or one of its pods, under a name that no other object's event has."""
    event = claims.event(attempt.message)
    about = event.involvedObject
    if about.kind == "Node":
        owned = about.name == attempt.node and not about.namespace
    else:
        owned = (
            about.kind == "Pod"
            and about.namespace == attempt.target.namespace
            and attempt.owns_pod(about.namespace, about.name)
        )
    if not owned:
        return attempt.denied("it is about an object of which the node has no part")
    if not claims.is_event_name(attempt.target.name, about.name):
        return attempt.denied(f"its name must be {about.name}. and hexadecimal digits")
    metadata = event.metadata
    if (metadata.namespace, metadata.name) != (attempt.target.namespace, attempt.target.name):
        return attempt.denied("its content is another event's")
    return None


def _mirror_pod(attempt: Attempt) -> Status | None:
    if attempt.target.namespace == CLUSTER_SCOPE:
        return attempt.denied("a pod is in a namespace")
    fault = claims.mirror_pod_fault(
        attempt.message, attempt.node, attempt.target.namespace, attempt.target.name
    )
    return _unless(attempt, fault)


def _same_object(attempt: Attempt, *, namespace: str) -> Status | None:
    """The object inside is the one that the resource names."""
    metadata = claims.metadata(attempt.message)
    if metadata.name != attempt.node or metadata.namespace not in ("", namespace):
        return attempt.denied("its content is another object")
    return None


_O: Final = Operation
_T: Final = ResourceType

RULES: Final[Mapping[tuple[Operation, str], Rule]] = MappingProxyType(
    {
        (_O.INSERT, _T.NODE): _own_new_node,
        (_O.UPDATE, _T.NODE): _own_node_object,
        (_O.QUERY, _T.NODE): _own_node,
        (_O.PATCH, _T.NODE_PATCH): _own_node_patch,
        (_O.INSERT, _T.NODE_STATUS): _own_new_node,
        (_O.UPDATE, _T.NODE_STATUS): _own_node,
        (_O.QUERY, _T.LEASE): _own_lease,
        (_O.INSERT, _T.LEASE): _own_lease_object,
        (_O.UPDATE, _T.LEASE): _own_lease_object,
        (_O.QUERY, _T.POD): _own_pod,
        (_O.INSERT, _T.POD): _mirror_pod,
        (_O.DELETE, _T.POD): _own_pod,
        (_O.PATCH, _T.POD_PATCH): _own_pod_status,
        (_O.UPDATE, _T.POD_STATUS): _own_pods,
        (_O.INSERT, _T.EVENT): _event,
        (_O.UPDATE, _T.EVENT): _event,
        (_O.PATCH, _T.EVENT): _event,
        (_O.QUERY, _T.CONFIGMAP): _named,
        (_O.QUERY, _T.SECRET): _named,
        (_O.QUERY, _T.PERSISTENT_VOLUME): _named,
        (_O.QUERY, _T.PERSISTENT_VOLUME_CLAIM): _named,
        (_O.QUERY, _T.SERVICE_ACCOUNT_TOKEN): _token,
        (_O.QUERY, _T.INVENTORY): _own_inventory,
    }
)
"""Everything that a node may try, and what decides."""
