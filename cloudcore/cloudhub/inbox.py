"""What nodes want to say to the controller, one message of each node in turn.

A node that says much waits for itself; another one waits for at most one message of each node that
is before it.
"""

from typing import Protocol

from cloudcore.cloudhub.waker import Waker
from common.beehive.message import Message


class Source(Protocol):
    """What a node has to say."""

    def take_request(self) -> Message | None:
        """Return the next message for the controller; None where there is none."""


class Inbox:
    """The sessions that have something to say."""

    def __init__(self) -> None:
        self._ready: dict[Source, None] = {}  # in the order of their turns
        self._waker = Waker()

    def add(self, source: Source) -> None:
        """Give ``source`` a turn, unless it has one."""
        self._ready[source] = None
        self._waker.wake()

    async def next(self) -> Message:
        """Return the next message; wait while there is none. One task at a time may wait."""
        while True:
            while self._ready:
                source = next(iter(self._ready))
                del self._ready[source]
                message = source.take_request()
                if message is not None:
                    self._ready[source] = None
                    return message
            await self._waker.wait()
