"""What a daemon says of itself: whether it lives, whether it is ready, and what its modules do.

The event loop writes it, and the thread of ``common.monitor`` reads it.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

STUCK_AFTER_S: Final = 10.0
"""A loop that has not beaten for this long is taken to be stuck."""


class Health:
    """The daemon's state. All that is registered here is asked in another thread.

    So what is handed in reads what is there, in one go, and changes nothing.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last_beat_s = monotonic()
        # condition -> why it is not met; empty when it is. Readiness is all of them met.
        self._conditions: dict[str, Callable[[], str]] = {}
        self._remarks: dict[str, Callable[[], str]] = {}
        self._reports: dict[str, Callable[[], Mapping[str, object]]] = {}

    def beat(self) -> None:
        """Say that the event loop still turns; called every second or so."""
        self._last_beat_s = self._monotonic()

    def set_condition(self, name: str, problem: str = "") -> None:
        """State whether condition ``name`` is met: ``problem`` is empty, or tells why not."""
        self._conditions[name] = lambda: problem

    def judge(self, name: str, problem: Callable[[], str]) -> None:
        """Have condition ``name`` judged by ``problem`` each time that somebody asks."""
        self._conditions[name] = problem

    def remark(self, name: str, tell: Callable[[], str]) -> None:
        """Tell of ``name`` too, whatever it is: an edge without its cloud is ready."""
        self._remarks[name] = tell

    def report(self, name: str, tell: Callable[[], Mapping[str, object]]) -> None:
        """Have ``tell`` say what stands below ``name`` in the status: what JSON can hold."""
        self._reports[name] = tell

    def problems(self, exclude: Collection[str] = ()) -> list[str]:
        """Return why the daemon is not ready; nothing when it is, or for what is in ``exclude``."""
        judged = ((name, problem) for name, problem in self._judged() if name not in exclude)
        return [f"{name}: {problem}" for name, problem in judged if problem]

    def lines(self) -> list[str]:
        """Return a line for each condition, and for each remark."""
        judged = [
            f"[-] {name}: {problem}" if problem else f"[+] {name}"
            for name, problem in self._judged()
        ]
        return judged + [f"[ ] {name}: {tell()}" for name, tell in list(self._remarks.items())]

    def status(self) -> dict[str, Mapping[str, object]]:
        """Return what the modules report."""
        return {name: tell() for name, tell in list(self._reports.items())}

    def is_alive(self) -> bool:
        """Whether the event loop has turned lately."""
        return self._monotonic() - self._last_beat_s < STUCK_AFTER_S

    def _judged(self) -> list[tuple[str, str]]:
        return [(name, problem()) for name, problem in list(self._conditions.items())]
