"""Which certificates were issued and revoked: known to every cloudcore, by a ConfigMap a node.

What it holds tells ``cloudcore.trust.ledgerentry``. A plain token enrols only a name that has no
certificate that is still good, or the key that has it. An object for each node costs the same
however many nodes there are, and the API server itself lets only one of two create it.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import earlierledger, keptsecrets, ledgerentry
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.ledgerentry import DamagedRecord, Entry
from common.errors import RemoteError
from common.issuing import Issued
from common.names import NodeID
from common.status import failure

Change = Callable[[Entry | None], Entry | None]
"""From what is said of a node to what is to be said of it; None where nothing has to change."""


class Listing(Struct):
    """All records, as they were at one moment."""

    entries: dict[NodeID, Entry] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    """For each record that cannot be read, what to do."""


class Ledger:
    """The record of certificates. Its methods may be called by many cloudcores at once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._moving = asyncio.Lock()
        self._is_moved = False

    async def find(self, node: NodeID) -> Entry | None:
        """Return what is known of ``node``; None where it never got a certificate.

        Raises:
            RemoteError: the API server refuses, or is away; or the record is damaged.
        """
        await self._take_over_the_earlier_one()
        body = await self._client.find(ledgerentry.record_path(node))
        if body is None:
            return None
        try:
            return ledgerentry.entry_of(msgspec.json.decode(body))
        except DamagedRecord as error:
            raise RemoteError(failure(500, str(error))) from error

    async def record(
        self,
        node: NodeID,
        issued: Issued,
        seen: Entry | None,
        *,
        issuer: str = "",
        presented: int | None = None,
    ) -> None:
        """Note that ``node`` gets ``issued``, unless its entry is not ``seen`` any more.

        So of two requests for one name at the same moment, on whichever cloudcores, one wins; and
        who is revoked at that moment gets nothing.

        Args:
            node: whose certificate it is.
            issued: the certificate.
            seen: what ``find`` has returned.
            issuer: fingerprint of the authority that has signed it.
            presented: serial of the certificate that is renewed by it, if there was one.

        Raises:
            RemoteError: 409, somebody else has enrolled that name meanwhile; or as ``find``.
        """
        entry = ledgerentry.with_issued(seen, issued, issuer, presented)
        if not await self._put(node, entry):
            raise RemoteError(failure(409, f"{node} is being enrolled by somebody else"))

    async def change(self, node: NodeID, change: Change) -> Entry | None:
        """Have ``change`` decide what is said of ``node``, and return what is said then.

        It is asked again where somebody else has changed the entry meanwhile.

        Raises:
            RemoteError: as ``find``; 409 where others change that entry all the time.
        """
        for _ in range(keptsecrets.ATTEMPTS):
            seen = await self.find(node)
            wanted = change(seen)
            if wanted is None:
                return seen
            if await self._put(node, wanted):
                return wanted
        raise keptsecrets.outrun(f"the record of {node}")

    async def revoke(self, node: NodeID, now: datetime) -> None:
        """Revoke all certificates that ``node`` has got until ``now``.

        Raises:
            RemoteError: as ``change``.
        """
        await self.change(node, lambda seen: ledgerentry.with_revoked(seen, now))

    async def list_all(self) -> Listing:
        """Return the records of all nodes.

        Raises:
            RemoteError: as ``find``, but for damaged records; 410 where it took too long.
        """
        await self._take_over_the_earlier_one()
        listing = Listing()
        async for configmap in self._client.items(_collection()):
            _add(configmap, listing)
        return listing

    async def _put(self, node: NodeID, entry: Entry) -> bool:
        """Write ``entry`` in place of the one it was made from; return False where that is gone."""
        body = ledgerentry.to_configmap(node, entry)
        if entry.version:
            update = self._client.update(ledgerentry.record_path(node), body)
            return await keptsecrets.is_written(update, replaces=True)
        create = self._client.create(_collection(), body)
        return await keptsecrets.is_written(create, replaces=False)

    async def _take_over_the_earlier_one(self) -> None:
        if self._is_moved:
            return
        async with self._moving:
            if not self._is_moved:
                await earlierledger.move(self._client, self._keep)
                self._is_moved = True

    async def _keep(self, node: NodeID, text: str) -> None:
        """Take over an entry of the earlier record, unless there is one of this."""
        create = self._client.create(_collection(), ledgerentry.taken_over(node, text))
        await keptsecrets.is_written(create, replaces=False)


def _collection() -> str:
    return kinds.CONFIGMAPS.path(NAMESPACE)


def _add(configmap: dict[str, Any], listing: Listing) -> None:
    if not ledgerentry.is_record(configmap["metadata"]["name"]):
        return
    try:
        listing.entries[ledgerentry.node_of(configmap)] = ledgerentry.entry_of(configmap)
    except DamagedRecord as error:
        listing.damaged.append(str(error))
