"""How long to wait before trying again: exponential, capped, with jitter.

The jitter keeps a fleet that lost its cloud from coming back in step.
"""

import random
from collections.abc import Callable

from msgspec import Struct


class BackoffPolicy(Struct, frozen=True):
    """The shape of a series of pauses, in seconds."""

    first_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 30.0
    jitter: float = 0.5
    """Part of each pause that is random: 0 for none, 1 for all of it."""


class Backoff:
    """One series of pauses. ``reset`` after a success that proved itself."""

    def __init__(
        self, policy: BackoffPolicy, random_unit: Callable[[], float] = random.random
    ) -> None:
        """Make a series of the given shape; ``random_unit`` gives randomness in [0, 1)."""
        self._policy, self._random = policy, random_unit
        self.attempts = 0

    def next_s(self) -> float:
        """Return the next pause in seconds."""
        policy = self._policy
        # The exponent is bounded so that months of failing cannot overflow a float.
        full = min(policy.cap_s, policy.first_s * policy.factor ** min(self.attempts, 64))
        self.attempts += 1
        return full * (1 - policy.jitter * self._random())

    def reset(self) -> None:
        """Start from the first pause again."""
        self.attempts = 0
