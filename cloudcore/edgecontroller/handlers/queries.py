"""What a node asks for: always answered, by the object or by a Status."""

from http import HTTPStatus

import msgspec

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.handlers.patience import until_known
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube import kinds
from cloudcore.kube.kinds import ResourceKind
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import ObjectView, PodView, view_as
from common.beehive.message import raw
from common.errors import RemoteError
from common.names import ModuleName, ResourceType
from common.status import failure

_IF_NAMED = frozenset({ResourceType.CONFIGMAP, ResourceType.SECRET})
_VOLUME_KINDS: dict[str, ResourceKind] = {
    one.kind.lower(): one
    for one in (
        kinds.PERSISTENT_VOLUMES,
        kinds.PERSISTENT_VOLUME_CLAIMS,
        kinds.VOLUME_ATTACHMENTS,
    )
}


async def read_object(call: Call, services: Services) -> Answer:
    """Return a ConfigMap, a Secret, a pod or the Node: kept, or as the API server has it.

    Whether the node may read it was judged when it asked, and may have changed while the answer was
    on its way.
    """
    one = await services.reader.read(ResourceType(call.resource.resource_type), call.key)
    if not _may_read(call, one, services.state.locations):
        kind, name = call.resource.resource_type, call.resource.name
        text = f"node {call.node} may no longer read {kind} {name}"
        raise RemoteError(failure(HTTPStatus.FORBIDDEN, text, kind=kind, name=name))
    return Answer(one.raw, one.view.metadata.resourceVersion)


def _may_read(call: Call, one: RawObject, locations: LocationCache) -> bool:
    if isinstance(one.view, PodView):  # newer than what is known of its location
        return one.view.node == call.node
    resource_type, key = call.resource.resource_type, call.key
    if resource_type in _IF_NAMED:
        return locations.names(call.node, resource_type, *key)
    return key.name == call.node


async def read_volume(call: Call, services: Services) -> Answer:
    """Return a volume object, if the API server lets this node have it."""
    kind = _VOLUME_KINDS[call.resource.resource_type]
    path = kind.path(*call.key)

    async def get() -> bytes:
        return await services.client.get(path, as_node=call.node)

    body = await until_known(get)
    return Answer(msgspec.Raw(body), view_as(body, ObjectView).metadata.resourceVersion)


async def read_api_server_ca(call: Call, services: Services) -> Answer:  # noqa: ARG001 - a handler
    """Return the certificate authority of the API server, as text in PEM."""
    pem = services.client.ca_pem().decode()
    return Answer(raw(pem), source=ModuleName.CLOUD_HUB)


async def compare_inventory(call: Call, services: Services) -> Answer:
    """Send the node the difference between what it holds and what it should, then its size."""
    return Answer(raw(await services.inventories.answer(call.node, call.mapping())))
