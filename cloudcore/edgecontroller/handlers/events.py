"""Events that the edge reports, written in the node's name.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import msgspec

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.kube import kinds
from cloudcore.kube.client import STRATEGIC_MERGE_PATCH
from common import wire
from common.errors import RemoteError, WireError
from common.status import failure


async def create(call: Call, services: Services) -> Answer:
    """Create the event."""
    body = msgspec.json.encode(call.object())
    await services.client.create(kinds.EVENTS.path(call.key.namespace), body, as_node=call.node)
    return Answer()


async def update(call: Call, services: Services) -> Answer:
    """Replace the event."""
    body = msgspec.json.encode(call.object())
    await services.client.update(kinds.EVENTS.path(*call.key), body, as_node=call.node)
    return Answer()


async def patch(call: Call, services: Services) -> Answer:
    """Change the event by ``patchData`` of ``{"event": Event, "patchData": text}``."""
    change = call.mapping().get("patchData")
    if not isinstance(change, str):
        raise call.invalid("the request has no patchData")
    try:
        wire.check_depth(change.encode())
    except WireError as error:
        raise RemoteError(failure(400, str(error))) from error
    await services.client.patch(
        kinds.EVENTS.path(*call.key),
        change.encode(),
        content_type=STRATEGIC_MERGE_PATCH,
        as_node=call.node,
    )
    return Answer()
