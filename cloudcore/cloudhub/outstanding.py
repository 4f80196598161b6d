"""How much of a node's work is under way: beyond that, its socket is not read."""

from typing import Final

from msgspec import Struct

MAX_OUTSTANDING: Final = 64
"""Requests under way, together with answers that the edge has not taken yet."""

MAX_OUTSTANDING_BYTES: Final = 8 * 1024 * 1024


class _Request(Struct, frozen=True):
    is_answered: bool
    size_bytes: int


class Outstanding:
    """The requests of one connection: each takes a place until it is answered and written.

    So a node fills neither the controller nor this process, whatever it sends and however little
    it reads.
    """

    __slots__ = ("_bytes", "_requests", "_unwritten")

    def __init__(self) -> None:
        self._requests: dict[str, _Request] = {}
        self._bytes = 0
        self._unwritten = 0

    def has_room(self) -> bool:
        """Whether another message may be read."""
        return (
            len(self._requests) + self._unwritten < MAX_OUTSTANDING
            and self._bytes < MAX_OUTSTANDING_BYTES
        )

    def take(self, msg_id: str, size_bytes: int, *, is_answered: bool) -> bool:
        """Note a request; return False where one of the same id is under way."""
        if msg_id in self._requests:
            return False
        self._requests[msg_id] = _Request(is_answered, size_bytes)
        self._bytes += size_bytes
        return True

    def settle(self, msg_id: str) -> bool | None:
        """Note that a request is done; return whether its sender hears so, None if unknown."""
        request = self._requests.pop(msg_id, None)
        if request is None:
            return None
        self._bytes -= request.size_bytes
        return request.is_answered

    def add_answer(self) -> None:
        """Note an answer that is to be written."""
        self._unwritten += 1

    def answer_written(self) -> None:
        """Note that it was."""
        self._unwritten -= 1
