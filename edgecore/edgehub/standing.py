"""How the link of an edge stands, for those who ask at the machine. Pure.

Written by the event loop and read by another thread: every change is one assignment.
"""

from datetime import datetime

from msgspec import Struct

from common.clock import rfc3339


class _State(Struct, frozen=True):
    is_connected: bool = False
    since: datetime | None = None
    failure: str = ""
    version: str = ""


class Standing:
    """Since when there is a connection, or none, and why."""

    def __init__(self, cloud: str) -> None:
        """Begin without a connection to ``cloud``, an address."""
        self._cloud, self._state = cloud, _State()

    def connected(self, now: datetime, version: str = "") -> None:
        """Note that there is a connection, to a cloud of ``version``; "" where it is not known."""
        self._state = _State(is_connected=True, since=now, version=version)

    def failed(self, now: datetime, why: str) -> None:
        """Note that there is none; ``since`` stays that of the first failure in a row."""
        state = self._state
        is_news = state.is_connected or state.since is None
        since = now if is_news else state.since
        self._state = _State(since=since, failure=why, version=state.version)

    def offline_s(self, now: datetime) -> float:
        """Return for how long there has been no connection; 0 with one, or before the first try."""
        state = self._state
        if state.is_connected or state.since is None:
            return 0.0
        return max((now - state.since).total_seconds(), 0.0)

    def tell(self, waiting: int, known: datetime | None) -> dict[str, object]:
        """Return how it stands.

        Args:
            waiting: messages that wait to be written, or for their answer.
            known: the last time that the cloud has told, and what has passed since.
        """
        state = self._state
        return {
            "cloud": self._cloud,
            "connected": state.is_connected,
            "since": rfc3339(state.since) if state.since else None,
            "failure": state.failure or None,
            "version": state.version or None,
            "waiting": waiting,
            "time": rfc3339(known) if known else None,
        }
