"""Whether the cloud can be reached, as all those of edged see it who speak to the cloud."""

from dataclasses import dataclass


@dataclass(slots=True)
class Link:
    """The state of the link. Written by ``Edged`` only."""

    connected: bool = False
    generation: int = 0
    """Grows with each connection: what was refused or sent on an older one is tried again."""
