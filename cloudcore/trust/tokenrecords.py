"""The records of named tokens, kept in Secrets that all cloudcores share."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import keptsecrets, tokenrecord
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.tokenrecord import Kept, TokenRecord, Use
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError
from common.status import failure

logger = logging.getLogger(__name__)

_CLEARING_PERIOD_S: Final = 6 * 3600.0
_BACKOFF: Final = BackoffPolicy(first_s=1.0, cap_s=300.0)


class Listed(Struct, frozen=True):
    """All records, by name, and what is wrong with those that cannot be read."""

    records: list[Kept]
    faults: list[str]


class TokenRecords:
    """The records. Its methods may be called by many cloudcores at once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def create(self, name: str, record: TokenRecord) -> None:
        """Keep ``record`` under a name that no other has.

        Raises:
            RemoteError: 409, there is one of that name; or the API server refuses, or is away.
        """
        try:
            await self._client.create(_collection(), tokenrecord.to_secret(NAMESPACE, name, record))
        except RemoteError as error:
            if not error.status.is_conflict:
                raise
            status = failure(409, f"there is a token {name} already: choose another --name")
            raise RemoteError(status) from error

    async def find(self, name: str) -> Kept | None:
        """Return the record of the token ``name``; None where there is none.

        Raises:
            RemoteError: 500, it cannot be read; or the API server refuses, or is away.
        """
        body = await self._client.find(_path(name))
        if body is None:
            return None
        try:
            return tokenrecord.from_secret(msgspec.json.decode(body))
        except ValueError as error:
            raise RemoteError(failure(500, str(error))) from error

    async def list(self) -> Listed:
        """Return all records, sorted by name.

        Raises:
            RemoteError: the API server refuses, or is away.
        """
        listed = Listed([], [])
        params = {"labelSelector": tokenrecord.SELECTOR}
        async for secret in self._client.items(_collection(), params):
            try:
                listed.records.append(tokenrecord.from_secret(secret))
            except ValueError as error:
                listed.faults.append(str(error))
        listed.records.sort(key=lambda kept: kept.name)
        return listed

    async def revoke(self, name: str, now: datetime) -> Kept:
        """Have the token ``name`` let in nobody any more; return its record as it was.

        One that is revoked stays so since then.

        Raises:
            RemoteError: 404, there is none of that name; or as ``find``.
        """
        for _ in range(keptsecrets.ATTEMPTS):
            kept = await self.find(name)
            if kept is None:
                raise RemoteError(failure(404, f"there is no token {name}"))
            if kept.record.revoked is not None:
                return kept
            revoked = msgspec.structs.replace(
                kept.record, revoked=tokenrecord.to_whole_seconds(now)
            )
            if await self._replace(kept, revoked):
                return kept
        raise keptsecrets.outrun(f"the token {name}")

    async def note(self, kept: Kept, use: Use) -> bool:
        """Note ``use``; return False where the record is not ``kept`` any more.

        So of two that use a token at the same moment, on whichever cloudcores, one is the first.

        Raises:
            RemoteError: the API server refuses, or is away.
        """
        return await self._replace(kept, msgspec.structs.replace(kept.record, used=use))

    async def clear(self, now: datetime) -> int:
        """Delete the records that nobody needs any more; return how many those were.

        Raises:
            RemoteError: the API server refuses, or is away.
        """
        stale = [kept for kept in (await self.list()).records if kept.record.is_stale(now)]
        for kept in stale:
            options = {"preconditions": {"resourceVersion": kept.version}}
            try:
                await self._client.delete(_path(kept.name), msgspec.json.encode(options))
            except RemoteError as error:
                # Another cloudcore was quicker, or somebody has made another of that name.
                if not (error.status.is_not_found or error.status.is_conflict):
                    raise
        return len(stale)

    async def keep_clear(self, now: Callable[[], datetime]) -> None:
        """Delete what nobody needs any more, now and every six hours, until cancelled."""
        backoff = Backoff(_BACKOFF)
        while True:
            try:
                cleared = await self.clear(now())
            except RemoteError as error:
                logger.warning("records of tokens are not cleared", extra={"error": str(error)})
                await asyncio.sleep(backoff.next_s())
                continue
            if cleared:
                logger.info("records of expired tokens deleted", extra={"records": cleared})
            backoff.reset()
            await asyncio.sleep(_CLEARING_PERIOD_S)

    async def _replace(self, kept: Kept, record: TokenRecord) -> bool:
        body = tokenrecord.to_secret(NAMESPACE, kept.name, record, kept.version)
        update = self._client.update(_path(kept.name), body)
        return await keptsecrets.is_written(update, replaces=True)


def _collection() -> str:
    return kinds.SECRETS.path(NAMESPACE)


def _path(name: str) -> str:
    return kinds.SECRETS.path(NAMESPACE, tokenrecord.secret_name(name))
