"""A node registers itself, and says how it is.

All writes are made in the node's name, so that the API server's NodeRestriction judges them, but
for one: the labels that make a Node an edge node. cloudcore puts them itself, and only on a Node
that this very call has created: otherwise a node could make another machine's Node its own.

Source: KubeEdge cloud/pkg/edgecontroller/controller/upstream.go (registerNode, patchNode);
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

import msgspec

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.statuspatch import NODE_LISTS, is_contained
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH
from cloudcore.kube.views import NodeView, view_as
from cloudcore.noderestriction import ROLE_LABELS, update_fault
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.names import AGENT_NODE_LABEL, EDGE_NODE_LABEL, UID, NodeID
from common.status import failure

logger = logging.getLogger(__name__)

_LABEL_ATTEMPTS: Final = 4


async def register(call: Call, services: Services) -> Answer:
    """Create the Node, and make it an edge node."""
    node = call.object()
    metadata = node["metadata"]
    metadata["labels"] = _without_roles(metadata.get("labels"))
    path = kinds.NODES.path(name=call.node)
    try:
        created = await services.client.create(
            kinds.NODES.path(), msgspec.json.encode(node), as_node=call.node
        )
    except RemoteError as error:
        if not error.status.is_conflict:
            raise
        existing = view_as(await services.client.get(path), NodeView)
        if existing.is_edge:
            raise
        raise not_an_edge_node(call.node) from error
    uid = view_as(created, NodeView).metadata.uid
    logger.info("node registered", extra={"node": call.node})
    return Answer(msgspec.Raw(await _make_edge_node(call.node, uid, services)))


def not_an_edge_node(node: NodeID) -> RemoteError:
    """Return the refusal of a node whose Node somebody else has made."""
    return RemoteError(
        failure(
            HTTPStatus.FORBIDDEN,
            f"Node {node} exists and is not an edge node; if it is this machine's, an"
            f" administrator says so by: kubectl label node {node} {EDGE_NODE_LABEL}=",
            kind="nodes",
            name=node,
        )
    )


async def patch(call: Call, services: Services) -> Answer:
    """Change the Node's status by a strategic merge patch; ``{}`` asks for the Node."""
    change = call.mapping()
    current = services.state.nodes.cache.settled(call.key)
    if current is not None and is_contained(change, msgspec.json.decode(current.raw), NODE_LISTS):
        return Answer(current.raw, current.view.metadata.resourceVersion)
    path = kinds.NODES.path(name=call.node)
    if not change:
        body = await services.client.get(path, as_node=call.node)
    else:
        body = await services.client.patch(
            kinds.NODES.path(name=call.node, subresource="status"),
            call.data(),
            content_type=STRATEGIC_MERGE_PATCH,
            as_node=call.node,
        )
    metadata = view_as(body, NodeView).metadata
    services.state.nodes.cache.note_written(call.key, metadata.uid, metadata.resourceVersion)
    return Answer(msgspec.Raw(body), metadata.resourceVersion)


async def update(call: Call, services: Services) -> Answer:
    """Take over labels and annotations, and nothing else of the Node.

    Raises:
        RemoteError: 403, it asks for a label or a taint that a node may not put on itself.
    """
    wanted = call.object()
    path = kinds.NODES.path(name=call.node)
    current = msgspec.json.decode(await services.client.get(path, as_node=call.node))
    fault = update_fault(wanted, current)
    if fault:
        raise RemoteError(failure(HTTPStatus.FORBIDDEN, fault, kind="nodes", name=call.node))
    metadata = wanted["metadata"]
    change: dict[str, Any] = {
        key: metadata[key]
        for key in ("labels", "annotations")
        if isinstance(metadata.get(key), dict)
    }
    if metadata.get("uid"):
        change["uid"] = metadata["uid"]
    await services.client.patch(
        path,
        msgspec.json.encode({"metadata": change}),
        content_type=MERGE_PATCH,
        as_node=call.node,
    )
    return Answer()


async def register_legacy(call: Call, services: Services) -> Answer:
    """Do as ``register``, for edges that say it by ``nodestatus``."""
    await register(call, services)
    return Answer()


async def update_status_legacy(call: Call, services: Services) -> Answer:
    """Replace what a ``NodeStatusRequest`` says of the Node's status."""
    request = call.mapping()
    status = request.get("Status")
    if not isinstance(status, dict):
        raise call.invalid("the request has no Status")
    change: dict[str, Any] = {"status": status}
    if request.get("UID"):
        change["metadata"] = {"uid": request["UID"]}
    await services.client.patch(
        kinds.NODES.path(name=call.node, subresource="status"),
        msgspec.json.encode(change),
        content_type=STRATEGIC_MERGE_PATCH,
        as_node=call.node,
    )
    return Answer()


def _without_roles(labels: object) -> dict[str, Any]:
    if not isinstance(labels, dict):
        return {}
    return {label: value for label, value in labels.items() if label not in ROLE_LABELS}


async def _make_edge_node(node: NodeID, uid: UID, services: Services) -> bytes:
    """Label the Node that was just created; where that fails it is taken back.

    A Node that stays without the label could never register again: see the module's docstring.
    """
    path = kinds.NODES.path(name=node)
    labels = {EDGE_NODE_LABEL: "", AGENT_NODE_LABEL: ""}
    body = msgspec.json.encode({"metadata": {"uid": uid, "labels": labels}})
    backoff = Backoff(BackoffPolicy(first_s=0.1))
    for attempt in range(1, _LABEL_ATTEMPTS + 1):
        try:
            return await services.client.patch(path, body, content_type=MERGE_PATCH)
        except RemoteError as error:
            is_final = error.status.code < HTTPStatus.INTERNAL_SERVER_ERROR
            if is_final or attempt == _LABEL_ATTEMPTS:
                logger.warning(
                    "new node cannot be labelled and is taken back",
                    extra={"node": node, "code": error.status.code},
                )
                options = msgspec.json.encode({"preconditions": {"uid": uid}})
                await services.client.delete(path, options)
                raise
        await asyncio.sleep(backoff.next_s())
    raise AssertionError("the last attempt returns or raises")
