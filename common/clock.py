"""Time as the daemons use it: durations are monotonic, the time of day is corrected.

A device without a battery-backed clock boots in 1970 and may jump at any moment. So waiting and
expiry are measured with ``monotonic``, and the times that go upstream carry the offset to the
cloud's clock, measured on the link.

Whether a certificate has expired is judged by ``known``: a moment that the cloud has told, and what
has passed since. The machine's own clock has no say in it.
"""

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_LAST_MS: Final = 253_370_764_800_000  # the year 9999: later than that no datetime can be


class Clock:
    """The machine's clock, with the offset that the link measured."""

    def __init__(self) -> None:
        # Added to the local wall clock to get the cloud's. Zero until the first reply tells.
        self.offset_s = 0.0
        self.believed_until_s = math.inf
        """What the cloud tells counts as known up to here only, in seconds since the epoch: the end
        of the certificate that it has shown. Beyond it the cloud would contradict itself, and its
        wrong clock would make this edge refuse it for ever."""
        self._known_s: float | None = None  # since the epoch, when _known_at_s was now
        self._known_at_s = 0.0

    def monotonic(self) -> float:
        """Return seconds since some moment; only differences mean anything."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day in UTC, as the cloud would tell it; never before ``known``."""
        return datetime.now(UTC) + timedelta(seconds=self._correction_s())

    def now_ms(self) -> int:
        """Return the corrected time in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + int(self._correction_s() * 1000)

    def known(self) -> datetime | None:
        """Return a moment that has certainly passed: the last that was told, and the time since.

        None where nothing was ever told. The present is then, or later.
        """
        if self._known_s is None:
            return None
        since_s = self.monotonic() - self._known_at_s
        return datetime.fromtimestamp(min(self._known_s + since_s, _LAST_MS / 1000), UTC)

    def remember(self, moment: datetime) -> None:
        """Take ``moment``, which the cloud told before this process began, for the last known."""
        self._known_s, self._known_at_s = moment.timestamp(), self.monotonic()

    def learn(self, remote_ms: int, sent_s: float, received_s: float) -> None:
        """Take the offset from a reply.

        The peer's clock stood at ``remote_ms`` between the two local monotonic times.

        The moment is taken to be the middle of the two, so that the error is at most half the round
        trip; a reply that took long teaches less than it spoils and is passed over. A cloud whose
        clock was wrong is believed when it tells an earlier time.
        """
        if received_s - sent_s > MAX_ROUND_TRIP_S or not 0 <= remote_ms < _LAST_MS:
            return
        local_now = time.time()
        middle = local_now - (self.monotonic() - (sent_s + received_s) / 2)
        self.offset_s = remote_ms / 1000 - middle
        self._known_s = min(remote_ms / 1000, self.believed_until_s)
        self._known_at_s = received_s

    def _correction_s(self) -> float:
        if self._known_s is None:
            return self.offset_s
        known_s = self._known_s + self.monotonic() - self._known_at_s
        return max(self.offset_s, known_s - time.time())


MAX_ROUND_TRIP_S = 10.0
"""A reply slower than this says too little about the other side's clock."""


def rfc3339(moment: datetime) -> str:
    """Return ``moment`` as Kubernetes writes a Time: whole seconds, UTC, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime) -> str:
    """Return ``moment`` as Kubernetes writes a MicroTime, which leases and events use."""
    # strftime takes ten times as long, and hundreds of leases are renewed each second.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Return the moment that a Time or MicroTime names.

    Raises:
        ValueError: ``text`` is neither.
    """
    return datetime.fromisoformat(text)
