"""What happens in a schedule, one thing after the other, drawn from a seed."""

import random
from collections.abc import Sequence
from typing import Final

from tests.simulation.deeds import Deeds

PAUSES_S: Final = (0, 0, 0, 0.002, 0.01, 0.05, 0.2, 0.5, 1, 1, 2, 3, 5, 8, 12, 25)


class Fate:
    """Chooses what is next, and when."""

    def __init__(self, rng: random.Random, deeds: Sequence[Deeds]) -> None:
        """Choose from all of ``deeds``."""
        self._rng = rng
        self._deeds = [one for some in deeds for one in some]

    def pause_s(self) -> float:
        """Return how long nothing happens before the next deed."""
        return self._rng.choice(PAUSES_S) * (0.5 + self._rng.random())

    def act(self) -> str:
        """Do something and return what."""
        weights = [weight for weight, _ in self._deeds]
        ((_, deed),) = self._rng.choices(self._deeds, weights)
        return deed()
