"""Whether the socket of a node is read: as long as there is room for what comes. Pure."""

from typing import Final, Protocol

from cloudcore.cloudhub.outstanding import Outstanding

MAX_MESSAGES_PER_S: Final = 1000
"""Messages of one node in a second, pings and the like too; then it is not read until the next."""

BYTES_AS_A_MESSAGE: Final = 4096
"""So much of an answer counts as another message of the node that has asked: a large object is
encoded and compressed anew for each answer, which costs far more than the question does."""


class Readable(Protocol):
    """A connection, as far as it is read."""

    def pause_reading(self) -> None:
        """Call the session with nothing more, until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Go on; the session may be called at once."""


class Reading:
    """Pauses a connection while its node has said too much."""

    __slots__ = ("_is_over", "_link", "_outstanding", "is_on", "taken_in")

    def __init__(self, link: Readable, outstanding: Outstanding) -> None:
        """Read ``link``, whose node has ``outstanding`` requests."""
        self._link, self._outstanding = link, outstanding
        self.taken_in = 0
        """Messages in this second."""
        self.is_on = True
        """Nobody waits for room."""
        self._is_over = False

    def adjust(self) -> None:
        """Pause, or go on, as there is room; the session may be called at once."""
        if self._is_over:
            return
        has_room = self._outstanding.has_room() and self.taken_in < MAX_MESSAGES_PER_S
        if has_room is self.is_on:
            return
        self.is_on = has_room
        if has_room:
            self._link.resume_reading()
        else:
            self._link.pause_reading()

    def begin_second(self) -> None:
        """Let the node say as much again."""
        self.taken_in = 0
        self.adjust()

    def add_answer(self, size_bytes: int) -> None:
        """Count what it takes to write an answer."""
        self.taken_in += size_bytes // BYTES_AS_A_MESSAGE

    def close(self) -> None:
        """Read whatever comes from now on: the answer to a close frame has to be seen."""
        self._is_over = True
        self._link.resume_reading()

    def lost(self) -> None:
        """Leave the connection alone: it is gone."""
        self._is_over = True
