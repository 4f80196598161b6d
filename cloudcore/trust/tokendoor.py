"""The door for who shows a join token: what it is good for, and that it is used as often as it may.

The order matters: first what the token itself says, which needs nobody; then its record; then
whether the name is free, which is the caller's business; then the use is noted, and only after that
a certificate may be given. So a token for one enrolment cannot be spent on a name that is refused,
and cannot bring two certificates to two machines.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct

from cloudcore.metrics import CloudMetrics
from cloudcore.trust import keptsecrets, tokenrecord
from cloudcore.trust.tokenrecord import Asker, Kept, Use
from cloudcore.trust.tokenrecords import TokenRecords
from cloudcore.trust.tokens import REMEDY, Grant, TokenError, check_token_of_any
from common import issuing
from common.names import NodeID

logger = logging.getLogger(__name__)


class Shown(Struct, frozen=True):
    """A token of this cluster, as it was shown."""

    jwt: str
    grant: Grant

    def __repr__(self) -> str:
        return f"Shown({self.grant})"


class Ticket(Struct, frozen=True):
    """A token that is good for ``asker``."""

    shown: Shown
    asker: Asker
    kept: Kept | None
    """Its record; None for a plain token."""

    @property
    def is_bound(self) -> bool:
        """Whether the node is enrolled though its name is taken."""
        if self.kept is None:
            return self.shown.grant.node is not None
        return self.kept.record.is_bound


class TokenDoor:
    """Tells whom a token lets in."""

    def __init__(
        self,
        records: TokenRecords,
        authorities: Callable[[], Sequence[issuing.Authority]],
        metrics: CloudMetrics,
        now: Callable[[], datetime],
        *,
        plain_tokens: bool,
    ) -> None:
        """Take tokens that any of ``authorities`` has signed; plain ones if ``plain_tokens``."""
        self._records, self._authorities = records, authorities
        self._metrics, self._now, self._plain_tokens = metrics, now, plain_tokens

    def look_at(self, jwt: str, node: NodeID) -> Shown:
        """Return what was shown, if by itself it might let ``node`` in; nobody is asked.

        Raises:
            TokenError: it does not; the text tells the fix.
        """
        grant = check_token_of_any(self._authorities(), jwt, self._now())
        if grant.name is None and not self._plain_tokens:
            raise TokenError(f"this cluster takes no plain tokens: {REMEDY}")
        if grant.node not in (None, node):
            raise TokenError(f"the token is bound to {grant.node}, not {node}")
        return Shown(jwt, grant)

    async def find(self, shown: Shown, asker: Asker) -> Ticket:
        """Return the token with its record, if that lets ``asker`` in.

        Raises:
            TokenError: it does not; the text tells the fix.
            RemoteError: the API server refuses, or is away.
        """
        if shown.grant.name is None:
            return Ticket(shown, asker, None)
        return Ticket(shown, asker, await self._recorded(shown.jwt, shown.grant.name, asker))

    async def use(self, ticket: Ticket) -> None:
        """Note that the token is used; a certificate may be given once this has returned.

        Of a token that is good for many enrolments the first is noted. If cancelled the use may
        have been noted; the same node with the same key may use the token again.

        Raises:
            TokenError: somebody else was quicker, or the token was revoked meanwhile.
            RemoteError: the API server refuses, or is away.
        """
        if ticket.kept is None:
            self._count_plain(ticket)
            return
        kept = ticket.kept
        for _ in range(keptsecrets.ATTEMPTS):
            if kept.record.used is not None:
                return  # by this node, as it was judged, or it may be used by many
            if await self._records.note(kept, _use(ticket.asker, self._now())):
                return
            kept = await self._recorded(ticket.shown.jwt, kept.name, ticket.asker)
        raise keptsecrets.outrun("the token's record")

    async def _recorded(self, jwt: str, name: str, asker: Asker) -> Kept:
        kept = await self._records.find(name)
        if kept is None:
            raise TokenError(f"the token {name} was deleted: {REMEDY}")
        tokenrecord.judge(kept, jwt, asker, self._now())
        return kept

    def _count_plain(self, ticket: Ticket) -> None:
        self._metrics.plain_token_enrolments.inc()
        logger.warning(
            "a node enrols by a plain token, which cannot be revoked: see --no-plain-tokens",
            extra={"node": ticket.asker.node},
        )


def _use(asker: Asker, now: datetime) -> Use:
    return Use(asker.node, tokenrecord.to_whole_seconds(now), asker.key_hash)
