"""Status of pods, their end, and mirror pods.

Source: KubeEdge cloud/pkg/edgecontroller/controller/upstream.go (patchPod, deletePod, createPod,
updatePodStatus).
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec

from cloudcore.edgecontroller.handlers import patience
from cloudcore.edgecontroller.handlers.call import Answer, Call, Services, Withdrawal
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.edgecontroller.sender import skeleton
from cloudcore.edgecontroller.statuspatch import POD_LISTS, is_contained
from cloudcore.kube import kinds
from cloudcore.kube.client import STRATEGIC_MERGE_PATCH
from cloudcore.kube.views import ObjectKey, PodView, view_as
from common.delivery.backoff import Backoff
from common.errors import RemoteError
from common.names import UID, Operation, ResourceType
from common.status import Status, failure

_MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"


async def patch(call: Call, services: Services) -> Answer:
    """Change the pod's status by a strategic merge patch.

    The patch names the pod's UID, which the API server takes as a precondition: the status of a
    pod can never become that of its successor. Where it says what is there already, nothing is
    written.
    """
    change = call.mapping()
    metadata = change.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("uid"):
        raise call.invalid("the patch names no metadata.uid")
    current = services.state.pods.cache.settled(call.key)
    if current is not None and is_contained(change, msgspec.json.decode(current.raw), POD_LISTS):
        return Answer(current.raw, current.view.metadata.resourceVersion)
    return await _patch_status(call, call.key, call.data(), services)


async def create_mirror(call: Call, services: Services) -> Answer:
    """Create the mirror of a static pod, by which the cluster sees it."""
    pod = call.object()
    spec = pod.get("spec")
    if not isinstance(spec, dict) or spec.get("nodeName") != call.node:
        raise call.invalid("spec.nodeName is not this node")
    annotations = pod["metadata"].get("annotations")
    if not isinstance(annotations, dict) or _MIRROR_ANNOTATION not in annotations:
        raise call.invalid(f"a node creates mirror pods only, with {_MIRROR_ANNOTATION}")
    body = await services.client.create(
        kinds.PODS.path(call.key.namespace), msgspec.json.encode(pod), as_node=call.node
    )
    return Answer(msgspec.Raw(body))


async def delete(call: Call, services: Services) -> Answer:
    """Delete the pod that the node has ended; that it is gone already is a success as well.

    The content are DeleteOptions, or from old edges the UID alone. Nothing of the options is taken
    but the UID, and without one that of the pod that is known to be on this node: a late message
    must never end a pod of the same name.
    """
    uid = _uid_in(call) or services.state.locations.pod_uid(*call.key)
    if not uid:
        raise call.invalid("the deletion names no UID")
    path = kinds.PODS.path(*call.key)
    options = msgspec.json.encode({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
    backoff = Backoff(patience.POLICY)
    for _ in range(patience.ATTEMPTS):
        try:
            await services.client.delete(path, options, as_node=call.node)
        except RemoteError as error:
            if not error.status.is_not_found and not error.status.is_conflict:
                raise
            # NodeRestriction also says 404 of a pod that its own cache does not have yet.
            if await _is_gone(path, uid, services):
                return Answer()
        else:
            return Answer()
        await asyncio.sleep(backoff.next_s())
    status = failure(503, "the API server does not delete the pod yet", kind="pods")
    raise RemoteError(status)


async def _is_gone(path: str, uid: str, services: Services) -> bool:
    """Whether there is no such pod any more, by a consistent read."""
    try:
        body = await services.client.get(path)
    except RemoteError as error:
        if error.status.is_not_found:
            return True
        raise
    return view_as(body, PodView).metadata.uid != uid


async def update_status_legacy(call: Call, services: Services) -> Answer:
    """Replace what ``PodStatusRequest`` says of one pod, or of several where no name is given.

    A pod that is not there, or is another one, is withdrawn from the node.
    """
    value = call.value()
    requests = value if isinstance(value, list) else [value]
    withdrawals: list[Withdrawal] = []
    for request in requests:
        uid, name, status = _status_request(call, request)
        key = ObjectKey(call.key.namespace, name)
        change = msgspec.json.encode({"metadata": {"uid": uid}, "status": status})
        try:
            await _patch_status(call, key, change, services)
        except RemoteError as error:
            if not error.status.is_not_found and not error.status.is_conflict:
                raise
            withdrawals.append(_withdrawal(call, key, uid))
    return Answer(withdrawals=tuple(withdrawals))


async def _patch_status(call: Call, key: ObjectKey, change: bytes, services: Services) -> Answer:
    try:
        body = await services.client.patch(
            kinds.PODS.path(*key, subresource="status"),
            change,
            content_type=STRATEGIC_MERGE_PATCH,
            as_node=call.node,
        )
    except RemoteError as error:
        if _is_another_pod(error.status):
            raise RemoteError(_conflict(key)) from error
        raise
    metadata = view_as(body, PodView).metadata
    services.state.pods.cache.note_written(key, metadata.uid, metadata.resourceVersion)
    return Answer(msgspec.Raw(body), metadata.resourceVersion)


def _is_another_pod(status: Status) -> bool:
    """Whether a patch was refused for its UID, which is said as an attempt to change that."""
    causes = (status.details or {}).get("causes") or ()
    return any(isinstance(one, dict) and one.get("field") == "metadata.uid" for one in causes)


def _conflict(key: ObjectKey) -> Status:
    return failure(
        HTTPStatus.CONFLICT,
        f"pod {key.namespace}/{key.name} is another one: its UID is not that of the patch",
        kind="pods",
        name=key.name,
    )


def _uid_in(call: Call) -> str:
    if bytes(call.message.content).startswith(b'"'):
        uid = msgspec.json.decode(call.message.content)
        if not str(uid).lstrip().startswith("{"):
            return str(uid)
    preconditions = call.mapping().get("preconditions")
    uid = preconditions.get("uid") if isinstance(preconditions, dict) else ""
    return uid if isinstance(uid, str) else ""


def _status_request(call: Call, request: object) -> tuple[UID, str, dict[str, Any]]:
    """Return the parts of a ``PodStatusRequest``, whose keys are Go's field names."""
    if not isinstance(request, dict):
        raise call.invalid("the request is not an object")
    uid, name = request.get("UID"), request.get("Name") or call.key.name
    status = request.get("Status")
    if not isinstance(uid, str) or not uid or not isinstance(name, str) or not name:
        raise call.invalid("the request has no UID or no Name")
    if call.key.name and name != call.key.name:
        raise call.invalid("Name is not the name in the resource")
    if not isinstance(status, dict):
        raise call.invalid("the request has no Status")
    return UID(uid), name, status


def _withdrawal(call: Call, key: ObjectKey, uid: UID) -> Withdrawal:
    delivery = Delivery(call.node, Operation.DELETE, ResourceType.POD, key.namespace, key.name)
    return Withdrawal(delivery, skeleton(kinds.PODS.kind, kinds.PODS.api_version, delivery, uid))
