"""Tokens of service accounts, asked for in the node's name.

The API server's NodeRestriction gives a node only tokens that are bound to one of its own pods.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

import msgspec

from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.handlers.patience import until_known
from cloudcore.kube import kinds


async def request(call: Call, services: Services) -> Answer:
    """Return the TokenRequest with its token."""
    body = msgspec.json.encode(call.mapping())
    path = kinds.SERVICE_ACCOUNTS.path(*call.key, subresource="token")

    async def create() -> bytes:
        return await services.client.create(path, body, as_node=call.node)

    return Answer(msgspec.Raw(await until_known(create)))
