"""Secrets in the namespace ``kubeedge`` that all cloudcores share.

They are replaced only as they were read: of many that want to at one moment, one does.
"""

import base64
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.errors import RemoteError
from common.status import failure

NAMESPACE: Final = "kubeedge"
ATTEMPTS: Final = 8
"""To write a record that others write too, before it is given up."""


class Kept(Struct, frozen=True):
    """What a Secret holds, and the version that holds it."""

    data: dict[str, bytes]
    version: str

    def __repr__(self) -> str:
        return f"Kept({sorted(self.data)}, version={self.version})"


async def read(client: KubeClient, name: str) -> Kept | None:
    """Return the Secret ``name``; None where there is none.

    Raises:
        RemoteError: the API server refuses, or is away.
    """
    body = await client.find(kinds.SECRETS.path(NAMESPACE, name))
    if body is None:
        return None
    # The API server takes nothing but base64 into a Secret.
    secret: dict[str, Any] = msgspec.json.decode(body)
    data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    return Kept(data, secret["metadata"]["resourceVersion"])


async def write(
    client: KubeClient, name: str, data: Mapping[str, bytes], kept: Kept | None
) -> bool:
    """Put ``data`` in place of what was ``kept``; return False where that is not there any more.

    Args:
        client: of the API server.
        name: of the Secret.
        data: all that it is to hold.
        kept: what ``read`` has returned; None to create it.

    Raises:
        RemoteError: the API server refuses, or is away.
    """
    if kept is None:
        return await is_written(_create(client, _secret(name, data, "")), replaces=False)
    path = kinds.SECRETS.path(NAMESPACE, name)
    return await is_written(client.update(path, _secret(name, data, kept.version)), replaces=True)


async def is_written(request: Awaitable[object], *, replaces: bool) -> bool:
    """Make a request that writes a record; return False where somebody else was quicker.

    Args:
        request: creates the record, or names the version that it replaces.
        replaces: which of the two.

    Raises:
        RemoteError: the API server refuses for another reason, or is away.
    """
    try:
        await request
    except RemoteError as error:
        is_gone = replaces and error.status.is_not_found
        if not error.status.is_conflict and not is_gone:
            raise
        return False
    return True


def contended(name: str) -> RemoteError:
    """Return what to raise where the Secret ``name`` could not be written in ``ATTEMPTS``."""
    return outrun(f"Secret {NAMESPACE}/{name}")


def outrun(what: str) -> RemoteError:
    """Return what to raise where ``what`` could not be written in ``ATTEMPTS``."""
    return RemoteError(failure(409, f"{what} is written by others all the time"))


async def _create(client: KubeClient, secret: bytes) -> None:
    """Create the Secret, and its namespace where that is not there.

    The namespace is left alone where it is: in a cluster, cloudcore may not create any.
    """
    path = kinds.SECRETS.path(NAMESPACE)
    try:
        await client.create(path, secret)
    except RemoteError as error:
        if not error.status.is_not_found:
            raise
        await _ensure_namespace(client)
        await client.create(path, secret)


async def _ensure_namespace(client: KubeClient) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    try:
        await client.create(kinds.NAMESPACES.path(), msgspec.json.encode(namespace))
    except RemoteError as error:
        if not error.status.is_conflict:
            raise


def _secret(name: str, data: Mapping[str, bytes], version: str) -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": version},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )
