"""What can happen in a schedule."""

from collections.abc import Callable

Deed = Callable[[], str]
"""Does something, and returns what, for people."""

Deeds = tuple[tuple[int, Deed], ...]
"""Each with a weight: how often it happens as against the others."""
