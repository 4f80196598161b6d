"""The objects that travel in the measurements: a ConfigMap of 1 KiB, and pods that name it."""

import asyncio
from collections.abc import Iterable
from typing import Final

from common.names import NodeID
from deploy.devcluster.api import Api, Object

CONFIGMAP: Final = "shared"
_AT_A_TIME: Final = 32  # requests to the API server


def path(namespace: str, rest: str) -> str:
    """Return the API's path of ``rest`` (``pods``, ``configmaps/shared``) in a namespace."""
    return f"/api/v1/namespaces/{namespace}/{rest}"


def configmap(number: int) -> Object:
    """Return version ``number`` of the ConfigMap."""
    return {"metadata": {"name": CONFIGMAP}, "data": {"number": str(number), "text": "x" * 1024}}


def pod(node: NodeID, name: str) -> Object:
    """Return a pod that is bound to ``node`` and names the ConfigMap."""
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox",
                    "envFrom": [{"configMapRef": {"name": CONFIGMAP}}],
                }
            ],
        },
    }


async def create_pods(api: Api, namespace: str, pods: Iterable[tuple[NodeID, str]]) -> None:
    """Create a pod for each node and name, some at a time."""
    places = asyncio.Semaphore(_AT_A_TIME)

    async def create(node: NodeID, name: str) -> None:
        async with places:
            await api.create(path(namespace, "pods"), pod(node, name))

    async with asyncio.TaskGroup() as group:
        for node, name in pods:
            group.create_task(create(node, name))


async def delete(api: Api, paths: Iterable[str]) -> None:
    """Delete objects at once, some at a time; pods without waiting for their nodes."""
    places = asyncio.Semaphore(_AT_A_TIME)

    async def remove(one: str) -> None:
        async with places:
            await api.delete(one, grace_s=0)

    async with asyncio.TaskGroup() as group:
        for one in paths:
            group.create_task(remove(one))
