"""What a message costs to encode and decode."""

import json
import time
from collections.abc import Callable
from typing import Final

from benchmarks.figures import Figure
from common import wire
from common.beehive import message as messages
from common.beehive.message import Message
from common.names import Operation

ROUNDS: Final = 20_000
CONTENT_BYTES: Final = 2_700


def measure() -> list[Figure]:
    """Encode and decode a message of the size of a usual pod."""
    message = _pod_sized()
    encoded = wire.encode(message)
    return [
        Figure(
            "encode a message of 2.7 KB",
            _each_us(lambda: wire.encode(message)),
            "µs",
            None,
            "1.7 µs",
        ),
        Figure(
            "decode a message of 2.7 KB", _each_us(lambda: wire.decode(encoded)), "µs", None, "8 µs"
        ),
    ]


def _pod_sized() -> Message:
    fields = {f"field-{number}": f"value-{number}" * 4 for number in range(50)}
    text = json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": fields})[:-1]
    padding = "x" * (CONTENT_BYTES - len(text) - len(', "pad": ""}'))
    content = messages.raw(json.loads(f'{text}, "pad": "{padding}"}}'))
    return messages.new(
        "edgecontroller",
        "resource",
        Operation.UPDATE,
        "default/pod/web",
        content,
        resource_version="27810",
    )


def _each_us(action: Callable[[], object]) -> float:
    """Return the microseconds that one call takes, in the best of five series."""
    series = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(ROUNDS // 5):
            action()
        series.append((time.perf_counter() - start) / (ROUNDS // 5))
    return min(series) * 1e6
