"""How many of the points at which something can go wrong a test looks at."""

import os
import random
from collections.abc import Sequence
from typing import Final, TypeVar

ALL: Final = os.environ.get("CRASH_POINTS") == "all"
"""Whether to look at every point; else at a sample of them, the same for everybody."""

T = TypeVar("T")


def sample(points: Sequence[T], number: int) -> Sequence[T]:
    """Return ``number`` of ``points``, in order; all of them if that is asked for."""
    if ALL or number >= len(points):
        return points
    chosen = random.Random(7).sample(range(len(points)), number)
    return [points[at] for at in sorted(chosen)]
