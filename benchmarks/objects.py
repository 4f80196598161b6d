"""The objects that travel in the measurements: ConfigMaps of 1 KiB, and pods that name them."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from common.names import NodeID
from deploy.devcluster.api import Api, Object

CONFIGMAP: Final = "shared"
TEXT: Final = "".join(hashlib.sha256(b"%d" % part).hexdigest() for part in range(16))
"""1 KiB that is half as long when compressed, as a usual configuration is."""

_AT_A_TIME: Final = 32  # requests to the API server


def path(namespace: str, rest: str) -> str:
    """Return the API's path of ``rest`` (``pods``, ``configmaps/shared``) in a namespace."""
    return f"/api/v1/namespaces/{namespace}/{rest}"


def configmap(number: int, name: str = CONFIGMAP) -> Object:
    """Return version ``number`` of a ConfigMap."""
    return {"metadata": {"name": name}, "data": {"number": str(number), "text": TEXT}}


def pod(node: NodeID, name: str, configmaps: Sequence[str] = (CONFIGMAP,)) -> Object:
    """Return a pod that is bound to ``node`` and names ``configmaps``."""
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "c",
                    "image": "busybox",
                    "envFrom": [{"configMapRef": {"name": name}} for name in configmaps],
                }
            ],
        },
    }


async def create_pods(
    api: Api,
    namespace: str,
    pods: Iterable[tuple[NodeID, str]],
    configmaps: Sequence[str] = (CONFIGMAP,),
) -> None:
    """Create a pod for each node and name, some at a time; each names ``configmaps``."""
    places = asyncio.Semaphore(_AT_A_TIME)

    async def create(node: NodeID, name: str) -> None:
        async with places:
            await api.create(path(namespace, "pods"), pod(node, name, configmaps))

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


async def make_ready(api: Api, namespace: str, pods: Iterable[str]) -> None:
    """Say that pods run and are Ready, some at a time."""
    places = asyncio.Semaphore(_AT_A_TIME)
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": None}
    status = {"phase": "Running", "conditions": [condition]}

    async def say(name: str) -> None:
        async with places:
            await api.patch(path(namespace, f"pods/{name}/status"), {"status": status})

    async with asyncio.TaskGroup() as group:
        for name in pods:
            group.create_task(say(name))
