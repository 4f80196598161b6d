"""Which certificates were issued: known to every cloudcore, by a ConfigMap for each node.

It holds ``{"serial": hex, "notAfter": RFC 3339, "key": hash}``, of the certificate that was issued
last. A plain token enrols only a name that has none that is still good, or the key that has it. An
object for each node costs the same however many nodes there are, and the API server itself lets
only one of two create it.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cloudcore.cloudhub import earlierledger
from cloudcore.cloudhub.credentials import NAMESPACE
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common.clock import parse_rfc3339, rfc3339
from common.errors import RemoteError
from common.names import NodeID
from common.pki import Issued
from common.status import failure

_KEY: Final = "certificate"
_PREFIX: Final = "edgecertificate."
_HASHED_PREFIX: Final = "edgecertificate-of."
_MAX_NAME_CHARS: Final = 253
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Entry:
    """The certificate that a node got last."""

    serial: str
    not_after: datetime
    version: str
    """Of the record."""

    key_hash: str = ""
    """Of the public key that has the certificate (``pki.key_hash``); "" where it is not known."""


class _Entry(msgspec.Struct):
    """An entry as it is written."""

    serial: str
    notAfter: str  # noqa: N815 - spelled as Kubernetes does
    key: str = ""


class Ledger:
    """The record of certificates. Its methods may be called by many cloudcores at once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._moving = asyncio.Lock()
        self._is_moved = False

    async def find(self, node: NodeID) -> Entry | None:
        """Return the certificate that ``node`` got last; None where it never got one.

        Raises:
            RemoteError: the API server refuses, or is away.
        """
        await self._take_over_the_earlier_one()
        body = await self._client.find(_path(node))
        return None if body is None else _entry(body, node)

    async def record(self, node: NodeID, issued: Issued, seen: Entry | None) -> None:
        """Note that ``node`` gets ``issued``, unless its entry is not ``seen`` any more.

        So of two requests for one name at the same moment, on whichever cloudcores, one wins.

        Raises:
            RemoteError: 409, somebody else has enrolled that name meanwhile; or as ``find``.
        """
        until = rfc3339(issued.not_after)
        entry = _Entry(f"{issued.serial:x}", until, issued.key_hash)
        text = msgspec.json.encode(entry).decode()
        try:
            if seen is None:
                await self._client.create(_collection(), _configmap(node, text))
            else:
                await self._client.update(_path(node), _configmap(node, text, seen.version))
        except RemoteError as error:
            if not error.status.is_conflict:
                raise
            status = failure(409, f"{node} is being enrolled by somebody else")
            raise RemoteError(status) from error

    async def _take_over_the_earlier_one(self) -> None:
        if self._is_moved:
            return
        async with self._moving:
            if not self._is_moved:
                await earlierledger.move(self._client, self._keep)
                self._is_moved = True

    async def _keep(self, node: NodeID, text: str) -> None:
        """Take over an entry of the earlier record, unless there is one of this."""
        try:
            await self._client.create(_collection(), _configmap(node, text))
        except RemoteError as error:
            if not error.status.is_conflict:
                raise


def record_name(node: NodeID) -> str:
    """Return the name of the ConfigMap for ``node``: readable, wherever that can be a name."""
    name = f"{_PREFIX}{node}"
    if len(name) <= _MAX_NAME_CHARS and _NAME.fullmatch(node) is not None:
        return name
    return f"{_HASHED_PREFIX}{hashlib.sha256(node.encode()).hexdigest()}"


def _collection() -> str:
    return kinds.CONFIGMAPS.path(NAMESPACE)


def _path(node: NodeID) -> str:
    return kinds.CONFIGMAPS.path(NAMESPACE, record_name(node))


def _configmap(node: NodeID, text: str, version: str = "") -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": record_name(node),
                "namespace": NAMESPACE,
                "resourceVersion": version,
            },
            "data": {"node": node, _KEY: text},
        }
    )


def _entry(body: bytes, node: NodeID) -> Entry:
    configmap: dict[str, Any] = msgspec.json.decode(body)
    text = (configmap.get("data") or {}).get(_KEY, "")
    try:
        entry = msgspec.json.decode(text, type=_Entry)
        not_after = parse_rfc3339(entry.notAfter)
    except (msgspec.DecodeError, ValueError) as error:
        where = f"ConfigMap {NAMESPACE}/{record_name(node)}"
        raise RemoteError(failure(500, f"{where}: damaged, delete it: {error}")) from error
    return Entry(entry.serial, not_after, configmap["metadata"]["resourceVersion"], entry.key)
