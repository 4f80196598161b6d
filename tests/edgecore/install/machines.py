"""A machine in a folder, with a systemd that only notes what it is told."""

from collections.abc import Callable
from pathlib import Path

from edgecore.install.machine import Machine


class WithSystemd(Machine):
    """Says that systemd runs; ``told`` is what it was told."""

    def __init__(self, root: Path, act: Callable[[tuple[str, ...]], None] | None = None) -> None:
        super().__init__(root)
        self.told: list[str] = []
        self._act = act

    @property
    def has_systemd(self) -> bool:
        return True

    def systemctl(self, *arguments: str) -> None:
        self.told.append(" ".join(arguments))
        if self._act is not None:
            self._act(arguments)
