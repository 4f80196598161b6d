"""What the API server is asked, and what it says to that, in numbers."""

from collections.abc import Callable
from typing import Final

from common.metrics import (
    About,
    Reading,
    Registry,
    SpreadByLabel,
    Tally,
    TallyByLabel,
    TallyByLabels,
)

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RequestFigures:
    """One instance a client."""

    def __init__(self, registry: Registry) -> None:
        """Show the numbers in ``registry``."""
        self.requests = TallyByLabels(
            "cloudcore_apiserver_requests",
            "Requests to the API server, by verb and by the code of what came of them: 503 where it"
            " cannot be reached, 504 where it did not answer in time.",
            ("verb", "code"),
            registry,
        )
        self.seconds = SpreadByLabel(
            "cloudcore_apiserver_request_seconds",
            "Time from a request to the API server until its answer, with all waiting, by verb.",
            "verb",
            _BUCKETS_S,
            registry,
        )
        self.throttled = Tally(
            "cloudcore_apiserver_throttled",
            "Requests that were too much for the API server (429), and were made again.",
            registry,
        )
        self.watches = TallyByLabel(
            "cloudcore_apiserver_watches",
            "Watches that were begun, by resource: more than one in some minutes means that they"
            " break.",
            "resource",
            registry,
        )
        self._places = Reading(
            About(
                "cloudcore_apiserver_places",
                "Requests that may be under way at a time, less where the API server is busy: reads"
                " and writes.",
                "gauge",
                ("kind",),
            ),
            registry,
        )
        self.answered_s: float | None = None
        """When the API server answered last, whatever it said; monotonic seconds."""

    def show_places(self, reads: Callable[[], int], writes: Callable[[], int]) -> None:
        """Have it shown how many requests may be under way."""
        self._places.read = lambda: {"reads": reads(), "writes": writes()}

    def made(self, verb: str, code: int, began_s: float, now_s: float) -> None:
        """Note what came of a request."""
        self.requests.inc(verb, str(code))
        self.seconds.observe(verb, now_s - began_s)
        if code not in (503, 504):
            self.answered_s = now_s
