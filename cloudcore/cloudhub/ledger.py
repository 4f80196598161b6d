"""Which certificates were issued: known to every cloudcore, by one ConfigMap.

It has an entry a node, ``{"serial": hex, "notAfter": RFC 3339}``, of the certificate that was
issued last. A plain token enrols only a name that has none that is still good.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cloudcore.cloudhub.credentials import NAMESPACE
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.clock import parse_rfc3339, rfc3339
from common.errors import RemoteError
from common.names import NodeID
from common.pki import Issued
from common.status import failure

CONFIGMAP: Final = "edgecertificates"
_ATTEMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """The certificate that a node got last."""

    serial: str
    not_after: datetime


class _Entry(msgspec.Struct):
    """An entry as it is written."""

    serial: str
    notAfter: str  # noqa: N815 - spelled as Kubernetes does


class Ledger:
    """The record of certificates. Its methods may be called by many cloudcores at once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        # Requests to this cloudcore wait for each other; only those to others can be in the way.
        self._writing = asyncio.Lock()

    async def find(self, node: NodeID) -> Entry | None:
        """Return the certificate that ``node`` got last; None where it never got one.

        Raises:
            RemoteError: the API server refuses, or is away.
        """
        return _entry(await self._read(), node)

    async def record(self, node: NodeID, issued: Issued, seen: Entry | None) -> None:
        """Note that ``node`` gets ``issued``, unless its entry is not ``seen`` any more.

        So of two requests for one name at the same moment, on whichever cloudcores, one wins.

        Raises:
            RemoteError: 409, somebody else has enrolled that name meanwhile; or as ``find``.
        """
        entry = {"serial": f"{issued.serial:x}", "notAfter": rfc3339(issued.not_after)}
        async with self._writing:
            await self._record(node, entry, seen)

    async def _record(self, node: NodeID, entry: dict[str, str], seen: Entry | None) -> None:
        for _ in range(_ATTEMPTS):
            found = await self._read()
            if _entry(found, node) != seen:
                break
            data = {**(found.get("data") or {}), node: msgspec.json.encode(entry).decode()}
            try:
                await self._write(found, data)
            except RemoteError as error:
                if not error.status.is_conflict:
                    raise
            else:
                return
        raise RemoteError(failure(409, f"{node} is being enrolled by somebody else"))

    async def _read(self) -> dict[str, Any]:
        body = await self._client.find(kinds.CONFIGMAPS.path(NAMESPACE, CONFIGMAP))
        if body is None:
            return {}
        found: dict[str, Any] = msgspec.json.decode(body)
        return found

    async def _write(self, found: dict[str, Any], data: dict[str, str]) -> None:
        if found:
            # It names the version that was read: the API server refuses if there is a newer one.
            body = msgspec.json.encode({**found, "data": data})
            await self._client.update(kinds.CONFIGMAPS.path(NAMESPACE, CONFIGMAP), body)
            return
        made = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIGMAP, "namespace": NAMESPACE},
            "data": data,
        }
        await self._client.create(kinds.CONFIGMAPS.path(NAMESPACE), msgspec.json.encode(made))


def _entry(configmap: dict[str, Any], node: NodeID) -> Entry | None:
    text = (configmap.get("data") or {}).get(node)
    if text is None:
        return None
    try:
        entry = msgspec.json.decode(text, type=_Entry)
        return Entry(entry.serial, parse_rfc3339(entry.notAfter))
    except (msgspec.DecodeError, ValueError) as error:
        where = f"ConfigMap {NAMESPACE}/{CONFIGMAP}, key {node}"
        raise RemoteError(failure(500, f"{where}: damaged, delete the key: {error}")) from error
