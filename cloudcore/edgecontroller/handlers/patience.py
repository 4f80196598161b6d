"""Requests in a node's name that come a moment too early.

The API server judges them by caches of its own (the Node authorizer's graph, NodeRestriction's
pods). A node may know its new pod some milliseconds before these do, and is then refused what is
its right; so a refusal is only taken for one if it lasts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RemoteError

ATTEMPTS: Final = 4
POLICY: Final = BackoffPolicy(first_s=0.05, factor=2.0, cap_s=0.5, jitter=0.2)


async def until_known(request: Callable[[], Awaitable[bytes]]) -> bytes:
    """Return what ``request`` gives, which is made again for a while where it is forbidden.

    Raises:
        RemoteError: as ``request``; 403 only after ``ATTEMPTS``.
    """
    backoff = Backoff(POLICY)
    for _ in range(ATTEMPTS - 1):
        try:
            return await request()
        except RemoteError as error:
            if error.status.code != HTTPStatus.FORBIDDEN:
                raise
        await asyncio.sleep(backoff.next_s())
    return await request()
