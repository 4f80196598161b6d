"""When images are removed: what the configuration says of it, and needs little for. Pure."""

from msgspec import Struct


class GCPolicy(Struct, frozen=True):
    """When images are removed. Percentages of the file system that they are on."""

    high_percent: int = 85
    """Used as much or more: images are removed …"""
    low_percent: int = 80
    """… until so much is used."""
    min_age_s: float = 120.0
    """How long an image is safe after it was first seen: it may be about to be used."""
    keep: tuple[str, ...] = ()
    """References to images that never go, as that of the engine's sandboxes."""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for percentages that are none, or the wrong way round."""
        if not 0 <= self.low_percent <= self.high_percent <= 100:
            raise ValueError("0 <= low <= high <= 100 must hold of image thresholds")
