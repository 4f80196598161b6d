"""A large content on its way, chunk by chunk, as far as the edge gives credit. Pure.

The first credit says how much the edge has of this content from an earlier connection. What was
sent and not credited counts as bytes under way, so a slow link has one chunk in it and the rest of
the traffic passes between two.
"""

from collections import deque

from cloudcore.cloudhub.parcel import Bulk, Parcel
from common import frames
from common.delivery.pace import Pace


class Transfer:
    """One content, from its announcement to the edge's last credit."""

    __slots__ = (
        "_bulk",
        "_credited",
        "_number",
        "_sent",
        "_under_way",
        "is_begun",
        "moved_s",
        "parcel",
    )

    def __init__(self, number: int, parcel: Parcel, bulk: Bulk, now_s: float) -> None:
        """Prepare it.

        Args:
            number: tells it from others of the connection.
            parcel: whose content it is.
            bulk: the content.
            now_s: monotonic seconds.
        """
        self._number, self.parcel, self._bulk = number, parcel, bulk
        self._sent = self._credited = 0
        self._under_way: deque[tuple[int, float]] = deque()  # end of a chunk, when it was written
        self.is_begun = False
        """The edge has said where to begin."""
        self.moved_s = now_s
        """When it last got on."""

    @property
    def is_done(self) -> bool:
        """Whether the edge has everything."""
        return self.is_begun and self._credited == len(self._bulk.data)

    def begin(self) -> bytes:
        """Return the frame that announces it."""
        bulk = self._bulk
        return frames.encode(
            frames.Begin(
                self._number,
                bulk.encoding,
                len(bulk.data),
                bulk.inflated_size,
                bulk.hash,
                bulk.envelope,
            )
        )

    def credit(self, frame: frames.Credit, pace: Pace, now_s: float) -> bool:
        """Take in what the edge has; return False for a credit that makes no sense.

        An offset behind what it had before means that it begins anew from there.
        """
        if frame.transfer != self._number:
            return True  # of a transfer that was given up
        if frame.offset > len(self._bulk.data) or (self.is_begun and frame.offset > self._sent):
            return False
        if self.is_begun and frame.offset == self._credited:
            return True  # said before: it does not get on
        self.moved_s = now_s
        if not self.is_begun or frame.offset < self._credited:
            self.forget(pace)
            self.is_begun = True
            self._sent = frame.offset
        self._credited = frame.offset
        while self._under_way and self._under_way[0][0] <= frame.offset:
            _, sent_s = self._under_way.popleft()
            pace.land(frames.CHUNK_BYTES, sent_s, now_s)
        return True

    def next_chunk(self, pace: Pace, now_s: float) -> bytes | None:
        """Return the next frame to write; None until there is credit, or where all is sent."""
        if not self.is_begun or self._sent >= len(self._bulk.data):
            return None
        if not pace.has_room(frames.CHUNK_BYTES):
            return None
        data = self._bulk.data[self._sent : self._sent + frames.CHUNK_BYTES]
        chunk = frames.encode(frames.Chunk(self._number, self._sent, data))
        self._sent += len(data)
        self._under_way.append((self._sent, now_s))
        pace.launch(frames.CHUNK_BYTES)
        return chunk

    def forget(self, pace: Pace) -> None:
        """Take what is under way off the books: it is sent again, or never."""
        pace.forget(frames.CHUNK_BYTES * len(self._under_way))
        self._under_way.clear()
