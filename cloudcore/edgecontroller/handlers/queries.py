"""What a node asks for: always answered, by the object or by a Status."""

import msgspec

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.handlers.patience import until_known
from cloudcore.kube import kinds
from cloudcore.kube.kinds import ResourceKind
from cloudcore.kube.views import ObjectView, view_as
from common.beehive.message import raw
from common.names import ModuleName, ResourceType

_VOLUME_KINDS: dict[str, ResourceKind] = {
    one.kind.lower(): one
    for one in (
        kinds.PERSISTENT_VOLUMES,
        kinds.PERSISTENT_VOLUME_CLAIMS,
        kinds.VOLUME_ATTACHMENTS,
    )
}


async def read_object(call: Call, services: Services) -> Answer:
    """Return a ConfigMap, a Secret, a pod or the Node: kept, or as the API server has it."""
    one = await services.reader.read(ResourceType(call.resource.resource_type), call.key)
    return Answer(one.raw, one.view.metadata.resourceVersion)


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
