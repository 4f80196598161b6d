"""Making something whose name may still be held by what a call that was cut off began."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from common.delivery.backoff import Backoff, BackoffPolicy
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.methods import Method, Request, Response
from edgecore.edged.runtime.cri.refusals import EngineError, holder_of

_PAUSES: Final = BackoffPolicy(first_s=0.01, cap_s=0.2, jitter=0.0)
_TRIES: Final = 15
"""About two seconds: containerd needs a third of one to take back a sandbox."""


async def with_name(
    client: CriClient,
    method: Method[Request, Response],
    request: Request,
    remove: Callable[[str], Awaitable[None]],
) -> Response:
    """Make the call; where the engine says who has the name, have that removed and try again.

    The holder may be in no list yet, or not any more: after a caller hung up, the engine goes on
    for a while and then takes back what it did.

    Args:
        client: where to.
        method: which call, one that gives a name away.
        request: what it takes.
        remove: removes a holder by its id; it may be gone. Its refusal is passed on.

    Raises:
        EngineError: as ``CriClient.call``; the name is still held after some seconds.
    """
    backoff = Backoff(_PAUSES)
    while True:
        try:
            return await client.call(method, request)
        except EngineError as error:
            holder = holder_of(error)
            if holder is None or backoff.attempts == _TRIES:
                raise
            await remove(holder)
        await asyncio.sleep(backoff.next_s())
