"""The record of certificates as an earlier version kept it: one ConfigMap with an entry a node.

It is closed before it is read: from then on it is immutable, and a cloudcore of that version, which
may run beside this one for a while, can issue no certificate that is not known here. Nothing that
it has is changed or deleted.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.trust.keptsecrets import NAMESPACE
from common.names import NodeID

logger = logging.getLogger(__name__)

CONFIGMAP: Final = "edgecertificates"
MOVED: Final = "cloudedge.io/moved"
"""The annotation of one whose entries all were taken over."""

Keep = Callable[[NodeID, str], Awaitable[None]]


async def move(client: KubeClient, keep: Keep) -> None:
    """Hand every entry of the earlier record to ``keep``, if that was not done yet.

    Raises:
        RemoteError: the API server refuses, or is away; then it is to be done again. An entry may
            be handed over more than once.
    """
    path = kinds.CONFIGMAPS.path(NAMESPACE, CONFIGMAP)
    body = await client.find(path)
    if body is None or MOVED in (_metadata(body).get("annotations") or {}):
        return
    closed = await client.patch(path, b'{"immutable":true}', content_type=MERGE_PATCH)
    entries: dict[str, str] = msgspec.json.decode(closed).get("data") or {}
    for node, text in entries.items():
        await keep(NodeID(node), text)
    done = {"metadata": {"annotations": {MOVED: "true"}}}
    await client.patch(path, msgspec.json.encode(done), content_type=MERGE_PATCH)
    logger.info("record of certificates taken over", extra={"entries": len(entries)})


def _metadata(body: bytes) -> dict[str, Any]:
    metadata: dict[str, Any] = msgspec.json.decode(body)["metadata"]
    return metadata
