"""Time as the daemons use it: durations are monotonic, the time of day is corrected.

A device without a battery-backed clock boots in 1970 and may jump at any moment. So waiting and
expiry are measured with ``monotonic``, and the times that go upstream carry the offset to the
cloud's clock, measured on the link.
"""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """The machine's clock, with the offset that the link measured."""

    def __init__(self) -> None:
        # Added to the local wall clock to get the cloud's. Zero until the first reply tells.
        self.offset_s = 0.0

    def monotonic(self) -> float:
        """Return seconds since some moment; only differences mean anything."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day in UTC, as the cloud would tell it."""
        return datetime.now(UTC) + timedelta(seconds=self.offset_s)

    def now_ms(self) -> int:
        """Return the corrected time in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + int(self.offset_s * 1000)

    def learn(self, remote_ms: int, sent_s: float, received_s: float) -> None:
        """Take the offset from a reply.

        The peer's clock stood at ``remote_ms`` between the two local monotonic times.


        The moment is taken to be the middle of the two, so that the error is at most half the round
        trip; a reply that took long teaches less than it spoils and is passed over.
        """
        if received_s - sent_s > MAX_ROUND_TRIP_S:
            return
        local_now = time.time()
        middle = local_now - (self.monotonic() - (sent_s + received_s) / 2)
        self.offset_s = remote_ms / 1000 - middle


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
