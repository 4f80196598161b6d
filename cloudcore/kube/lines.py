"""Lines out of chunks of bytes, however these are cut. Pure."""

from common.errors import RemoteError
from common.status import failure


class LineSplitter:
    """Takes chunks and gives the complete lines in them, without their ends."""

    def __init__(self, max_bytes: int) -> None:
        """Make an empty splitter; no line may be longer than ``max_bytes``."""
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []  # of the line that is not complete yet
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes; empty ones are left out.

        Raises:
            RemoteError: 413, a line is longer than allowed; the splitter is of no more use.
        """
        *complete, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        for end in complete:
            line = b"".join((*self._parts, end))
            self._parts.clear()
            self._size = 0
            self._check(len(line))
            if line:
                lines.append(line)
        if rest:
            self._size += len(rest)
            self._check(self._size)
            self._parts.append(rest)
        return lines

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise RemoteError(failure(413, f"a line of more than {self._max_bytes} bytes"))
