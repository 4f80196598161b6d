"""When something that fails is tried again: about an identity, there is no hurry."""

import math
from typing import Final

from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy

RETRY: Final = BackoffPolicy(first_s=30.0, cap_s=600.0)


class Pauses:
    """When something that is tried again and again may be tried next."""

    def __init__(self, clock: Clock) -> None:
        """Allow the first attempt at once; ``clock`` tells durations."""
        self._clock, self._backoff = clock, Backoff(RETRY)
        self._until_s = -math.inf

    def begin(self) -> float:
        """Begin an attempt; return after how many seconds the next one may be made."""
        pause_s = self._backoff.next_s()
        self._until_s = self._clock.monotonic() + pause_s
        return pause_s

    def is_pausing(self) -> bool:
        """Whether it is too early for another attempt."""
        return self._clock.monotonic() < self._until_s

    def reset(self) -> None:
        """Allow the next attempt soon: the pauses become short again, the present one ends."""
        self._backoff.reset()
        self._until_s = -math.inf
