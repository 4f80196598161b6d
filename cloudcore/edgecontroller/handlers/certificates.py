"""Certificate signing requests, which cloudcore does not pass on."""

from http import HTTPStatus

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from common.errors import RemoteError
from common.status import failure


async def refuse(call: Call, services: Services) -> Answer:  # noqa: ARG001 - a handler
    """Refuse the request: a node's certificates come by enrolment.

    Raises:
        RemoteError: 405, always.
    """
    raise RemoteError(
        failure(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "cloudcore passes no certificate signing request on: an edge node gets its"
            " certificates by enrolment",
            kind="certificatesigningrequests",
            name=call.resource.name,
        )
    )
